"""Searches that are compared: evolution, random draws, a choice among few; then a race.

All spend trainings of `short` steps, then race the best at full length. Which is best is said by
shrunken means: a lucky single training is not believed as much as a mean over several.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from nfopt.evolution import posterior
from nfopt.evolution.engine import Evolution
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.records import Record

T = TypeVar("T", bound=Hashable)
Evaluate = Callable[[Sequence[T], Sequence[int]], list[float]]
"""From candidates and a number for each, which seeds its training, to validation NLL."""

PATIENCE = 50
"""Proposals in a row that may be refused before one is taken that is not allowed."""


def ranked(told: Sequence[tuple[T, float]]) -> list[T]:
    """The candidates, the lowest shrunken mean first.

    Args:
        told: Candidates and what a training of each gave; some come several times.
    """
    places: dict[T, int] = {}
    item = np.array([places.setdefault(one, len(places)) for one, _ in told], dtype=np.intp)
    values = np.array([value for _, value in told])
    finite = values[np.isfinite(values)]
    worst = float(2 * finite.max() - finite.min()) if len(finite) else 0.0
    values = posterior.cut(np.where(np.isfinite(values), values, worst))
    means, counts, squares, freedom = posterior.pooled(values, item, len(places))
    spread = float(values.var())
    noise = posterior.noise_variance(squares, freedom, spread)
    prior = np.full(len(places), values.mean())
    shrunk, _ = posterior.shrink(means, counts, prior, noise, max(spread - noise, 0.02 * spread))
    every = list(places)
    return [every[k] for k in np.argsort(shrunk, kind="stable")]


def evolve(
    layout: Layout,
    first: Sequence[Genome],
    evaluate: Evaluate[Genome],
    *,
    evaluations: int,
    batch: int,
    rng: np.random.Generator,
    dependence: np.ndarray | None = None,
    allowed: Callable[[Genome], bool] = lambda genome: True,
    held: Iterator[Mapping[int, Value]] | None = None,
) -> list[tuple[Genome, float]]:
    """Let the evolution spend a number of trainings, some at a time.

    Args:
        layout: What genomes look like.
        first: What it begins with.
        evaluate: Trains.
        evaluations: Trainings in all.
        batch: Trainings at a time.
        rng: The source of randomness.
        dependence: Of every two features, for operators on adjacencies.
        allowed: Which children may be trained.
        held: For each batch, what all of it must have, by index of the variable.
    """
    evolution = Evolution(layout, first=first, dependence=dependence)
    told: list[tuple[Genome, float]] = []
    begun = {layout.repaired(genome).key for genome in first}
    while len(told) < evaluations:
        fixed = {} if held is None else next(held)
        asked = []
        for number in range(len(told), min(len(told) + batch, evaluations)):
            for _ in range(PATIENCE):
                proposal = evolution.ask(rng, held=fixed)
                if proposal.genome.key in begun or allowed(proposal.genome):
                    break
            record = Record(number, proposal.genome, "running", operator=proposal.operator)
            evolution.tell(record)
            asked.append(proposal)
        numbers = list(range(len(told), len(told) + len(asked)))
        values = evaluate([proposal.genome for proposal in asked], numbers)
        for number, proposal, value in zip(numbers, asked, values, strict=True):
            good = math.isfinite(value)
            record = Record(
                number,
                proposal.genome,
                "complete" if good else "failed",
                (value,) if good else None,
                operator=proposal.operator,
                parents=proposal.parents,
            )
            evolution.tell(record)
            told.append((proposal.genome, value))
    return told


def drawn(
    draw: Callable[[], T], evaluate: Evaluate[T], *, evaluations: int, batch: int
) -> list[tuple[T, float]]:
    """Random draws for three quarters of the trainings; the rest goes to the best, once more.

    The best eighth of the draws gets a second training, then the best sixteenth two more.
    """
    told: list[tuple[T, float]] = []

    def train(candidates: Sequence[T]) -> None:
        for start in range(0, len(candidates), batch):
            some = candidates[start : start + batch]
            numbers = list(range(len(told), len(told) + len(some)))
            told.extend(zip(some, evaluate(some, numbers), strict=True))

    train([draw() for _ in range(evaluations - 2 * (evaluations // 8))])
    train(ranked(told)[: evaluations // 8])
    train([one for one in ranked(told)[: evaluations // 16] for _ in range(2)])
    return told


def chosen(
    candidates: Sequence[T], evaluate: Evaluate[T], *, evaluations: int, batch: int
) -> list[tuple[T, float]]:
    """As many trainings of each of a few candidates as there are for all of them."""
    times = max(1, evaluations // len(candidates))
    every = [one for _ in range(times) for one in candidates]
    told: list[tuple[T, float]] = []
    for start in range(0, len(every), batch):
        some = every[start : start + batch]
        numbers = list(range(start, start + len(some)))
        told.extend(zip(some, evaluate(some, numbers), strict=True))
    return told


def raced(
    candidates: Sequence[T], evaluate: Evaluate[T], times: int
) -> tuple[T, list[tuple[int, float]]]:
    """Train some at full length, halve them by their means until one is left, and name it.

    Args:
        candidates: The best first; at least one.
        evaluate: Trains at full length.
        times: Trainings of each in the first round; later rounds spend half as many in all, so
            that the last ones are known best.

    Returns:
        The winner, and the place and the NLL of each training.
    """
    told: list[tuple[int, float]] = []
    left, spend = list(range(len(candidates))), times * len(candidates)
    while True:
        places = [k for k in left for _ in range(max(1, spend // len(left)))]
        numbers = list(range(len(told), len(told) + len(places)))
        values = evaluate([candidates[k] for k in places], numbers)
        told.extend(zip(places, values, strict=True))
        means = {k: float(np.mean([v for p, v in told if p == k])) for k in left}
        left = sorted(left, key=means.__getitem__)[: (len(left) + 1) // 2]
        if len(left) == 1:
            return candidates[left[0]], [(place, round(value, 4)) for place, value in told]
        spend = times * len(candidates) // 2


def race_trainings(candidates: int, times: int) -> int:
    """How many trainings a race takes."""
    numbers: list[int] = []
    raced(range(candidates), lambda some, seeds: numbers.extend(some) or [0.0] * len(some), times)
    return len(numbers)
