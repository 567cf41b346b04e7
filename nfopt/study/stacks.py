"""Train flows of one shape as one stack, each from a seed of its own; how long scoring takes.

A candidate may be a bag: one flow a fold, trained side by side, told as one. Its validation NLL is
out of fold: the mean over all rows, each scored by the flow that has not seen it. A stack of C bags
of F flows has the flows of the first bag first.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from nfopt import seeds
from nfopt.flows import Stack, build
from nfopt.spec import FlowSpec, Layer, TrainSpec
from nfopt.study.length import RUNGS
from nfopt.study.rows import MappedRows
from nfopt.training import (
    MemberResult,
    Progress,
    Rung,
    TrainData,
    log_prob,
    round_trip_error,
    train,
)
from nfopt.training.evaluate import FIRST

FREE_ROWS = 20_000  # to score, whose time is not worth a measurement
SAMPLE_ROWS = 2048
FREE_PASSES = 500  # of an inverse, whose time is not worth a measurement
FEW_ROWS = 16  # whose inverse is measured: as many as a round trip has where columns are many
FEW_STEPS = 5  # of a training at least, also where its time is over before: nothing is untrained
SLOWER = 1.2  # an estimate of seconds is that much too short, on a machine with other work

OnRung = Callable[[Rung], Iterable[int]]


def train_stack(
    specs: Sequence[FlowSpec],
    trains: Sequence[TrainSpec],
    weights: Sequence[int],
    data: TrainData,
    *,
    batches: int,
    steps: int | None,
    seconds: float | None,
    on_rung: OnRung | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    left: float | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 30.0,
    on_checkpoint: Callable[[Exception | None], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Stack, list[MemberResult]]:
    """Build a stack and fit it.

    Args:
        specs: Flows of one shape.
        trains: One a flow; batch sizes agree.
        weights: Seeds of the weights, one a flow.
        data: Rows, on the device to train on, as the flows see them.
        batches: Seed of batches and dropout.
        steps: Optimiser steps, or None if seconds count.
        seconds: By `clock`, or None; with `steps` too, whichever ends first, but not before a few
            steps.
        on_rung: As in `nfopt.training.train`; None trains without rungs.
        on_progress: As there.
        should_stop: As there.
        left: As in `nfopt.training.train`.
        checkpoint: As there; and the two that follow.
        checkpoint_seconds: As there.
        on_checkpoint: As there.
        clock: Seconds; `time.process_time` where other work must not count.

    Returns:
        The stack with each member's best weights, and how each ended. A lack of memory that even
        one member alone meets is a failure of all, not an exception.
    """
    device = data.x.device
    (stack,) = build(specs, [seeds.generator(seed) for seed in weights], device=device)
    # members agree in steps; what each asks for as its full length stays in its TrainSpec
    members = [msgspec.structs.replace(spec, steps=steps or spec.steps) for spec in trains]
    if seconds is not None and not seconds > 0:
        seconds = 1e-3
    try:
        results = train(
            stack,
            members,
            data,
            generator=seeds.generator(batches),
            steps=steps,
            seconds=seconds,
            left=left,
            least=FEW_STEPS,
            rungs=RUNGS if on_rung is not None else (1.0,),
            on_rung=on_rung,
            on_progress=on_progress,
            should_stop=should_stop,
            checkpoint=checkpoint,
            checkpoint_seconds=checkpoint_seconds,
            on_checkpoint=on_checkpoint,
            clock=clock,
        )
    except torch.OutOfMemoryError:
        return stack, [failed(member, "out of memory") for member in range(len(stack))]
    unknown = ("complete", "pruned")
    if any(r.status in unknown and math.isnan(r.round_trip) for r in results):
        results = with_round_trips(stack, results, data)
    return stack, results


def with_round_trips(
    stack: Stack, results: Sequence[MemberResult], data: TrainData, bag: int = 1
) -> list[MemberResult]:
    """Measure the round trip of what was interrupted, the worst of each candidate's flows."""
    errors = round_trip_error(stack, *data.validation(FIRST)[:2]).tolist()
    return [
        dataclasses.replace(r, round_trip=max(errors[r.member : r.member + bag])) for r in results
    ]


def validation_scores(stack: Stack, data: TrainData) -> Tensor:
    """Log-density of the validation rows under each member, (P, M), on the data's own scale."""
    x, context, _, logdet = data.validation()
    scores = log_prob(stack, x, context).double()
    return (scores if logdet is None else scores + logdet).cpu()


def failed(member: int, reason: str) -> MemberResult:
    """Say how a flow ended that could not be trained."""
    return MemberResult(
        member=member,
        status="failed",
        reason=reason,
        nll=math.inf,
        nll_2se=math.nan,
        steps=0,
        best_step=0,
        seconds=0.0,
        curve=(),
        round_trip=math.inf,
    )


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
    x, context, *_ = data.validation(slice(0, SAMPLE_ROWS))
    slowest = 0.0
    for spec in {spec.shape_key(): spec for spec in specs}.values():
        (stack,) = build([spec], seeds.generator(0), device=x.device)
        for _ in range(2):  # the first one warms up
            began = clock()
            log_prob(stack, x, context).cpu()
            taken = clock() - began
        slowest = max(slowest, taken)
    return SLOWER * slowest * rows / len(x)


