"""How many can race: by seconds, and by what they cost."""

from __future__ import annotations

import pytest

from nfopt.autonf.race_budget import affordable, within

from .test_race import FLOWS, TRAIN
from .toys import make_data


@pytest.mark.parametrize(
    ("costs", "rung", "later", "work", "fitting"),
    [
        ([1, 1, 1], 0.5, [1.0], 9.0, 3),
        ([1, 1, 1], 0.5, [1.0], 2.0, 2),  # two halves, and one of them in full
        ([1, 1, 4], 0.5, [1.0], 5.0, 2),  # the third would have to be trained in full as well
        ([1, 1, 4], 0.5, [1.0], 7.0, 3),
        ([2, 1], 1.0, [], 2.0, 1),
        ([2, 1], 1.0, [], 1.9, 0),
        ([1, 1], 0.25, [0.5, 1.0], 2.0, 2),
        ([], 1.0, [], 5.0, 0),
    ],
)
def test_as_many_as_fit_and_one_of_them_to_the_end(
    costs: list[float], rung: float, later: list[float], work: float, fitting: int
) -> None:
    assert within(costs, rung, later, work) == fitting


@pytest.mark.parametrize(
    ("seconds", "keep"), [(1e6, [5, 2]), (110.0, [3, 1]), (5.0, [0, 1]), (-1.0, [0, 1])]
)
def test_fewer_race_where_time_is_short(seconds: float, keep: list[int]) -> None:
    """A step is a second by this clock, and a validation another."""
    ticks: list[int] = []

    def clock() -> float:
        ticks.append(1)
        return float(len(ticks))

    found = affordable(FLOWS, TRAIN, make_data(), (0.5, 1.0), (8, 2), seconds, clock)
    assert found == keep
