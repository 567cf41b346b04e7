"""fit, search, an objective and AutoNF, from data to a flow that the CPU loads."""

from __future__ import annotations

import functools
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from msgspec.structs import replace
from small_study import table
from training.toys import SPEC, coupling_spec

import nfopt
from nfopt import api
from nfopt import attributes as names
from nfopt.autonf import CostTable, RacePlan, Settings
from nfopt.distributed.queue import COUNTED
from nfopt.events import Notice
from nfopt.model import Flow
from nfopt.runner.autonf.run import run_autonf
from nfopt.runner.autonf.setup import Setup
from nfopt.spec import Spline
from nfopt.study.dataset import read

from .device import DEVICE, KIND, gap

pytestmark = pytest.mark.gpu


X = table(400)
LIMITS = {
    "kind": "coupling",
    "depth": [1, 3],
    "width": [8, 16],
    "hidden_layers": 1,
    "maps": ["affine", "spline"],
}
TINY = (coupling_spec(Spline(bins=4)), SPEC)


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small flow in the place of the recipes."""
    monkeypatch.setattr(api, "recipe", lambda *given, **more: TINY)
    monkeypatch.setattr("nfopt.runner.options.portfolio", lambda *given, **more: [TINY])


def same_on_the_cpu(flow: Flow, out: Path) -> None:
    """What was saved is the flow that was found, wherever it is loaded."""
    assert flow.device.type == KIND
    loaded = nfopt.load(out)
    assert loaded.device.type == "cpu"
    x = table(200, seed=9)
    assert gap(torch.from_numpy(flow.log_prob(x)), torch.from_numpy(loaded.log_prob(x))) < 1e-3
    again = nfopt.load(out, device=DEVICE)
    assert gap(torch.from_numpy(flow.log_prob(x)), torch.from_numpy(again.log_prob(x))) < 1e-5
    for each in (flow, loaded):
        assert np.isfinite(each.sample(100, seed=0)).all()


def test_fit(tmp_path: Path) -> None:
    result = nfopt.fit(X, device=DEVICE, minutes=0.1, members=2, out=tmp_path / "fit")
    assert math.isfinite(result.test_nll)
    assert result.seconds < 12
    same_on_the_cpu(result.flow, tmp_path / "fit")


def test_fit_with_context_and_weights(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(X))
    spec = coupling_spec(context=1)
    data = np.column_stack([X, X[:, 0] + 0.1])
    result = nfopt.fit(
        data,
        flow=(spec, replace(SPEC, dropout=0.1)),
        context=[3],
        weights=weights,
        device=DEVICE,
        out=tmp_path / "fit",
    )
    assert math.isfinite(result.test_nll)
    found = result.flow.log_prob(X, data[:, 3:])
    wanted = nfopt.load(tmp_path / "fit").log_prob(X, data[:, 3:])
    assert gap(torch.from_numpy(found), torch.from_numpy(wanted)) < 1e-3


@pytest.mark.usefixtures("_small")
def test_a_search_by_trials_its_resume_and_a_retraining(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    find = functools.partial(
        nfopt.search, X, study="toy", storage=url, space=LIMITS, device=DEVICE, members=2
    )
    told: list[Any] = []
    result = find(trials=8, out=tmp_path / "found", on_event=told.append)
    failed = [t for t in result.study.trials if t.state not in COUNTED]
    assert result.trials == 8, [t.user_attrs.get(names.REASON) for t in failed]
    assert math.isfinite(result.test_nll)
    same_on_the_cpu(result.flow, tmp_path / "found")
    for text in (event.text for event in told if isinstance(event, Notice)):
        assert "checkpoint" not in text
        if "picture" in text:
            warnings.warn(text, stacklevel=1)
    again = find(trials=12, out=tmp_path / "found")
    assert again.trials == 12
    best = api.retrain("toy", 0, storage=url, data=X, device=DEVICE, out=tmp_path / "retrained")
    assert math.isfinite(best.test_nll)
    same_on_the_cpu(best.flow, tmp_path / "retrained")


@pytest.mark.usefixtures("_small")
def test_a_search_by_minutes_over_all_kinds_of_layers(tmp_path: Path) -> None:
    result = nfopt.search(
        X,
        device=DEVICE,
        minutes=0.3,
        space={"kind": "full", "depth": [1, 3], "width": [8, 16]},
        storage=optuna.storages.InMemoryStorage(),
        out=tmp_path / "found",
    )
    assert result.trials >= 1
    assert math.isfinite(result.test_nll)
    assert result.seconds < 30
    same_on_the_cpu(result.flow, tmp_path / "found")


def test_an_objective_in_a_study_of_ones_own() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(nfopt.Objective(read(X, seed=0), share=0.02, device=DEVICE), n_trials=3)
    good = [t for t in study.trials if t.state in COUNTED]
    assert good, [t.user_attrs.get(names.REASON) for t in study.trials]


@pytest.mark.parametrize("cost", ["train", "inverse"])
def test_autonf(cost: str, tmp_path: Path) -> None:
    result = run_autonf(
        read(X, seed=0),
        Setup(
            options="affine-coupling,spline-coupling,affine-autoregressive,identity",
            places=2,
            width=8,
            cost=cost,
            price=(0.0, 0.05),
            race=RacePlan(rungs=(0.02, 0.05), keep=(4, 1)),
            table=CostTable(tmp_path / "costs.json"),
        ),
        study="toy",
        storage=f"sqlite:///{tmp_path}/toy.db",
        out=tmp_path / "flow",
        minutes=0.15,
        settings=Settings(steps=20, batch_size=64),
        device=DEVICE,
    )
    assert result.trials == 2
    assert math.isfinite(result.test_nll)
    assert result.front
    assert CostTable(tmp_path / "costs.json").entries
    same_on_the_cpu(result.flow, tmp_path / "flow")
