"""Importances: what mattered is found, what did not is not, and unused parameters do not count."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nfopt.report.page.importances import importances, omega_squared

RANGES = {
    "learning_rate": FloatDistribution(1e-4, 1.0, log=True),
    "kind": CategoricalDistribution(["x", "y"]),
    "other": CategoricalDistribution([True, False]),
    "noise": FloatDistribution(0.0, 1.0),
    "depth": IntDistribution(1, 4),
    "layer_4.map": CategoricalDistribution(["affine", "spline"]),
    "layer_1.mask": IntDistribution(0, 1 << 20),
}


def trials(count: int, *, pruned: bool = False) -> list[FrozenTrial]:
    """Trials whose NLL depends on the rate, and on two kinds together."""
    sampler, rng = optuna.samplers.RandomSampler(seed=0), np.random.default_rng(0)
    study = optuna.create_study(sampler=sampler)
    found = []
    for number in range(count):
        drawn = study.ask(RANGES).params
        nll = np.log10(drawn["learning_rate"]) ** 2 + 0.5 * rng.normal()
        nll += 4.0 * ((drawn["kind"] == "x") == drawn["other"])
        worst = pruned and drawn["learning_rate"] < 1e-3
        trial = create_trial(
            state=TrialState.PRUNED if worst else TrialState.COMPLETE,
            value=None if worst else nll,
            params=drawn,
            distributions=RANGES,
            intermediate_values={25: nll},
        )
        trial.number = number
        found.append(trial)
    return found


@pytest.mark.parametrize("pruned", [False, True])
def test_what_mattered_is_found(pruned: bool) -> None:
    singles, pairs = importances(trials(200, pruned=pruned))
    first = singles[0]
    assert first.names == ("learning_rate",)
    assert first.share > 0.25
    assert first.best.endswith(("0.9", "0.99", "0.98", "0.97", "1")) or "to 0.9" in first.best
    told = {one.names[0] for one in singles if one.share > one.chance}
    assert told == {"learning_rate"}
    assert [set(one.names) for one in pairs] == [{"kind", "other"}]


def test_bits_and_layers_that_are_not_there_do_not_count() -> None:
    singles, _ = importances(trials(200))
    uses = {one.names[0]: one.trials for one in singles}
    assert "layer_1.mask" not in uses
    assert uses["layer_4.map"] == sum(trial.params["depth"] == 4 for trial in trials(200))
    assert uses["depth"] == 200


def test_few_trials_tell_nothing() -> None:
    assert importances(trials(20)) == ([], [])
    assert importances([]) == ([], [])


def test_omega_squared_of_an_example() -> None:
    """Three groups of three: SS_between 54, SS_within 6, so (54 - 2) / (60 + 1)."""
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9], dtype=float)
    groups = np.repeat([0, 1, 2], 3)
    assert omega_squared(groups, values) == pytest.approx(52 / 61)
    assert omega_squared(np.zeros(9, dtype=np.int64), values) == 0.0
    assert omega_squared(groups, np.ones(9)) == 0.0
