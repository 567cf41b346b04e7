"""A small study, as the search would tell it, without any training."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState
from PIL import Image

from nfopt import attributes as names
from nfopt import stored
from nfopt.data import Prepared, load, prepare, split
from nfopt.distributed.artifacts import settle
from nfopt.events import BatchTold, Event, GroupTrained, Member
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.report import Publisher
from nfopt.space import SearchSpace
from nfopt.spec import LU, Conditioner, Coupling, FlowSpec, TrainSpec
from nfopt.storage.open import open_storage
from nfopt.study.create import METRICS
from nfopt.training import MemberResult

COLUMNS = ("energy", "mass $m$", "x|y_z", "<b>")
MASKS = ("CCTT", "TTCC", "CTCT", "TCTC")
NET = Conditioner(width=8, hidden_layers=1)


def table(rows: int = 400) -> Prepared:
    """Four columns, the first two of which depend on each other."""
    values = np.random.default_rng(0).normal(size=(rows, 4))
    values[:, 1] = values[:, 0] ** 2 + 0.1 * values[:, 1]
    data = load({name: values[:, k] for k, name in enumerate(COLUMNS)})
    return prepare(data, split(data, seed=0), 0)


def flow(number: int = 0) -> FlowSpec:
    """Two couplings around a linear layer; the masks differ from number to number."""
    pair = (MASKS[number % 4], MASKS[(number + 1) % 4])
    first, second = (Coupling(mask=mask, conditioner=NET) for mask in pair)
    return FlowSpec(features=4, layers=(first, LU(), second))


def study(data: Prepared, storage: str | None = None) -> optuna.Study:
    """An empty study with the attributes of one of nfopt."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = optuna.create_study(
        study_name="toy", storage=None if storage is None else open_storage(storage)
    )
    described = {
        "name": "toy_table",
        "rows": [len(part) for part in data.parts],
        "columns": list(data.columns),
        "source": "/data/toy table.csv",
    }
    found.set_user_attr(names.DATA, described)
    found.set_user_attr(names.OBJECTIVES, ["nll"])
    found.set_user_attr(names.SAMPLER, "random")
    found.set_user_attr(names.STUDY_SEED, 0)
    found.set_user_attr(names.BUDGET, {"trials": 20, "minutes": None})
    space = SearchSpace.for_data(data.train, kind="coupling", limits={"depth": 2})
    found.set_user_attr(names.SPACE, json.loads(space.to_json()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        found.set_metric_names([METRICS["nll"]])
    return found


def group(
    found: optuna.Study, nlls: Sequence[float], statuses: Sequence[str] | None = None
) -> GroupTrained:
    """Ask trials, as if they had just trained to these NLLs."""
    members = []
    for place, nll in enumerate(nlls):
        trial = found.ask()
        trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        spec, train = flow(trial.number), TrainSpec(steps=400)
        stored.write(
            trial,
            {
                names.SPEC: spec.to_json(),
                names.TRAIN: train.to_json(),
                names.PARAMETERS: spec.parameter_count(),
                names.SEED: 7,
            },
        )
        rungs = {25: nll + 1.0, 50: nll + 0.5, 100: nll}
        for step, value in rungs.items():
            if np.isfinite(value):
                trial.report(value, step)
        result = MemberResult(
            member=place,
            status=(statuses or ["complete"] * len(nlls))[place],  # type: ignore[arg-type]
            reason="",
            nll=nll,
            nll_2se=0.02,
            steps=400,
            best_step=380,
            seconds=2.0,
            curve=tuple((20 * k, nll + 3.0 * float(np.exp(-k / 4))) for k in range(1, 21)),
            round_trip=1e-6,
        )
        members.append(Member(trial, spec, train, "standardise", 7, rungs, result))
    specs = [member.spec for member in members]
    (stack,) = build(specs, torch.Generator().manual_seed(0))
    return GroupTrained(tuple(members), stack, 1.0)


def tell(found: optuna.Study, trained: GroupTrained) -> BatchTold:
    """Tell the trials, as the search does."""
    for member in trained.members:
        nll = member.result.nll
        state = TrialState.COMPLETE if member.result.status == "complete" else TrialState.PRUNED
        stored.write(member.trial, {names.SECONDS: 2.0, names.FIDELITY: 1.0, names.NLL_2SE: 0.02})
        found.tell(member.trial, nll if state is TrialState.COMPLETE else None, state=state)
    numbers = tuple(member.trial.number for member in trained.members)
    return BatchTold(numbers, len(numbers), 0, 0, (len(numbers),), len(found.trials), 0, 1.0, 1.0)


def published(
    folder: Path, batches: Sequence[Sequence[float]], storage: str | None = None
) -> optuna.Study:
    """A study of several batches with all that the publisher makes of it."""
    data = table()
    found = study(data, storage)
    settle(found, folder, make=True)
    said: list[Event] = []
    publisher = Publisher(data)
    publisher.through(said.append)
    for nlls in batches:
        trained = group(found, nlls)
        publisher.on_event(trained)
        publisher.on_event(tell(found, trained))
    publisher.finish()
    assert said == []
    return found


def pixels(picture: bytes) -> NDArray[np.uint8]:
    """A picture's pixels, shape (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def share(picture: bytes, colour: Sequence[float]) -> float:
    """Which share of a picture has a colour, given as RGB from 0 to 1."""
    wanted = np.rint(np.asarray(colour) * 255).astype(np.int64)
    return float((np.abs(pixels(picture).astype(np.int64) - wanted) <= 1).all(axis=2).mean())


def kept(
    data: Prepared, *, seed: int = 0, shares: Sequence[float] | None = (0.75, 0.25), **info: object
) -> Flow:
    """A flow of this data that was not trained: a mixture of two, with what is told of one."""
    stacks = build([flow(0), flow(1)], torch.Generator().manual_seed(seed))
    weights = {at: s.weights(k) for s in stacks for k, at in enumerate(s.positions)}
    scores = {"validation_nll": 4.5, "validation_nll_2se": 0.1, "test_nll": 4.25}
    told: dict[str, object] = {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "versions": {"nfopt": "1.2.3", "torch": "2.0"},
        "scores": {**scores, "test_nll_2se": 0.0625},
        "seconds": 90.0,
        "command": "nfopt search table.csv --minutes 1.5",
        "trials": [0, 1],
        "members_test_nll": [4.5, 4.75],
        "steps": [300, 400],
        "marginals": ["standardise", "asinh"],
        "train": {"optimiser": "muon"},
        "warnings": ["a warning"],
    }
    specs = [flow(0), flow(1)]
    maps = data.preprocessing
    return Flow(specs, [weights[0], weights[1]], maps, {**told, **info}, shares=shares)
