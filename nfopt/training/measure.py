"""Seconds of a training step, measured on the rows and the device at hand."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nfopt.flows import Stack, build
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.training.batches import TrainData
from nfopt.training.population import Population
from nfopt.training.schedule import Plan

WHOLE_STEP = 1.5  # of a measured one: optimiser, validation, and whatever else the machine does
CHECKED = 1.1  # of the steps' time, with the validation checks
WARM_UP, MEASURED = 3, 5  # steps
ENOUGH = 2.0  # seconds after which a measurement ends; a first step, which is slow, may be all
SLOW_STEP = 0.1  # seconds of one member's step from which on a stack saves nothing


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
        clock: Seconds; for tests, or `time.process_time` where other work must not count.

    Returns:
        Medians of a few steps, the second divided by P; the optimiser's share is not in them. 0 for
        a flow without weights.
    """
    (stack,) = _stack(spec, data, 1)
    if stack.theta.shape[1] == 0:
        return 0.0, 0.0
    first = _seconds(stack, train, data, 2, clock)[-1]
    if first > SLOW_STEP:
        return first, first
    alone = statistics.median(_seconds(stack, train, data, WARM_UP + MEASURED, clock)[WARM_UP:])
    if members == 1:
        return alone, alone
    (stack,) = _stack(spec, data, members)
    together = statistics.median(_seconds(stack, train, data, WARM_UP + MEASURED, clock)[WARM_UP:])
    return alone, together / members


def measure_training(
    spec: FlowSpec,
    train: TrainSpec,
    data: TrainData,
    members: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Estimate the seconds of a full training from a few of its steps, the optimiser's included.

    Args:
        spec: The flow.
        train: Its training.
        data: Rows, on the device to measure.
        members: P of the stack.
        clock: Seconds; for tests.

    Returns:
        Of a flow alone, and of each member of a stack; 0 for a flow without weights.
    """
    seconds = []
    for count in (1, members):
        (stack,) = _stack(spec, data, count)
        if stack.theta.shape[1] == 0:
            return 0.0, 0.0
        taken = _optimised(stack, train, data, WARM_UP + MEASURED, clock)
        seconds.append(statistics.median(taken[WARM_UP:] or taken[1:] or taken) / count)
        if seconds[0] > SLOW_STEP:
            break
    whole = CHECKED * train.steps
    return whole * seconds[0], whole * min(seconds)


def _optimised(
    stack: Stack, train: TrainSpec, data: TrainData, count: int, clock: Callable[[], float]
) -> list[float]:
    """Seconds of some steps of a population."""
    members = range(len(stack.specs))
    population = Population.start(
        stack, members, [train] * len(members), data.rows, (0, 0), Plan(max(1, train.steps))
    )
    taken = []
    for _ in range(count):
        began = clock()
        population.advance(0.5, data)
        population.wait()
        taken.append(clock() - began)
        if sum(taken) > ENOUGH:
            break
    return taken


def step(stack: Stack, x: Tensor, context: Tensor | None) -> None:
    """Run forward and backward once, and wait for it; the gradient is thrown away.

    Args:
        stack: P flows, with weights.
        x: Rows, shape (n, D).
        context: Shape (n, K), or None.
    """
    scores = stack.log_prob(x, context)
    scores.mean(dim=1).sum().neg().backward()  # type: ignore[no-untyped-call]
    stack.theta.grad = None
    if stack.theta.is_cuda:
        torch.cuda.synchronize(stack.theta.device)


def _stack(spec: FlowSpec, data: TrainData, members: int) -> Sequence[Stack]:
    return build([spec] * members, torch.Generator().manual_seed(0), device=data.x.device)


def _seconds(
    stack: Stack, train: TrainSpec, data: TrainData, count: int, clock: Callable[[], float]
) -> list[float]:
    rows = slice(0, train.batch_size)
    context = None if data.context is None else data.context[rows]
    taken = []
    for _ in range(count):
        began = clock()
        step(stack, data.x[rows], context)
        taken.append(clock() - began)
    return taken
