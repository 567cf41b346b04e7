"""The number of flows that a race can afford, by seconds or by counted costs.

    affordable(specs, train, data, rungs, keep, seconds, clock)     # from a measured step
    within(costs, rung, later, work)                                # from counted costs

Fewer expensive flows race than cheap ones, so that all races cost about the same.

    >>> within([1.0, 1.0, 4.0], rung=0.5, later=[], work=2.0)  # 0.5 + 0.5, but not + 2
    2
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from nfopt.flows import build
from nfopt.flows.cost import train_cost
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.training import TrainData, mean_nll
from nfopt.training.measure import WHOLE_STEP, measure_step


def within(costs: Sequence[float], rung: float, later: Sequence[float], work: float) -> int:
    """The number of flows that can be trained at a rung, with one of them at all later rungs.

    Args:
        costs: Of a full training of each flow, the most promising first, in the unit of `work`.
        rung: Share of the full steps; each rung trains from the start.
        later: Shares of the rungs that follow.
        work: The cost that may be spent.

    Returns:
        How many of the first flows fit; 0 if not even one does.
    """
    fitting, spent, greatest = 0, 0.0, 0.0
    for number, cost in enumerate(costs, start=1):
        spent, greatest = spent + rung * cost, max(greatest, cost)
        if spent + sum(later) * greatest > work + 1e-9:
            break
        fitting = number
    return fitting


def affordable(
    specs: Sequence[FlowSpec],
    trains: TrainSpec,
    data: TrainData,
    rungs: Sequence[float],
    keep: Sequence[int],
    seconds: float,
    clock: Callable[[], float],
) -> list[int]:
    """The number of flows to train at each rung, from a measured step of the most expensive one.

    Where time is short, both the number of flows and the length of a training are reduced, each by
    the square root of the shortage. A single flow is trained once, at the last rung.
    """
    wanted = [min(count, len(specs)) for count in keep]
    step, check = _measured(max(specs, key=train_cost), trains, data, clock)
    training = [rung * trains.steps * step + check for rung in rungs]  # seconds of one
    needed = sum(count * cost for count, cost in zip(wanted, training, strict=True))
    if needed <= seconds:
        return wanted
    share = math.sqrt(max(seconds, 0.0) / needed)
    # the time of a training beside its steps can't be reduced
    fitting = max(seconds, 0.0) / (2 * check * len(wanted)) if check > 0 else math.inf
    counts = [max(1, int(min(share * count, fitting))) for count in wanted]
    return [0] * (len(counts) - 1) + [1] if counts[0] == 1 else counts


def _measured(
    spec: FlowSpec, trains: TrainSpec, data: TrainData, clock: Callable[[], float]
) -> tuple[float, float]:
    """Seconds of a training step, and of a training beside its steps: two validations."""
    alone, _ = measure_step(spec, trains, data, 1, clock)
    (stack,) = build([spec], torch.Generator().manual_seed(0), device=data.x.device)
    began = clock()
    float(mean_nll(stack, data.val, data.val_context)[0])
    return WHOLE_STEP * alone, 2 * (clock() - began) if alone else 0.0