def inverse_seconds(
    specs: Sequence[FlowSpec],
    device: torch.device | str,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Estimate how long a few rows take from the base to the data, for the slowest of some flows.

    Measured on one layer of each kind, since a whole flow of many columns takes seconds.

    Args:
        specs: Flows.
        device: Where it will be done.
        clock: Seconds; for tests.

    Returns:
        Seconds; 0 where the passes are few.
    """
    slowest = 0.0
    for spec in {spec.shape_key(): spec for spec in specs}.values():
        features, seen = spec.features, spec.context_features
        if sum(layer.passes(features) for layer in spec.layers) <= FREE_PASSES:
            continue
        kinds: dict[str, list[Layer]] = {}
        for layer in spec.layers:
            kinds.setdefault(layer.kind, []).append(layer)
        taken = 0.0
        for layers in kinds.values():
            alone = FlowSpec(features=features, layers=(layers[0],), context_features=seen)
            (stack,) = build([alone], seeds.generator(0), device=device)
            context = torch.zeros(FEW_ROWS, seen, device=device) if seen else None
            began = clock()
            with torch.no_grad():
                stack.inverse(torch.zeros(FEW_ROWS, features, device=device), context).cpu()
            taken += len(layers) * (clock() - began)
        slowest = max(slowest, taken)
    return SLOWER * slowest


def train_bags(
    specs: Sequence[FlowSpec],
    trains: Sequence[TrainSpec],
    weights: Sequence[int],
    marginals: Sequence[str],
    rows: MappedRows,
    *,
    on_rung: OnRung | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    **more: Any,
) -> tuple[Stack, list[MemberResult]]:
    """Train C candidates as one stack; arguments as `train_stack`, one a candidate.

    Args:
        specs: Flows of one shape.
        trains: One a candidate.
        weights: Seeds of the weights, one a candidate; its flows have seeds that follow from it.
        marginals: Maps, one a candidate.
        rows: Say how many flows a candidate is, and what each of them sees.
        on_rung: Told of candidates.
        on_progress: Told of candidates.
        more: Passed on.

    Returns:
        The stack, of C times F flows, and how each candidate ended.
    """
    size, data = rows.bag, rows.of_members(marginals)
    if size == 1:
        more |= {"on_rung": on_rung, "on_progress": on_progress}
        return train_stack(specs, trains, weights, data, **more)
    bests: dict[int, float] = {}

    def rung(reached: Rung) -> Iterable[int]:
        assert on_rung is not None
        bests.update(zip(reached.members, reached.bests, strict=True))
        living = sorted({member // size for member in reached.members})
        values = tuple(_mean([bests.get(c * size + f) for f in range(size)]) for c in living)
        gone = on_rung(Rung(reached.fraction, reached.step, tuple(living), values, values))
        return [c * size + fold for c in gone for fold in range(size)]

    def progress(seen: Progress) -> None:
        assert on_progress is not None
        living = sorted({member // size for member in seen.members})
        known: dict[int, list[float]] = {}
        for member, nll in zip(seen.members, seen.nlls, strict=True):
            if nll is not None:
                known.setdefault(member // size, []).append(nll)
        nlls = tuple(_mean(known[c]) if c in known else None for c in living)
        on_progress(dataclasses.replace(seen, members=tuple(living), nlls=nlls))

    stack, results = train_stack(
        [spec for spec in specs for _ in range(size)],
        [train for train in trains for _ in range(size)],
        [seeds.derive(seed, seeds.FOLDS, fold) for seed in weights for fold in range(size)],
        data,
        on_rung=None if on_rung is None else rung,
        on_progress=None if on_progress is None else progress,
        **more,
    )
    bags = [results[c * size : (c + 1) * size] for c in range(len(specs))]
    return stack, [_bag(number, bag) for number, bag in enumerate(bags)]


def bag_scores(stack: Stack, marginals: Sequence[str], rows: MappedRows) -> Tensor:
    """Log-density of the validation rows under each candidate, out of fold, shape (C, M)."""
    scores = validation_scores(stack, rows.of_members(marginals))
    return scores.reshape(len(marginals), -1)


def _mean(values: Sequence[float | None]) -> float:
    """Mean of what is known; inf if a flow has none that is finite."""
    known = [math.inf if value is None else value for value in values]
    return sum(known) / len(known)


def _bag(number: int, results: Sequence[MemberResult]) -> MemberResult:
    """Tell of a bag as of one flow, its first one: what one of them fails in, it fails in."""
    worst = next(
        (
            r
            for status in ("failed", "interrupted", "pruned")
            for r in results
            if r.status == status
        ),
        results[0],
    )
    errors = [result.nll_2se for result in results]
    return MemberResult(
        member=number * len(results),
        status=worst.status,
        reason=worst.reason,
        nll=_mean([result.nll for result in results]),
        nll_2se=math.sqrt(sum(error * error for error in errors)) / len(errors),
        steps=max(result.steps for result in results),
        best_step=max(result.best_step for result in results),
        seconds=sum(result.seconds for result in results),
        curve=results[0].curve,
        round_trip=max(result.round_trip for result in results),
    )
