"""How many flows a race can afford: by the seconds that there are, or by what the flows cost.

    affordable(specs, train, data, rungs, keep, seconds, clock)     # from a measured step
    within(costs, rung, later, work)                                # from counted costs

Dear flows race in smaller numbers than cheap ones, so that every race costs about the same.
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
    """Say how many of some flows can be trained at a rung, and one of them at all later ones.

    Args:
        costs: Of a training in full, the most promising flow first, in the unit of `work`.
        rung: Share of the full steps; each rung trains from the start.
        later: Shares of the rungs that follow.
        work: That there is.

    Returns:
        The length of the longest beginning that fits; 0 where not even the first one does.
    """
    fitting, spent, dearest = 0, 0.0, 0.0
    for number, cost in enumerate(costs, start=1):
        spent, dearest = spent + rung * cost, max(dearest, cost)
        if spent + sum(later) * dearest > work + 1e-9:
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
    """Say how many flows to train at each rung, from a measured step of the dearest one.

    Where not all can be trained as long as they should, both give way: the number of flows and the
    length of a training each by the square root of what is lacking. A flow that races alone is
    trained once, at the last rung.
    """
    wanted = [min(count, len(specs)) for count in keep]
    step, check = _measured(max(specs, key=train_cost), trains, data, clock)
    each = [rung * trains.steps * step + check for rung in rungs]
    needed = sum(count * cost for count, cost in zip(wanted, each, strict=True))
    if needed <= seconds:
        return wanted
    share = math.sqrt(max(seconds, 0.0) / needed)
    # what a training takes beside its steps can't be shortened
    fitting = max(seconds, 0.0) / (2 * check * len(wanted)) if check > 0 else math.inf
    found = [max(1, int(min(share * count, fitting))) for count in wanted]
    return [0] * (len(found) - 1) + [1] if found[0] == 1 else found


def _measured(
    spec: FlowSpec, trains: TrainSpec, data: TrainData, clock: Callable[[], float]
) -> tuple[float, float]:
    """Measure a training step, and what a training takes beside: validation, twice."""
    alone, _ = measure_step(spec, trains, data, 1, clock)
    (stack,) = build([spec], torch.Generator().manual_seed(0), device=data.x.device)
    began = clock()
    float(mean_nll(stack, data.val, data.val_context)[0])
    return WHOLE_STEP * alone, 2 * (clock() - began) if alone else 0.0
