"""How a call divides its time: pure arithmetic, every share a named constant.

    few trainings fit:  |-- the portfolio, as in `fit` ------|-- further seeds --|-- mix, save --|
    many:               |-- recipes compared at the rungs ---|-- further seeds --|-- mix, save --|

A trial is a whole training, and whatever was trained may stand in the mixture. A mixture wants
recipes that differ: as long as time is for not many more than the portfolio has, pruning one for
another seed of the best loses (0.05 nats on magic in ten minutes). Of many, who is behind at a rung
ends there, and offspring follow. The last ones are of what the mixture wants more of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nfopt.samplers.pruning import KEEP
from nfopt.study.length import RUNGS

SHORT = 3.0  # trainings that fit at least: else they are shorter
LEAST_SHARE = 0.3  # of the full steps
FULLER = 1.05  # times the steps that fit as measured: the clock ends the last of them
LONGEST = 1.5  # times its steps, for a stack that takes the time that no other would fit into
SEARCH = 16.0  # trainings that must fit before any is pruned, or beyond the portfolio tried
FOLDS_SHARE = 0.25  # of the time is what a trial of one flow a fold may take, at most
SEEDS_SHARE = 0.45  # of the time of all trainings goes to further seeds
FEWEST_COMPARED, MOST_COMPARED = 3, 6  # members of a stack that is compared at rungs
MOST_SEEDS = 6  # members of a stack of further seeds: what comes first can be kept earlier
SLOWER, FASTER = 2.0, 0.9  # times that one stack may change the measured pace, at most
LAST_SHARE, LEAST_LAST_SHARE = 0.8, 0.6  # of its steps, for what takes the time that is left
MARGIN = 1.1  # of the measured seconds must be left for a training
TRIAL_OVERHEAD = 0.08  # seconds to ask and tell a trial, until it is measured
GRACE = 0.25  # seconds over the end after which a training is stopped

POPULATION = {"cpu": 4, "cuda": 32}  # members where only a number of trials is given

SEARCH_SHARE = 0.45  # of the time, of a differentiable search; the rest trains what it found
MORE_SEEDS = 6  # trainings of the flow that it found, from other seeds, if time is left
FITS = 1.2  # times what a training took must be left for another one
RESERVE = 0.03  # of the whole time, for mixing, scoring, saving and the report
RESERVE_SECONDS = (2.0, 10.0)  # but at least and at most this


@dataclass(frozen=True)
class Pace:
    """Seconds of one training of full length, as measured.

    Attributes:
        alone: Of one flow.
        stacked: Of each member of a stack.
    """

    alone: float
    stacked: float

    def of(self, members: float) -> float:
        """Seconds of a stack that is trained to the end."""
        return max(self.alone, members * self.stacked) if members else 0.0

    def compared(self, members: int) -> float:
        """Seconds of a stack of which the expected share goes on at each rung."""
        seconds, before, living = 0.0, 0.0, members
        for rung in RUNGS:
            seconds += (rung - before) * self.of(living)
            before, living = rung, max(1, math.ceil(KEEP * living))
        return seconds

    def bag(self, flows: int) -> Pace:
        """Give the pace of candidates of several flows each, which train side by side."""
        each = flows * self.stacked
        return Pace(max(self.alone, each), each)

    def corrected(self, taken: float, shares: Sequence[float]) -> Pace:
        """Give the pace by which a stack would have taken as long as it did.

        Args:
            taken: Seconds of the stack.
            shares: Of a full training that each member was trained, against the recipe's.
        """
        expected = max(max(shares) * self.alone, sum(shares) * self.stacked)
        if not taken > 0 or not expected > 0:
            return self
        return self.times(min(max(taken / expected, FASTER), SLOWER))

    def times(self, factor: float) -> Pace:
        """Give the pace of a machine, or of steps, that take a factor longer."""
        return Pace(factor * self.alone, factor * self.stacked)


@dataclass(frozen=True)
class Times:
    """When each phase of a differentiable search must be over, in seconds since the call began.

    Attributes:
        search: End of the search.
        retrain: End of the retraining.
        total: End of everything.
    """

    search: float
    retrain: float
    total: float


def times(total: float, already: float = 0.0) -> Times:
    """Divide the seconds of a call with a differentiable search.

    Args:
        total: Seconds of the whole call.
        already: Seconds gone until the search could begin (loading the data).
    """
    end = trained_by(total)
    left = max(0.0, end - already)
    return Times(search=already + SEARCH_SHARE * left, retrain=end, total=total)


def trained_by(total: float) -> float:
    """Seconds since a call began at which all training must be over."""
    reserve = min(max(RESERVE * total, RESERVE_SECONDS[0]), RESERVE_SECONDS[1], 0.2 * total)
    return total - reserve


def leave(end: float, now: float, scoring: float) -> float:
    """Say when training must be over, so that there is time to score.

    Args:
        end: Of training and scoring together, seconds since the call began.
        now: Seconds since the call began.
        scoring: Seconds that scoring takes; it gets half of what is left, at most.
    """
    return end - min(scoring, 0.5 * max(0.0, end - now))


def share_of_steps(seconds: float, pace: Pace) -> float:
    """Say how much of the full steps a training has where time is short.

    A few shorter trainings that are mixed are better than one in full: at half the steps of then,
    three in 180 s gained 0.1 to 0.3 nats over that one (`studies/portfolio`). If the time ends
    before the steps the rate falls earlier, so a little too many steps leave no time over.

    Args:
        seconds: Of all trainings.
        pace: Of a training in full.
    """
    share = FULLER * seconds / max(SHORT * pace.stacked, 1e-9)
    return min(1.0, max(LEAST_SHARE, share))


def stretch(seconds: float, pace: Pace, count: int) -> float:
    """Say by what factor the last stack is longer, so that no time is left over; 1 for others.

    Args:
        seconds: That are left.
        pace: Of its trainings.
        count: Of its members.
    """
    if not count or seconds - MARGIN * pace.of(count) >= LEAST_LAST_SHARE * MARGIN * pace.alone:
        return 1.0
    return min(LONGEST, max(1.0, FULLER * seconds / max(pace.of(count), 1e-9)))


def share_of_trials(seconds: float, pace: Pace, most: int) -> float:
    """Say how much of the full steps the trials of a study have, all of them alike.

    Args:
        seconds: Of all trainings.
        pace: Of a training in full.
        most: Members of a stack.
    """
    share = share_of_steps(seconds, pace)
    own = pace.times(share)
    return share * stretch(seconds, own, stack_fitting(seconds, own, most))


def folds_fit(seconds: float, pace: Pace, folds: int) -> bool:
    """Say whether trials may be of one flow a fold: one of them takes little of the time."""
    return pace.bag(folds).alone <= FOLDS_SHARE * seconds


def fitting(seconds: float, pace: Pace) -> float:
    """Say how many trainings fit, as members of stacks; below one, the share of one."""
    if seconds < MARGIN * pace.alone:
        return max(0.0, min(1.0, seconds / max(pace.alone, 1e-9)))
    return seconds / max(pace.stacked, 1e-9)


def stack_fitting(seconds: float, pace: Pace, most: int) -> int:
    """Members of the next stack: as many as have nearly all of their steps.

    The last one has a few steps less, as its rate falls earlier, and no time is left over.
    """
    for share in (LAST_SHARE, LEAST_LAST_SHARE):
        for count in range(most, 0, -1):
            if share * MARGIN * pace.of(count) <= seconds:
                return count
    return 0


def going_on(seconds: float, pace: Pace, fraction: float, most: int) -> int:
    """Members of a stack that can go on to an end; where time is short, after fewer steps.

    Args:
        seconds: That are left.
        pace: Of these trainings.
        fraction: Of them, that is over.
        most: Members.
    """
    needed = MARGIN * max(0.0, LEAST_LAST_SHARE - fraction)
    return next((n for n in range(most, 1, -1) if needed * pace.of(n) <= seconds), 1)


def compared_size(total: float, left: float, pace: Pace) -> int:
    """Members of the next stack whose recipes are compared; 0 where none is to be any more.

    What is left then goes to further seeds.

    Args:
        total: Seconds of all trainings of the call.
        left: Of them, still to come.
        pace: Of a training.
    """
    spare = left - SEEDS_SHARE * total
    sizes = range(MOST_COMPARED, FEWEST_COMPARED - 1, -1)
    return next((size for size in sizes if MARGIN * pace.compared(size) <= spare), 0)
