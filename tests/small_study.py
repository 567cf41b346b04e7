"""Small data with a seed, small flows, few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from nfopt.events import Event
from nfopt.runner.run import run_search
from nfopt.spec import Conditioner, Coupling, FlowSpec, TrainSpec
from nfopt.study.arguments import Budget
from nfopt.study.dataset import Source, read
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
BEST = (flow("CTC", "TCT"), TRAIN)
RECIPES = [BEST, (flow("CCT", "TTC", "CTC"), TRAIN)]


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
        return run_search(data, Budget(trials, minutes), **(arguments | more))

    return run
