"""How a search divides its time."""

from __future__ import annotations

import pytest

from nfopt.runner import budget as plan
from nfopt.study.length import FINALISTS, MEMBERS, Length


@pytest.mark.parametrize("total", [6.0, 30.0, 180.0, 600.0, 36_000.0])
@pytest.mark.parametrize("already", [0.0, 2.0])
def test_phases_follow_each_other_and_end_in_time(total: float, already: float) -> None:
    times = plan.times(total, already)
    assert already < times.search < times.retrain < times.total == total
    assert times.total - times.retrain <= 0.2 * total
    searched = times.search - already
    assert searched == pytest.approx(plan.SEARCH_SHARE * (times.retrain - already))


def test_the_search_gets_what_full_trainings_leave() -> None:
    def share(full: float, members: int = MEMBERS) -> float:
        return plan.times(100.0, 0.0, full, members).search / 97.0

    assert share(1.0) == pytest.approx(plan.SEARCH_SHARE)
    assert share(15.0) == pytest.approx(1 - MEMBERS * 15.0 / 97.0)
    assert share(1e6) == pytest.approx(plan.LEAST_SEARCH_SHARE)
    assert share(15.0, members=1) == pytest.approx(plan.SEARCH_SHARE)


def test_short_trials_do_not_overrule_the_recipe() -> None:
    assert Length(size=2, seconds=20.0, full=100.0).trusted
    assert not Length(size=2, seconds=19.0, full=100.0).trusted
    assert Length(size=2, share=0.25).trusted


def test_no_time_left_is_no_negative_time() -> None:
    times = plan.times(1.0, already=5.0)
    assert times.search >= 0


def test_populations_fit_into_the_search() -> None:
    length = plan.length(device="cpu", trials=None, search_seconds=80.0)
    assert length.seconds is not None
    assert 80.0 / length.seconds >= 6
    assert length.share is None


def test_a_slow_flow_makes_the_population_smaller() -> None:
    lengths = [
        plan.length(device="cpu", trials=None, search_seconds=80.0, full_seconds=full)
        for full in (0.1, 2.0, 5.0, 1000.0)
    ]
    sizes = [length.size for length in lengths]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == plan.POPULATION_CPU[2]
    assert sizes[-1] == plan.POPULATION_CPU[0]
    assert sizes[2] < sizes[1]
    # a trial is not trained beyond a full training, however much time there is
    assert lengths[0].seconds == pytest.approx(sizes[0] * 0.1)


def test_what_a_stack_saves_makes_the_population_larger() -> None:
    alone = plan.length(device="cpu", trials=None, search_seconds=80.0, full_seconds=10.0)
    stacked = plan.length(
        device="cpu", trials=None, search_seconds=80.0, full_seconds=10.0, stacked_seconds=5.0
    )
    assert stacked.size == 2 * alone.size
    assert stacked.full == alone.full


def test_with_trials_nothing_is_measured() -> None:
    slow = plan.length(device="cpu", trials=100, search_seconds=9.0, full_seconds=100.0)
    assert slow == plan.length(device="cpu", trials=100, search_seconds=None)
    assert slow.seconds is None
    assert slow.size == plan.POPULATION_CPU[1]
    assert plan.length(device="cpu", trials=3, search_seconds=None).size == plan.FEWEST_BY_TRIALS


def test_length_by_steps_and_by_seconds() -> None:
    by_steps, by_seconds = Length(size=8, share=0.25), Length(size=8, seconds=4.0)
    assert by_steps.steps_of(1000) == 250
    assert by_steps.steps_of(1) == 1
    assert by_steps.seconds_of(4) is None
    assert by_seconds.steps_of(1000) == 1000
    assert by_seconds.seconds_of(4) == 2.0


def test_a_population_that_would_be_cut_short_is_not_begun() -> None:
    assert plan.may_start(10.0, 10.0)
    assert plan.may_start(10.0, None)
    assert not plan.may_start(10.0 * plan.START_SHARE - 0.1, 10.0)
    assert not plan.may_start(-1.0, None)


def test_the_first_round_is_what_can_be_trained_in_full() -> None:
    most = FINALISTS + 1
    assert plan.first_round(None, None, None) == (most, most)
    assert plan.first_round(100.0, None, None) == (2, 2)
    assert plan.first_round(100.0, 10.0, 10.0) == (most, most)
    # three, and three more of the best side by side
    assert plan.first_round(100.0, 20.0, 10.0) == (3, 3)
    assert plan.first_round(100.0, 40.0, 20.0) == (1, 4)
    assert plan.first_round(100.0, 40.0, 20.0, members=1) == (1, 1)
    assert plan.first_round(100.0, 90.0, None) == (1, 1)
    assert plan.first_round(100.0, 200.0, 100.0) == (1, 1)
