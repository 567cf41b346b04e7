"""How a search divides its time."""

from __future__ import annotations

import pytest

from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace


@pytest.mark.parametrize("total", [6.0, 30.0, 180.0, 600.0, 36_000.0])
@pytest.mark.parametrize("already", [0.0, 2.0])
def test_phases_follow_each_other_and_end_in_time(total: float, already: float) -> None:
    times = plan.times(total, already)
    assert already < times.search < times.retrain < times.total == total
    assert times.total - times.retrain <= 0.2 * total
    searched = times.search - already
    assert searched == pytest.approx(plan.SEARCH_SHARE * (times.retrain - already))


def test_no_time_left_is_no_negative_time() -> None:
    times = plan.times(1.0, already=5.0)
    assert times.search >= 0
    assert plan.leave(10.0, 20.0, 3.0) == 10.0


def test_training_ends_before_the_call() -> None:
    assert plan.trained_by(2.0) == 1.6
    assert plan.trained_by(60.0) == 58.0  # 2 seconds at least, which a page takes
    assert plan.trained_by(120.0) == pytest.approx(116.4)
    assert plan.trained_by(3600.0) == 3590.0


PACE = Pace(alone=10.0, stacked=4.0)


def test_a_stack_takes_no_less_than_one_flow() -> None:
    assert PACE.of(0) == 0.0
    assert PACE.of(1) == PACE.of(2) == 10.0
    assert PACE.of(5) == 20.0
    assert PACE.times(2.0) == Pace(20.0, 8.0)


def test_a_comparison_costs_what_its_survivors_cost() -> None:
    # an eighth of 8, an eighth of 4, a quarter of 2 and half of 1, two and one as dear as one alone
    assert PACE.compared(8) == pytest.approx((32 + 16 + 2 * 10 + 4 * 10) / 8)
    assert PACE.compared(8) < PACE.of(8)


def test_how_many_trainings_fit() -> None:
    assert plan.fitting(5.0, PACE) == 0.5
    assert plan.fitting(100.0, PACE) == 25.0
    assert plan.fitting(-1.0, PACE) == 0.0
    assert plan.stack_fitting(-1.0, PACE, 8) == 0
    assert plan.stack_fitting(1.0, Pace(0.0, 0.0), 8) == 8, "a flow without weights"


def test_recipes_are_compared_while_the_seeds_keep_their_share() -> None:
    assert plan.compared_size(11.0, 11.0, PACE) == 0
    assert plan.compared_size(100.0, 100.0, PACE) == plan.MOST_COMPARED
    left = 100.0
    while size := plan.compared_size(100.0, left, PACE):
        left -= PACE.compared(size)
    assert 45.0 - plan.MARGIN * PACE.compared(plan.FEWEST_COMPARED) < left
    assert left >= 45.0 - 1e-9
    assert plan.stack_fitting(left, PACE, plan.MOST_SEEDS) == plan.MOST_SEEDS


def test_a_pace_is_corrected_by_what_a_stack_took() -> None:
    pace = plan.Pace(alone=10.0, stacked=4.0)
    assert pace.corrected(12.0, [1.0, 1.0, 1.0]) == pace
    assert pace.corrected(15.0, [1.0, 0.5, 0.75]) == plan.Pace(15.0, 6.0)  # one alone took 10
    assert pace.corrected(90.0, [1.0]) == plan.Pace(20.0, 8.0)
    assert pace.corrected(1.0, [1.0]) == plan.Pace(9.0, 3.6)
    assert pace.corrected(0.0, [1.0]) == pace.corrected(5.0, [0.0]) == pace


def test_the_last_seeds_leave_no_time_over() -> None:
    assert plan.stack_fitting(6.5, PACE, 6) == 0
    assert plan.stack_fitting(6.7, PACE, 6) == 2, "at 60% of their steps, two as dear as one"
    assert plan.stack_fitting(11.1, PACE, 6) == 3, "two in full, three a little shorter"
    assert plan.stack_fitting(1e6, PACE, 6) == 6


def test_the_last_stack_is_longer_where_no_other_would_fit() -> None:
    assert plan.stretch(100.0, PACE, 3) == 1.0, "others follow"
    assert plan.stretch(16.0, PACE, 3) == pytest.approx(plan.FULLER * 16.0 / PACE.of(3))
    assert plan.stretch(0.5, PACE, 3) == 1.0, "the clock will end it"
    assert plan.stretch(10.0, plan.Pace(5.0, 5.0), 1) == 1.0, "a shorter one follows"
    assert plan.stretch(8.0, plan.Pace(5.0, 5.0), 1) == plan.LONGEST
    assert plan.stretch(1.0, PACE, 0) == 1.0, "there is none"


@pytest.mark.parametrize("seconds", [16.0, 20.0, 21.0, 40.0, 1e4])
def test_trials_of_a_short_study_take_its_time(seconds: float) -> None:
    pace = plan.Pace(alone=10.0, stacked=6.0)
    share = plan.share_of_trials(seconds, pace, 8)
    own = pace.times(share)
    count = plan.stack_fitting(seconds, own, 8)
    left = seconds - own.of(count)
    assert left <= 0.15 * seconds or left >= plan.LEAST_LAST_SHARE * own.alone
    assert 0.8 < share < plan.LONGEST


def test_where_time_is_short_a_few_shorter_trainings_fit() -> None:
    pace = plan.Pace(alone=10.0, stacked=6.0)
    assert plan.share_of_steps(100.0, pace) == 1.0
    share = plan.share_of_steps(16.0, pace)
    assert 0.8 < share < 1.0
    assert plan.stack_fitting(16.0, pace.times(share), 8) == 3
    assert 3 * share * pace.stacked > 16.0, "the clock ends them, so that no time is left over"
    assert plan.share_of_steps(0.1, pace) == plan.LEAST_SHARE
