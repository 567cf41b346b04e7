"""Trainings, many at a time, and the one way in which every design is finished.

Finished means: the learning rate is tuned on validation rows with the same effort for every
design, then the flow is trained cold from fresh seeds, and only those trainings are scored on test
rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rows import Rows

from nfopt.model import log_prob
from nfopt.seeds import derive
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study.stacks import train_stack

BLOCKS = 64
"""Parts of the test rows whose mean NLL is kept; the rows are resampled by parts."""

TUNE, FRESH, RACE, SHORT = range(4)
"""Streams of seeds, so that no training of one purpose has the seed of another."""

Make = Callable[[int], FlowSpec]
"""From a seed to a flow; only random designs look at the seed."""


@dataclass(frozen=True)
class Schedule:
    """One schedule per length: what all trainings of a comparison share.

    Attributes:
        steps: Of a full training.
        short: Of a training in a search.
        batch: Rows a step.
        rates: Learning rates that a design is tuned over; the searches use the middle one.
        tune_seeds: Trainings for each rate.
        seeds: Fresh seeds of a finished design.
        stack: Flows trained at once.
        weight_decay: Of AdamW.
    """

    steps: int
    short: int
    batch: int
    rates: tuple[float, ...]
    tune_seeds: int = 2
    seeds: int = 5
    stack: int = 32
    weight_decay: float = 0.0

    @property
    def middle(self) -> float:
        return self.rates[len(self.rates) // 2]


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        nll: Validation NLL of the best weights, in nats a row.
        curve: Steps and validation NLL of each check.
        test: Mean test NLL of each of `BLOCKS` parts of the test rows; empty unless asked.
        cpu: Processor seconds: its share of the stack's.
    """

    nll: float
    curve: tuple[tuple[int, float], ...]
    test: tuple[float, ...]
    cpu: float


def trained(
    specs: Sequence[FlowSpec],
    rates: Sequence[float],
    seeds: Sequence[int],
    rows: Rows,
    schedule: Schedule,
    *,
    steps: int,
    test: bool = False,
) -> list[Trained]:
    """Train flows in stacks of equal shape; one result each, in order.

    Flows of one stack share their batches and nothing else.
    """
    found: dict[int, Trained] = {}
    shapes: dict[str, list[int]] = {}
    for place, spec in enumerate(specs):
        shapes.setdefault(spec.shape_key(), []).append(place)
    for places in shapes.values():
        parts = math.ceil(len(places) / schedule.stack)
        for some in np.array_split(np.array(places), parts):
            began = time.process_time()
            members = [
                TrainSpec(
                    learning_rate=rates[k],
                    batch_size=min(schedule.batch, len(rows.data.x)),
                    steps=steps,
                    weight_decay=schedule.weight_decay,
                )
                for k in some
            ]
            stack, results = train_stack(
                [specs[k] for k in some],
                members,
                [derive(seeds[k]) for k in some],
                rows.data,
                batches=derive(seeds[some[0]], 1),
                steps=steps,
                seconds=None,
            )
            cpu = (time.process_time() - began) / len(some)
            parts_of = blocks(stack, rows) if test else np.zeros((len(some), 0))
            for member, (k, result) in enumerate(zip(some, results, strict=True)):
                nll = result.nll if math.isfinite(result.nll) else math.inf
                curve = tuple((step, round(value, 3)) for step, value in result.curve)
                kept = tuple(round(float(x), 4) for x in parts_of[member])
                found[int(k)] = Trained(nll, curve, kept, cpu)
    return [found[k] for k in range(len(specs))]


@torch.no_grad()
def blocks(stack: Any, rows: Rows) -> np.ndarray:
    """Mean test NLL of each part of the test rows, shape (members, BLOCKS)."""
    scores = log_prob(stack, rows.test).double() + rows.logdet
    parts = np.array_split(-scores.numpy(), min(BLOCKS, len(rows.test)), axis=1)
    return np.stack([part.mean(axis=1) for part in parts], axis=1)


def finished(
    makes: Mapping[str, Make], rows: Rows, schedule: Schedule, seed: int
) -> list[dict[str, Any]]:
    """Tune the learning rate of each design, train each from fresh seeds, score on test rows.

    Args:
        makes: Designs by name; of one shape, so that they are trained as one stack.
        rows: The table.
        schedule: How they are trained.
        seed: Of everything random.
    """
    jobs = [
        (name, rate, derive(seed, TUNE, k))
        for name in makes
        for rate in schedule.rates
        for k in range(schedule.tune_seeds)
    ]
    tried = trained(
        [makes[name](s) for name, _, s in jobs],
        [rate for _, rate, _ in jobs],
        [s for _, _, s in jobs],
        rows,
        schedule,
        steps=schedule.steps,
    )
    tuning: dict[str, dict[float, float]] = {name: {} for name in makes}
    for (name, rate, _), result in zip(jobs, tried, strict=True):
        before = tuning[name].get(rate, 0.0)
        tuning[name][rate] = before + result.nll / schedule.tune_seeds
    chosen = {name: min(tuning[name], key=tuning[name].__getitem__) for name in makes}
    fresh = [(name, derive(seed, FRESH, k)) for name in makes for k in range(schedule.seeds)]
    specs = [makes[name](s) for name, s in fresh]
    ends = trained(
        specs,
        [chosen[name] for name, _ in fresh],
        [s for _, s in fresh],
        rows,
        schedule,
        steps=schedule.steps,
        test=True,
    )
    entries = []
    for name in makes:
        mine = [k for k, (other, _) in enumerate(fresh) if other == name]
        entries.append(
            {
                "design": name,
                "rate": chosen[name],
                "tuning": {str(rate): round(nll, 4) for rate, nll in tuning[name].items()},
                "parameters": float(np.mean([specs[k].parameter_count() for k in mine])),
                "finals": [asdict(ends[k]) for k in mine],
            }
        )
    return entries
