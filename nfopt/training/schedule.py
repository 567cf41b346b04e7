"""How the learning rate moves, and how far a run has come.

A schedule is a pure function of the progress of a run, from 0 (start) to 1 (end), and returns the
factor on the learning rate. A plan says what the progress is: by steps, by wall-clock seconds, or
by whichever ends first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ONE_CYCLE_RISE = 0.3  # share of the run in which the rate rises (Smith and Topin 2017)
ONE_CYCLE_START = 0.04  # first factor
ONE_CYCLE_END = 1e-4  # last factor
WARM_UP = 0.04  # share of the run in which a trapezoid rises
COOL_DOWN = 0.3  # share of the run in which it falls
CHECKS = 32  # validation checks of a run, when they are cheap
FEWEST_CHECKS = 20  # below this the checks use fewer rows instead
FEWEST_ROWS = 2000  # but not fewer than this, or the choice of the best weights is noise
CHECK_SHARE = 0.1  # of the training time, at most, goes into validation checks
FORWARD_SHARE = 1 / 3  # what a row costs without its backward pass, against a row of training


def cosine(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter 2016)."""
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def one_cycle(progress: float) -> float:
    """Rise from 0.04 to 1 in the first 30%, then fall to 1e-4 (Smith and Topin 2017)."""
    if progress < ONE_CYCLE_RISE:
        return 1.0 + (ONE_CYCLE_START - 1.0) * cosine(progress / ONE_CYCLE_RISE)
    fallen = cosine((progress - ONE_CYCLE_RISE) / (1.0 - ONE_CYCLE_RISE))
    return ONE_CYCLE_END + (1.0 - ONE_CYCLE_END) * fallen


def constant(progress: float) -> float:
    """Stay at 1."""
    return 1.0


def trapezoid(progress: float) -> float:
    """Rise in the first 4%, stay at 1, fall linearly to 0 in the last 30% (Zhai et al. 2022).

    As long as the rate stays, how long the run will be makes no difference: runs can be compared,
    stopped, and gone on with.
    """
    return max(0.0, min(1.0, progress / WARM_UP, (1.0 - progress) / COOL_DOWN))


SCHEDULES: Mapping[str, Callable[[float], float]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
    "constant": constant,
    "trapezoid": trapezoid,
}


@dataclass
class Plan:
    """When a run ends: after `steps`, at the time `end`, or at whichever comes first.

    Attributes:
        steps: Steps of the whole run, or None.
        start: Seconds of the run at which the time of this plan begins to count.
        end: Seconds of the run at which it must be over, or None.
        base: Progress at `start`.
        least: Steps that are taken though the time may be over.
    """

    steps: int | None
    start: float = 0.0
    end: float | None = None
    base: float = 0.0
    least: int = 0

    def progress(
        self, step: int, elapsed: float, step_seconds: float = 0.0, reserve: float = 0.0
    ) -> float:
        """Say how far the run is, from 0 to 1; at 1 it is over.

        Time counts as it is measured, so slow steps, validation checks and a busy machine re-plan
        the rest of the schedule, which still ends on time.

        Args:
            step: Steps done.
            elapsed: Seconds of the run so far.
            step_seconds: Measured seconds a step; a step that would end more than half over is not
                begun.
            reserve: Seconds that the end needs (the last check).
        """
        by_step, by_time = 0.0, 0.0
        if self.steps is not None:
            by_step = step / self.steps if self.steps else 1.0
        if self.end is not None:
            whole = self.end - reserve - self.start
            gone = elapsed - self.start
            over = gone + step_seconds / 2 >= whole
            by_time = 1.0 if over else self.base + (1.0 - self.base) * gone / whole
            if step < self.least:
                by_time = min(by_time, step / self.least)
        return min(1.0, max(by_step, by_time, 0.0))

    def halve(self, step: int, elapsed: float, shares: tuple[int, int]) -> tuple[Plan, Plan]:
        """Plan two parts that go on one after the other, their time in proportion to `shares`."""
        if self.end is None:
            return Plan(self.steps, least=self.least), Plan(self.steps, least=self.least)
        base = self.progress(step, elapsed)
        middle = elapsed + (self.end - elapsed) * shares[0] / sum(shares)
        return (
            Plan(self.steps, elapsed, middle, base, self.least),
            Plan(self.steps, middle, self.end, base, self.least),
        )


def plan_checks(steps: int, batch_size: int, rows: int) -> tuple[int, int]:
    """Plan the validation checks of a run so that they take at most about 10% of its time.

    Args:
        steps: Steps of the run.
        batch_size: Rows a step.
        rows: Rows of the validation data.

    Returns:
        Steps between two checks, and the number of rows that a check uses (all, unless that is too
        dear).
    """
    affordable = CHECK_SHARE * steps * batch_size / FORWARD_SHARE
    used = rows
    if affordable < FEWEST_CHECKS * rows:
        used = min(rows, max(FEWEST_ROWS, int(affordable / FEWEST_CHECKS)))
    checks = min(CHECKS, max(4, int(affordable / used)))
    return max(1, math.ceil(steps / checks)), used
