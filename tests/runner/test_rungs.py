"""Who ends at a rung: by value, by what the mixture would miss, by the time that is left."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
import pytest
import torch
from small_study import TRAIN, flow, table

from nfopt import attributes as names
from nfopt.runner.budget import Pace
from nfopt.runner.rungs import Rungs
from nfopt.study.candidate import Candidate
from nfopt.study.dataset import read
from nfopt.study.rows import MappedRows
from nfopt.training import Rung

ROWS = 6
PACE = Pace(alone=10.0, stacked=10.0)


@pytest.fixture(scope="module")
def data() -> MappedRows:
    return MappedRows(read(table(), seed=0).data)


class Desk:
    """Members of one population, of which only the log-densities matter."""

    def __init__(self, data: MappedRows, scores: torch.Tensor) -> None:
        self.study = optuna.create_study()
        self.rungs, self.scores = Rungs(data), scores
        self.own = {m: self.candidate() for m in range(len(scores))}

    def candidate(self) -> Candidate:
        return Candidate(self.study.ask(), flow("CTC", "TCT"), TRAIN, "asinh", seed=0)

    def prune(
        self, left: float | None = None, pace: Pace | None = None, few: bool = False
    ) -> set[int]:
        nlls = tuple((-self.scores.mean(dim=1)).tolist())
        members = tuple(range(len(nlls)))

        def scored(some: Sequence[int]) -> torch.Tensor:
            return self.scores[list(some)]

        rung = Rung(0.25, 100, members, nlls, nlls, scored)
        trials = self.study.get_trials(deepcopy=False)
        return self.rungs.prune(rung, self.own, trials, left, pace, few)


def alike(count: int) -> torch.Tensor:
    """Flows that err on the same rows, each a little more than the one before."""
    return torch.zeros(count, ROWS) - 0.01 * torch.arange(count)[:, None]


def elsewhere(count: int) -> torch.Tensor:
    """The same number of flows, of which the last alone is good on one of the rows."""
    scores = alike(count)
    scores[:, 0] -= 9.0
    scores[-1] = -2.0
    scores[-1, 0] = 0.0
    return scores


def test_the_worse_half_ends(data: MappedRows) -> None:
    assert Desk(data, alike(4)).prune() == {2, 3}


def test_the_worst_goes_on_where_the_mixture_needs_it(data: MappedRows) -> None:
    assert Desk(data, elsewhere(4)).prune() == {2}


def test_where_few_trainings_fit_nobody_ends_for_another(data: MappedRows) -> None:
    assert Desk(data, alike(4)).prune(few=True) == set()
    assert Desk(data, alike(4)).prune(7.0, PACE, few=True) == {1, 2, 3}, "there is no time"


def test_who_cannot_be_trained_to_the_end_goes_the_worst_first(data: MappedRows) -> None:
    # 0.35 of four trainings are 14 s, with the margin 15.4
    assert Desk(data, alike(4)).prune(16.0, PACE, few=True) == set()
    assert Desk(data, alike(4)).prune(15.0, PACE, few=True) == {3}
    assert Desk(data, alike(4)).prune(15.0, PACE) == {2, 3}, "the worse half anyway"


def test_further_seeds_go_on(data: MappedRows) -> None:
    desk = Desk(data, alike(4))
    desk.own[3].trial.set_user_attr(names.REPEATS, "abc")
    assert desk.prune() == {2}


def test_a_value_that_is_not_finite_ends_whatever_is_needed(data: MappedRows) -> None:
    scores = alike(2)
    scores[1] = -torch.inf
    assert Desk(data, scores).prune() == {1}
