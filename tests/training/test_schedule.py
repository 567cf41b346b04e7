from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt.training.schedule import CHECK_SHARE, FORWARD_SHARE, SCHEDULES, Plan, plan_checks


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_factors_stay_within_0_and_1(name: str) -> None:
    factors = [SCHEDULES[name](i / 200) for i in range(201)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1.0)


def test_cosine_falls_to_zero() -> None:
    factors = [SCHEDULES["cosine"](i / 100) for i in range(101)]
    assert factors[0] == 1.0
    assert factors[-1] == pytest.approx(0.0, abs=1e-12)
    assert factors == sorted(factors, reverse=True)


def test_one_cycle_rises_then_falls_without_a_jump() -> None:
    factors = [SCHEDULES["one_cycle"](i / 1000) for i in range(1001)]
    assert factors.index(max(factors)) == 300
    assert factors[0] == pytest.approx(0.04)
    assert factors[-1] == pytest.approx(1e-4)
    assert max(abs(a - b) for a, b in itertools.pairwise(factors)) < 0.01


def test_trapezoid_stays_at_1_between_a_short_rise_and_a_linear_fall() -> None:
    factors = [SCHEDULES["trapezoid"](i / 100) for i in range(101)]
    assert factors[0] == factors[-1] == 0.0
    assert factors[2] == pytest.approx(0.5)
    assert factors[4:71] == pytest.approx([1.0] * 67)
    assert factors[70:] == pytest.approx([(100 - i) / 30 for i in range(70, 101)])


def test_progress_by_steps() -> None:
    plan = Plan(steps=400)
    assert [plan.progress(step, 99.0) for step in (0, 100, 400, 500)] == [0, 0.25, 1, 1]
    assert Plan(steps=0).progress(0, 0.0) == 1.0


def test_progress_by_time_counts_from_the_start_and_keeps_a_reserve() -> None:
    plan = Plan(steps=None, start=10.0, end=110.0)
    assert plan.progress(7, 10.0) == 0.0
    assert plan.progress(7, 60.0) == 0.5
    assert plan.progress(7, 60.0, reserve=50.0) == 1.0
    assert plan.progress(7, 109.0, step_seconds=1.0) < 1.0
    assert plan.progress(7, 109.0, step_seconds=3.0) == 1.0
    assert plan.progress(7, 200.0) == 1.0


def test_with_both_limits_whichever_ends_first() -> None:
    plan = Plan(steps=100, end=10.0)
    assert plan.progress(50, 1.0) == 0.5
    assert plan.progress(10, 9.0) == 0.9
    assert plan.progress(100, 1.0) == 1.0


def test_halves_share_the_rest_of_the_time_and_start_where_the_whole_was() -> None:
    first, second = Plan(steps=None, end=100.0).halve(5, 40.0, (1, 2))
    assert (first.start, first.end) == (40.0, 60.0)
    assert (second.start, second.end) == (60.0, 100.0)
    assert first.progress(5, 40.0) == second.progress(5, 60.0) == pytest.approx(0.4)
    assert first.progress(5, 60.0) == second.progress(5, 100.0) == 1.0


@given(steps=st.integers(1, 1_000_000), batch=st.integers(1, 65536), rows=st.integers(1, 5_000_000))
def test_checks_are_regular_and_cheap(steps: int, batch: int, rows: int) -> None:
    interval, used = plan_checks(steps, batch, rows)
    checks = steps // interval
    assert 1 <= used <= rows
    assert 1 <= checks <= 32
    cost = checks * used * FORWARD_SHARE
    # a very short run may spend more: four checks on 2,000 rows are the least that tell anything
    assert cost <= max(CHECK_SHARE * steps * batch, 4 * 2000 * FORWARD_SHARE) + 1e-6


def test_an_ordinary_run_is_checked_on_all_rows() -> None:
    interval, used = plan_checks(4000, 512, 10_000)
    assert used == 10_000
    assert 20 <= 4000 // interval <= 40
