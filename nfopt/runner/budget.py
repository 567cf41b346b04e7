"""How a search divides its time: pure arithmetic, every share a named constant.

    |-- search: populations of equal length --|-- retrain --|-- score, save --|

A trial's length is a property of its study (it is stored there, so that trials stay comparable over
resumes): a share of the full steps where a number of trials is asked for, which makes a study
repeatable, or seconds a population where only the time is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nfopt.study.length import FINALISTS, MEMBERS, TRIAL_SHARE, Length

SEARCH_SHARE = 0.45  # of the time at most; the rest retrains and scores the finalists
LEAST_SEARCH_SHARE = 0.1
POPULATIONS = 10  # at least, that fit into the search
START_SHARE = 0.6  # of a population's time must be left, or it is not begun
TRIAL_OVERHEAD = 0.08  # seconds to ask and tell a trial, until it is measured
GRACE = 0.25  # seconds over the end of the search after which a population is stopped

POPULATION_CPU = (1, 8, 16)  # least, default, greatest
POPULATION_CUDA = (8, 32, 64)
BATCHES_OF_TRIALS = 4  # populations that a budget in trials is cut into, if they are large enough
FEWEST_BY_TRIALS = 4  # members of a population then: a later call may ask for many more trials

MORE_SEEDS = 6  # trainings of the best finalist from other seeds at most, if time is left
FITS = 1.2  # times what a training took must be left for another one
RESERVE = 0.03  # of the whole time, for scoring and saving
RESERVE_SECONDS = (0.5, 10.0)  # but at least and at most this


@dataclass(frozen=True)
class Times:
    """When each phase must be over, in seconds since the call began.

    Attributes:
        search: End of the search.
        retrain: End of the retraining.
        total: End of everything.
    """

    search: float
    retrain: float
    total: float


def times(
    total: float,
    already: float = 0.0,
    stacked_seconds: float | None = None,
    members: int = MEMBERS,
) -> Times:
    """Divide the seconds of a call.

    A flow that is not trained for long enough loses more than a search can find, and a mixture of
    several gains more, so the search has what full trainings of the members leave, within limits.

    Args:
        total: Seconds of the whole call.
        already: Seconds gone until the search could begin (loading the data).
        stacked_seconds: Of the recipe's full training, a member of a stack; None if unknown.
        members: Flows to keep at most.
    """
    reserve = min(max(RESERVE * total, RESERVE_SECONDS[0]), RESERVE_SECONDS[1], 0.2 * total)
    left = max(0.0, total - reserve - already)
    share = SEARCH_SHARE
    if stacked_seconds and left:
        # of a single flow two are trained, so that there is something to choose from
        spare = 1.0 - max(members, 2) * stacked_seconds / left
        share = min(SEARCH_SHARE, max(LEAST_SEARCH_SHARE, spare))
    return Times(search=already + share * left, retrain=total - reserve, total=total)


def leave(end: float, now: float, scoring: float) -> float:
    """Say when the retraining must be over, so that there is time to score.

    Args:
        end: Of retraining and scoring together, seconds since the call began.
        now: Seconds since the call began.
        scoring: Seconds that scoring takes; it gets half of what is left, at most.
    """
    return end - min(scoring, 0.5 * max(0.0, end - now))


def population_range(device: str) -> tuple[int, int, int]:
    """Least, usual and greatest size of a population on a device."""
    return POPULATION_CPU if device == "cpu" else POPULATION_CUDA


def length(
    *,
    device: str,
    trials: int | None,
    search_seconds: float | None,
    full_seconds: float | None = None,
    stacked_seconds: float | None = None,
) -> Length:
    """Choose the population's size and the length of a trial of a new study.

    Where time is short, populations are small (down to single trials) rather than trials: one of
    less than a quarter of a full training says little about the whole.

    Args:
        device: Its type: "cpu", "cuda", ...
        trials: The budget in trials, or None.
        search_seconds: Seconds of the search where there is no budget in trials.
        full_seconds: Measured seconds of the recipe's full training, or None if unknown.
        stacked_seconds: The same, a member of a stack; None: as alone.
    """
    least, usual, most = population_range(device)
    if trials is not None:
        size = max(FEWEST_BY_TRIALS, math.ceil(trials / BATCHES_OF_TRIALS))
        return Length(size=min(usual, size), share=TRIAL_SHARE)
    if search_seconds is None:
        raise ValueError("`search_seconds` must be given where `trials` is not.")
    seconds = max(search_seconds / POPULATIONS, 1e-3)
    if full_seconds is None:
        return Length(size=usual, seconds=seconds)
    stacked = stacked_seconds or full_seconds
    size = min(most, max(least, int(seconds / max(TRIAL_SHARE * stacked, 1e-9))))
    # with time to spare, more populations rather than trials beyond a full training
    return Length(
        size=size, seconds=min(seconds, size * stacked), full=full_seconds, stacked=stacked_seconds
    )


def first_round(
    seconds: float | None, full: float | None, stacked: float | None, members: int = MEMBERS
) -> tuple[int, int]:
    """Say how many finalists are retrained first, and how many flows that makes.

    Several, where each of them can be trained in full, one after the other, and the best of them
    as many times again; else one, from as many seeds side by side as can be trained in full.

    Args:
        seconds: Left for retraining, or None if steps count.
        full: Seconds of one full training, or None if unknown.
        stacked: The same, a member of a stack; None: as alone.
        members: Flows to keep at most.

    Returns:
        Finalists, and flows to train: as many, or more of the one.
    """
    if seconds is None:
        return FINALISTS + 1, FINALISTS + 1
    if not full:
        return 2, 2
    further = stacked or full
    for count in range(FINALISTS + 1, 1, -1):
        if count * full + full + (count - 1) * further <= seconds:
            return count, count
    return 1, max(1, min(members, 1 + int((seconds - full) / further)))


def may_start(left: float, expected: float | None) -> bool:
    """Say whether a population may begin.

    Args:
        left: Seconds left for the search.
        expected: Seconds that it is expected to take, or None if unknown.
    """
    return left > 0 and (expected is None or left >= START_SHARE * expected)
