from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt.evolution import Category, Integer, Real
from nfopt.evolution.genome.variables import Variable, replaced

VARIABLES: list[Variable] = [
    Category(1),
    Category(4),
    Integer(-3, 5),
    Integer(7, 7),
    Integer(1, 10, step=4),
    Integer(1, 1024, log=True),
    Real(-1.0, 2.0),
    Real(0.5, 0.5),
    Real(1e-7, 1.0, log=True),
    Real(0.0, 1.0, step=0.3),
    # where doubles fall together
    Integer(2**60, 2**60 + 10),
    Integer(2**60, 2**60 + 10, log=True),
    Integer(-(2**62), 2**62, step=3),
    Integer(1, 10**300, log=True),
    Real(1.0, math.nextafter(1.0, 2.0)),
    Real(1.0, math.nextafter(1.0, 2.0), log=True),
    Real(0.0, 5e-324),
    Real(-1e308, 1e308),
    Real(-1e308, 1e308, step=1e307),
]
NUMBERS = [v for v in VARIABLES if not isinstance(v, Category)]


@pytest.mark.parametrize("variable", VARIABLES, ids=str)
def test_a_draw_is_among_the_values(variable: Variable) -> None:
    rng = np.random.default_rng(0)
    drawn = [variable.draw(rng) for _ in range(200)]
    assert all(variable.nearest(value) == value for value in drawn)
    assert all(type(value) is type(variable.inactive_value) for value in drawn)
    assert variable.nearest(variable.inactive_value) == variable.inactive_value
    assert (len(set(drawn)) == 1) == variable.single


@pytest.mark.parametrize("variable", NUMBERS, ids=str)
def test_the_unit_interval_maps_both_ways(variable: Integer | Real) -> None:
    rng = np.random.default_rng(1)
    for value in [variable.low, variable.top, *[variable.draw(rng) for _ in range(50)]]:
        unit = variable.unit(value)
        assert 0.0 <= unit <= 1.0
        assert variable.at(unit) == pytest.approx(value, rel=1e-12)
    assert variable.at(-1.0) == variable.low
    assert variable.at(2.0) == variable.top


def test_grids_end_on_the_grid() -> None:
    assert Integer(1, 10, step=4).top == 9
    assert Integer(1, 10, step=4).nearest(100) == 9
    assert Real(0.0, 1.0, step=0.3).top == pytest.approx(0.9)
    assert Real(0.0, 0.9, step=0.3).top == pytest.approx(0.9)
    assert Real(0.0, 1.0, step=0.3).nearest(0.5) == pytest.approx(0.6)


def test_whole_numbers_beyond_doubles_are_all_drawn() -> None:
    rng = np.random.default_rng(0)
    for variable in (Integer(2**60, 2**60 + 10), Integer(2**60 + 1, 2**60 + 11, log=True)):
        assert {variable.draw(rng) for _ in range(300)} == set(
            range(variable.low, variable.low + 11)
        )
        assert variable.unit(variable.top) - variable.unit(variable.low) == pytest.approx(10 / 11)


def test_whole_numbers_share_the_interval_equally() -> None:
    drawn = [Integer(1, 3).draw(np.random.default_rng(seed)) for seed in range(3000)]
    counts = np.bincount(drawn)[1:]
    assert abs(counts - 1000).max() < 120  # four standard deviations


@given(st.floats(-1e9, 1e9))
def test_nearest_is_idempotent_and_in_range(value: float) -> None:
    for variable in VARIABLES:
        found = variable.nearest(value)
        assert variable.nearest(found) == found
        if not isinstance(variable, Category):
            assert variable.low <= found <= variable.high


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Category(0), r"`size` must be at least 1, not 0\."),
        (lambda: Integer(3, 2), r"`low` must not exceed `high`: 3 and 2\."),
        (lambda: Integer(1, 2, step=0), r"`step` must be at least 1, not 0\."),
        (lambda: Integer(0, 2, log=True), r"`log` needs `low` of at least 1"),
        (lambda: Integer(1, 9, log=True, step=2), r"`log` needs"),
        (lambda: Real(3, 2), r"`low` must not exceed `high`: 3 and 2\."),
        (lambda: Real(0, 2, step=0.0), r"`step` must be above 0, not 0\.0\."),
        (lambda: Real(0, 2, log=True), r"`log` needs `low` above 0"),
    ],
)
def test_a_wrong_range_is_named(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]


def test_replaced_changes_some() -> None:
    assert replaced((1, 2.0, 3), {0: 5, 2: 6}) == (5, 2.0, 6)
