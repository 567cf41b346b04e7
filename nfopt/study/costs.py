"""What a flow costs: counted multiply-adds (see `nfopt.flows.work`), and measured step times."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from nfopt.flows import build
from nfopt.flows.work import inverse_cost, train_cost
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study import seeds
from nfopt.training import TrainData, log_prob

__all__ = ["inverse_cost", "measure_step", "scoring_seconds", "train_cost"]

WARM_UP, MEASURED = 3, 5  # steps
SLOW_STEP = 0.1  # seconds of one member's step from which on a stack saves nothing
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


def measure_step(
    spec: FlowSpec,
    train: TrainSpec,
    data: TrainData,
    members: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Measure the seconds of one training step: of a flow alone, and a member of a stack.

    A step that is slow for one member is not measured for many: there they cost the same each.

    Args:
        spec: The flow.
        train: For its batch size.
        data: Rows, on the device to measure.
        members: P of the stack.
        clock: Seconds; for tests.

    Returns:
        Medians of a few steps, the second divided by P; the optimiser's share is not in them.
    """
    first = _steps(spec, train, data, 1, 2, clock)[-1]
    if first > SLOW_STEP:
        return first, first
    alone, together = (
        statistics.median(_steps(spec, train, data, count, WARM_UP + MEASURED, clock)[WARM_UP:])
        for count in (1, members)
    )
    return alone, together / members


def _steps(
    spec: FlowSpec,
    train: TrainSpec,
    data: TrainData,
    members: int,
    count: int,
    clock: Callable[[], float],
) -> list[float]:
    generator = seeds.generator(seeds.derive(0, seeds.MEASURE))
    (stack,) = build([spec] * members, generator, device=data.x.device)
    rows = slice(0, train.batch_size)
    context = None if data.context is None else data.context[rows]
    taken = []
    for _ in range(count):
        began = clock()
        scores = stack.log_prob(data.x[rows], context)
        scores.mean(dim=1).sum().neg().backward()  # type: ignore[no-untyped-call]
        stack.theta.grad = None
        if stack.theta.is_cuda:
            torch.cuda.synchronize(stack.theta.device)
        taken.append(clock() - began)
    return taken
