"""What scoring and sampling 1,000 rows cost, measured as far as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nfopt.events import Closing
from nfopt.model import Flow
from nfopt.study.results import member_scores
from nfopt.study.rows import MappedRows

ROWS, FEW = 1000, 100
MANY = 1.5  # times what a flow's way back takes for a few rows, it takes for a hundred
DEAR = 2.0  # seconds of 1,000 rows from which on they are not drawn to be measured


def seconds_of(
    work: Callable[[int], object],
    rows: int,
    dear: float = DEAR,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Measure the seconds that some rows take.

    Most of what few rows take is the same for many, so ten times as many are much cheaper than ten
    times the time: they are measured themselves, or told from what FEW and twice as many take.

    Args:
        work: Does it, for a number of rows.
        rows: How many.
        dear: Seconds that may be spent on them, as expected.
        clock: Seconds.
    """

    def taken(count: int) -> float:
        began = clock()
        work(count)
        return clock() - began

    few = min(FEW, rows)
    first = taken(few)
    if few == rows:
        return first
    if first * rows / few <= dear:
        return taken(rows)
    second = taken(2 * few)
    return second + (rows / few - 2) * max(0.0, second - first)


def costs_of(flow: Flow, rows: MappedRows, closing: Closing) -> dict[str, float]:
    """Seconds to score and to sample 1,000 rows, measured if there is time for that."""
    expected = 3 * MANY * closing.inverse * len(flow)  # FEW rows, and twice as many
    if not closing.fits("what scoring and sampling cost", expected):
        return {}
    dear = min(DEAR, closing.left() / 4)
    part = rows.data.parts[1]
    here = min(len(part), ROWS)
    scored = seconds_of(lambda n: member_scores(flow, part.take(np.arange(n))), here, dear)
    found = {"score_1000": scored * ROWS / here}
    if not flow.context_columns:
        found["sample_1000"] = seconds_of(lambda n: flow.sample(n, seed=0), ROWS, dear)
        closing.sampling = found["sample_1000"]
    return found
