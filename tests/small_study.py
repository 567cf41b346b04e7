"""Small data with a seed, small flows, few steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from nfopt.events import Event
from nfopt.runner.options import (
    FirstOptions,
    SearchOptions,
    SpaceOptions,
    StudyOptions,
    WorkerOptions,
)
from nfopt.runner.run import run_search
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec
from nfopt.study.arguments import Budget
from nfopt.study.dataset import Source, read
from nfopt.study.length import MEMBERS
from nfopt.study.results import SearchResult

STEPS = 40
LIMITS = {
    "depth": [1, 3],
    "width": [4, 8],
    "hidden_layers": 1,
    "maps": "affine",
    "mixing": "none",
    "activation": "relu",
    "residual": False,
    "batch_size": [32, 64],
}


def table(rows: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    x[:, 1] += x[:, 0] ** 2
    x[:, 2] += x[:, 1]
    return x


def flow(*masks: str, width: int = 8) -> FlowSpec:
    net = Conditioner(width=width, hidden_layers=1)
    return FlowSpec(features=3, layers=tuple(Coupling(mask=m, conditioner=net) for m in masks))


TRAIN = TrainSpec(steps=STEPS, batch_size=64, learning_rate=5e-3)
BEST = Recipe(flow("CTC", "TCT"), TRAIN)
RECIPES = [BEST, Recipe(flow("CCT", "TTC", "CTC"), TRAIN)]


def run_with(source: Source, budget: Budget, **given: Any) -> SearchResult:
    """Search, with each option by its name alone."""
    kinds = {"study": StudyOptions, "first": FirstOptions, "workers": WorkerOptions}
    renamed = {"study": ("study", "name"), "workers": ("workers", "count")}
    groups: dict[str, dict[str, Any]] = {name: {} for name in kinds}
    for group, kind in kinds.items():
        for field in fields(kind):
            renamed.setdefault(field.name, (group, field.name))
    del renamed["name"], renamed["count"]
    for name in renamed.keys() & given.keys():
        group, own = renamed[name]
        groups[group][own] = given.pop(name)
    space = SpaceOptions(*(given.pop(name, None) for name in ("kind", "limits", "space")))
    out = given.pop("out", None)
    options = SearchOptions(
        **{name: kind(**groups[name]) for name, kind in kinds.items()},
        space=space,
        members=given.pop("members", MEMBERS),
        out=None if out is None else Path(out),
    )
    return run_search(source, budget, options, **given)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def source() -> Source:
    return read(table(), seed=0)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'runs' / 'study.db'}"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def memory() -> optuna.storages.BaseStorage:
    return optuna.storages.InMemoryStorage()


@pytest.fixture
def search(
    source: Source, memory: optuna.storages.BaseStorage, tmp_path: Path, events: list[Event]
) -> Callable[..., SearchResult]:
    """A search on the small table; every argument can be replaced."""

    def run(trials: int | None = None, minutes: float | None = None, **more: Any) -> SearchResult:
        arguments: dict[str, Any] = {
            "study": "small",
            "storage": memory,
            "kind": "coupling",
            "limits": LIMITS,
            "recipes": RECIPES,
            "out": tmp_path / "out",
            "on_event": events.append,
        }
        data = more.pop("source", source)
        return run_with(data, Budget(trials, minutes), **(arguments | more))

    return run
