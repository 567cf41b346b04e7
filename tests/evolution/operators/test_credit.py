from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution.operators.credit import FLOOR, Rates, credit

WEIGHTS = {"a": 3.0, "b": 1.0, "c": 1.0, "d": 1.0}
NAMES = tuple(WEIGHTS)


def test_at_first_the_weights_count() -> None:
    rates = Rates(WEIGHTS)
    assert rates.probabilities(NAMES).tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6])
    assert rates.probabilities(("a", "c")).tolist() == pytest.approx([0.75, 0.25])


def test_success_is_used_more_and_failure_keeps_a_floor() -> None:
    rates = Rates(WEIGHTS)
    for _ in range(300):
        for name in NAMES:
            rates.tell(name, 0.5 if name == "d" else 0.0)
    found = dict(zip(NAMES, rates.probabilities(NAMES), strict=True))
    assert found["d"] > 0.5
    assert FLOOR / 6 <= found["b"] < 0.1
    assert sum(found.values()) == pytest.approx(1.0)


def test_what_worked_long_ago_is_forgotten() -> None:
    rates = Rates(WEIGHTS)
    for _ in range(200):
        rates.tell("b", 1.0)
    high = rates.probabilities(NAMES)[1]
    for _ in range(200):
        rates.tell("b", 0.0)
        rates.tell("c", 1.0)
    low, new = rates.probabilities(NAMES)[1:3]
    assert low < high / 2
    assert new > 2 * low


def test_without_adaptation_only_the_weights_count() -> None:
    rates = Rates(WEIGHTS, adapt=False)
    for _ in range(50):
        rates.tell("d", 1.0)
    assert rates.probabilities(NAMES).tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6])


def test_an_operator_of_an_older_version_is_ignored() -> None:
    rates = Rates(WEIGHTS)
    rates.tell("recut", 1.0)
    assert rates.probabilities(NAMES).tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6])


def test_credit_is_by_rank_from_the_better_parent() -> None:
    population = np.array([1.0, 2.0, 3.0, 4.0])
    assert credit(0.5, 1.0, population) == 1.0
    assert credit(-1e9, 4.0, population) == 1.0
    assert credit(2.5, 4.0, population) == 0.5
    assert credit(2.0, 2.0, population) == 0.0
    assert credit(9.0, 2.0, population) == 0.0
    assert credit(np.nan, 2.0, population) == 0.0
    assert credit(0.5, 0.7, population) == 1.0  # the parent is better than all members
