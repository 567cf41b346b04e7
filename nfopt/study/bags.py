"""Candidates that are bags: one flow a fold, trained side by side, told as one.

A bag's validation NLL is out of fold: the mean over all rows, each scored by the flow that has not
seen it. A stack of C bags of F flows has the flows of the first bag first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from nfopt import seeds
from nfopt.flows import Stack
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import OnRung, train_stack, validation_scores
from nfopt.training import MemberResult, Progress, Rung


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
        on_progress(replace(seen, members=tuple(living), nlls=nlls))

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
