"""The package by itself: what OptunaHub asks of a problem, and what it says of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import optunahub
import pytest

ROOT = Path(__file__).parents[4]
MaskTable = optunahub.load_local_module(
    "benchmarks/nfopt_mask_table", registry_root=str(ROOT / "package")
).MaskTable
SHAPES = {"htru2": (4, 8), "higgs35k": (4, 24)}


@pytest.mark.parametrize("table", SHAPES)
def test_the_space_is_what_is_evaluated(table: str) -> None:
    problem = MaskTable(table, landscape="pool")
    space = problem.search_space
    assert len(space) == np.prod(SHAPES[table])
    study = optuna.create_study(
        directions=problem.directions, sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(problem, n_trials=3)
    for trial in study.trials:
        assert trial.distributions == space
        assert trial.user_attrs["truth"] == problem.truth(trial.params)
    assert problem.masks(study.best_params).shape == SHAPES[table]


def test_noise_is_that_of_trainings() -> None:
    problem = MaskTable("htru2", landscape="pool", seed=1)
    params = dict.fromkeys(problem.search_space, 0)  # repaired
    runs = {problem.evaluate(params) for _ in range(40)}
    assert len(runs) == 3  # trainings of the nearest mask
    assert np.mean(list(runs)) == pytest.approx(problem.truth(params))
    still = MaskTable("htru2", landscape="pool", noise=False)
    assert still.evaluate(params) == still.truth(params) == problem.truth(params)


def test_the_noise_follows_from_seed_and_number() -> None:
    values = []
    for seed in (0, 0, 1):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(MaskTable("htru2", landscape="pool", seed=seed), n_trials=6)
        values.append([trial.value for trial in study.trials])
    assert values[0] == values[1] != values[2]


def test_regret_is_between_the_best_known_and_chance() -> None:
    problem = MaskTable("htru2")
    halves = {name: int(int(name.rpartition(".")[2]) > 4) for name in problem.search_space}
    assert 0.2 < problem.regret(halves) < 4.0
    bits = np.random.default_rng(0).integers(0, 2, (20, 32))
    assert problem.best < min(problem.truth(dict(zip(halves, row, strict=True))) for row in bits)


@pytest.mark.parametrize("wrong", [{"table": "magic"}, {"landscape": "moon"}])
def test_a_wrong_name_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be one of .*, got"):
        MaskTable(**wrong)
