"""Ranges that fall together in double precision: as with Optuna's random sampler, or better."""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler

from nfopt.samplers import EvolutionSampler

NEXT = math.nextafter(1.0, 2.0)
RANGES: list[BaseDistribution] = [
    IntDistribution(2**60, 2**60 + 10),
    IntDistribution(2**60, 2**60 + 10, log=True),
    IntDistribution(2**60 + 1, 2**60 + 10),
    IntDistribution(2**53 - 3, 2**53 + 9),
    IntDistribution(2**60, 2**60 + 4096, step=256),
    IntDistribution(-(2**62), 2**62),
    IntDistribution(0, 2**62, step=2**61),
    IntDistribution(1, 2**62, log=True),
    IntDistribution(-(10**300), 10**300),
    IntDistribution(5, 5),
    FloatDistribution(1.0, NEXT),
    FloatDistribution(1.0, NEXT, log=True),
    FloatDistribution(1e300, math.nextafter(1e300, math.inf)),
    FloatDistribution(0.0, 5e-324),
    FloatDistribution(5e-324, 1e-323, log=True),
    FloatDistribution(0.0, 1e-323, step=5e-324),
    FloatDistribution(5e-324, sys.float_info.max, log=True),
    FloatDistribution(-1e308, 1e308),  # the random sampler raises an OverflowError
    FloatDistribution(0.0, 1e308, step=1e300),
    FloatDistribution(1e18, 1e18 + 1000, step=1.0),
    FloatDistribution(0.5, 0.5),
    CategoricalDistribution(["only"]),
]


def run(sampler: optuna.samplers.BaseSampler, kind: BaseDistribution) -> tuple[set[object], ...]:
    """What an objective is asked in 14 trials, and what the storage says it was."""
    asked: list[object] = []
    noise = np.random.default_rng(0)

    def objective(trial: optuna.Trial) -> float:
        asked.append(trial._suggest("value", kind))
        return trial.suggest_float("x", -1.0, 1.0) ** 2 + noise.normal()

    study = optuna.create_study(sampler=sampler)
    study.optimize(objective, n_trials=14)
    return set(asked), {trial.params["value"] for trial in study.trials}


@pytest.mark.parametrize("kind", RANGES, ids=lambda kind: f"{kind!s:.70}")
def test_a_range_is_searched(kind: BaseDistribution) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked, stored = run(EvolutionSampler(seed=0), kind)
    # a trial's result is that of the parameters that it says; a double may be out of the range
    assert len(asked) == len(stored)
    assert isinstance(kind, CategoricalDistribution) or (
        set(map(float, asked)) == set(map(float, stored))
        and all(kind.low <= value <= kind.high for value in asked)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            drawn, _ = run(RandomSampler(seed=0), kind)
        except OverflowError:
            drawn = {0.0, 1.0}
    assert (len(asked) > 1) >= (len(drawn) > 1)
