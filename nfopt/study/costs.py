"""What a flow costs: counted multiply-adds (see `nfopt.flows.cost`), and the time of scoring."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nfopt import seeds
from nfopt.flows import build
from nfopt.flows.cost import inverse_cost, train_cost
from nfopt.spec import FlowSpec
from nfopt.training import TrainData, log_prob

__all__ = ["inverse_cost", "scoring_seconds", "train_cost"]

FREE_ROWS = 20_000  # to score, whose time is not worth a measurement
SAMPLE_ROWS = 2048
SLOWER = 1.2  # an estimate of seconds is that much too short, on a machine with other work


def scoring_seconds(
    specs: Sequence[FlowSpec],
    data: TrainData,
    rows: int,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Estimate how long the log_prob of many rows takes, for the slowest of some flows.

    Args:
        specs: Flows.
        data: Rows to measure on, on the device that will score.
        rows: Rows to score.
        clock: Seconds; for tests.

    Returns:
        Seconds; 0 where the rows are few.
    """
    if rows <= FREE_ROWS:
        return 0.0
    x = data.val[:SAMPLE_ROWS]
    context = None if data.val_context is None else data.val_context[:SAMPLE_ROWS]
    slowest = 0.0
    for spec in {spec.shape_key(): spec for spec in specs}.values():
        (stack,) = build([spec], seeds.generator(0), device=x.device)
        for _ in range(2):  # the first one warms up
            began = clock()
            log_prob(stack, x, context).cpu()
            taken = clock() - began
        slowest = max(slowest, taken)
    return SLOWER * slowest * rows / len(x)
