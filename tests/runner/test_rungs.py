"""Who ends at a rung: by value, and by the time that is left."""

from __future__ import annotations

import math

import optuna
from small_study import TRAIN, flow

from nfopt import attributes as names
from nfopt.runner.budget import Pace
from nfopt.runner.rungs import choose_pruned
from nfopt.study.candidate import Candidate
from nfopt.training import Rung

PACE = Pace(alone=10.0, stacked=10.0)


class Desk:
    """Members of one population, each a little worse than the one before."""

    def __init__(self, count: int) -> None:
        self.study = optuna.create_study()
        self.nlls = tuple(0.01 * number for number in range(count))
        self.own = {member: self.candidate() for member in range(count)}

    def candidate(self) -> Candidate:
        return Candidate(self.study.ask(), flow("CTC", "TCT"), TRAIN, "asinh", seed=0)

    def prune(
        self, left: float | None = None, pace: Pace | None = None, few: bool = False
    ) -> set[int]:
        members = tuple(range(len(self.nlls)))
        rung = Rung(0.25, 100, members, self.nlls, self.nlls)
        trials = self.study.get_trials(deepcopy=False)
        return choose_pruned(rung, self.own, trials, left, pace, few)


def test_the_worse_half_ends() -> None:
    assert Desk(4).prune() == {2, 3}


def test_where_few_trainings_fit_nobody_ends_for_another() -> None:
    assert Desk(4).prune(few=True) == set()
    assert Desk(4).prune(7.0, PACE, few=True) == {1, 2, 3}, "there is no time"


def test_who_cannot_be_trained_to_the_end_goes_the_worst_first() -> None:
    # 0.35 of four trainings are 14 s, with the margin 15.4
    assert Desk(4).prune(16.0, PACE, few=True) == set()
    assert Desk(4).prune(15.0, PACE, few=True) == {3}
    assert Desk(4).prune(15.0, PACE) == {2, 3}, "the worse half anyway"


def test_further_seeds_go_on() -> None:
    desk = Desk(4)
    desk.own[3].trial.set_user_attr(names.REPEATS, "abc")
    assert desk.prune() == {2}


def test_a_value_that_is_not_finite_ends_however_few_there_are() -> None:
    desk = Desk(2)
    desk.nlls = (0.0, math.inf)
    assert desk.prune(few=True) == {1}


def test_what_has_come_this_far_before_counts_but_for_further_seeds() -> None:
    desk = Desk(2)
    for number in range(4):
        before = desk.candidate().trial
        before.report(-1.0, 25)
        if number % 2:
            before.set_user_attr(names.REPEATS, "abc")
    assert desk.prune() == {0, 1}
    assert desk.prune(few=True) == set()
