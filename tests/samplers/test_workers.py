"""Several workers on one study: nothing is asked twice but to measure it again, and few rows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path

import numpy as np
import optuna
import pytest

from nfopt.evolution.settings import Settings
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.codec import Codec
from nfopt.samplers.trials import Origin
from nfopt.space import SearchSpace

from .spaces import masks_only, ones

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def twice(study: optuna.Study, space: SearchSpace) -> list[bytes]:
    """Genomes that two trials have, neither as a re-evaluation."""
    codec = Codec(space.distributions(), space)
    genomes = [codec.encode(t.params) for t in study.trials if not Origin.of(t).replicate]
    counts = Counter(genome.key for genome in genomes if genome is not None)
    return [key for key, count in counts.items() if count > 1]


def work(space: SearchSpace, storage: str | optuna.storages.BaseStorage, trials: int) -> None:
    if isinstance(storage, str):  # 16 processes on a busy machine wait longer than the usual 5 s
        patient = {"connect_args": {"timeout": 100}}
        storage = optuna.storages.RDBStorage(storage, engine_kwargs=patient)
    study = optuna.load_study(
        study_name="s", storage=storage, sampler=EvolutionSampler(space, seed=0)
    )
    study.optimize(lambda trial: ones(trial, space), n_trials=trials)


def together(space: SearchSpace, workers: int, trials: int) -> optuna.Study:
    """Threads, each with a sampler of its own and all with one seed."""
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="s", storage=storage)
    threads = [threading.Thread(target=work, args=(space, storage, trials)) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(study.trials) == workers * trials
    return study


@pytest.mark.parametrize(("features", "depth"), [(4, 3), (16, 4)])
def test_16_workers_ask_nothing_twice(features: int, depth: int) -> None:
    space = masks_only(features, depth)
    assert space.mask_bits == features * depth
    assert twice(together(space, 16, 3), space) == []


@pytest.mark.slow
@pytest.mark.parametrize(("features", "depth"), [(4, 3), (6, 4), (64, 8)])
def test_16_workers_ask_nothing_twice_for_long(features: int, depth: int) -> None:
    space = masks_only(features, depth)
    assert twice(together(space, 16, 20), space) == []


def test_threads_that_share_a_sampler() -> None:
    space = masks_only(4, 3)
    study = optuna.create_study(sampler=EvolutionSampler(space, seed=0))
    study.optimize(lambda trial: ones(trial, space), n_trials=32, n_jobs=8)
    assert len(study.trials) == 32
    assert twice(study, space) == []


PROCESS = """
import sys
from tests.samplers.spaces import masks_only
from tests.samplers.test_workers import work
work(masks_only(int(sys.argv[2]), int(sys.argv[3])), sys.argv[1], int(sys.argv[4]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("features", "depth"), [(4, 3), (64, 8)])
def test_processes_ask_nothing_twice(tmp_path: Path, features: int, depth: int) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    space = masks_only(features, depth)
    study = optuna.create_study(study_name="s", storage=url)
    arguments = [sys.executable, "-c", PROCESS, url, str(features), str(depth), "4"]
    running = [subprocess.Popen(arguments, cwd=ROOT) for _ in range(16)]
    assert [process.wait() for process in running] == [0] * 16
    assert len(study.trials) == 64
    assert twice(study, space) == []


def test_a_small_space_is_tried_out_without_a_repetition() -> None:
    space = masks_only(3, 2)
    sampler = EvolutionSampler(space, seed=0, settings=Settings(reevaluate=0.0))
    study = optuna.create_study(sampler=sampler)
    left = []
    for _ in range(9):
        left.append(sampler.left(study))
        study.optimize(lambda trial: ones(trial, space), n_trials=1)
    assert left == [6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert twice(study, space) == []
    assert [Origin.of(trial).replicate for trial in study.trials] == [False] * 6 + [True] * 3
    assert EvolutionSampler(masks_only(8, 4)).left(study) is None, "many"


def test_few_rows_for_a_genome_of_512_bits(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    free = {"width": [4, 64], "learning_rate": [1e-4, 1e-2], "dropout": [0, 0.3]}
    space = masks_only(64, 8, activation=["relu", "silu"], **free)
    assert space.mask_bits == 512
    study = optuna.create_study(
        storage=f"sqlite:///{path}", sampler=EvolutionSampler(space, seed=0)
    )

    def rows() -> int:
        with sqlite3.connect(path) as base:
            tables = [name for (name,) in base.execute("select name from sqlite_master")]
            counted = [name for name in tables if name.startswith("trial")]
            return sum(base.execute(f"select count(*) from {t}").fetchone()[0] for t in counted)

    study.optimize(lambda trial: ones(trial, space), n_trials=2)
    before = rows()
    study.optimize(lambda trial: ones(trial, space), n_trials=5)
    assert (rows() - before) / 5 <= 25


@pytest.mark.parametrize("holding", [False, True])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_16_that_are_asked_at_once_are_distinct_and_of_several_masks(
    noise: float, holding: bool
) -> None:
    """What a population is: nothing is told between its asks."""
    space = masks_only(12, 4, learning_rate=[1e-4, 1e-2], width=[4, 64])
    rng = np.random.default_rng(0)
    sampler = EvolutionSampler(space, seed=0, settings=Settings(reevaluate=0.0))
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda t: ones(t, space) + noise * rng.normal(), n_trials=60)
    shape = {"width": study.trials[-1].params["width"]}
    asked = []
    with sampler.holding(shape) if holding else nullcontext():
        for _ in range(16):
            asked.append(study.ask())
            space.suggest(asked[-1])
    codec = Codec(space.distributions(), space)
    genomes = [codec.encode(trial.params) for trial in asked]
    assert len({genome.key for genome in genomes if genome is not None}) == 16
    masks = [genome.masks for genome in genomes if genome and genome.masks is not None]
    assert len({each.tobytes() for each in masks}) >= 8, "they differ in more than a learning rate"
    apart = np.mean([(a != b).sum() for a, b in combinations(masks, 2)])
    assert apart >= 4, "letters of 48"
