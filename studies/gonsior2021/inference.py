"""Statistics: hierarchical bootstrap, Holm's correction, verdicts.

The unit of replication is the search seed; within it there are training seeds, and all are scored
on the same test rows, which are resampled too, in blocks. A verdict weighs a difference against a
margin that was fixed before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sample = Sequence[Floats]
"""One array a search seed: a row a training seed, a column a block of test rows."""

DRAWS = 10_000
LEVEL = 0.05
WORST = 1e4
"""What a training that diverged counts as, in nats."""

HOLDS, REFUTED, UNDECIDED = "holds", "does not hold", "undecided"


def margin(features: int) -> float:
    """Nats that count as no difference: 0.02 times the root of the number of features."""
    return float(0.02 * features**0.5)


def resampled(sample: Sample, draws: int, rng: np.random.Generator) -> Floats:
    """Weights of all training seeds of a sample in each draw, shape (draws, trainings).

    Search seeds are drawn with replacement, then training seeds within each that was drawn.
    """
    searches = len(sample)
    times = rng.multinomial(searches, np.full(searches, 1 / searches), size=draws)
    weights = []
    for number, seeds in enumerate(sample):
        many = len(seeds)
        picked = rng.multinomial(times[:, number] * many, np.full(many, 1 / many))
        weights.append(picked / (searches * many))
    return np.concatenate(weights, axis=1)


def bootstrap(
    first: Sample, second: Sample, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, Floats]:
    """The difference of two means, first less second, and its draws.

    Args:
        first: Arrays of shape (training seeds, blocks); the blocks are those of `second`.
        second: Likewise.
        draws: How many.
        seed: Of the draws.

    Returns:
        The difference, and draws of it, shape (draws,).
    """
    rng = np.random.default_rng([20, seed])
    tables = [np.concatenate([_clean(part) for part in sample]) for sample in (first, second)]
    blocks = tables[0].shape[1]
    if tables[1].shape[1] != blocks:
        raise ValueError(
            f"`first` and `second` must have equal blocks: {blocks} and {tables[1].shape[1]}."
        )
    shares = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws) / blocks
    each = [
        ((resampled(sample, draws, rng) @ table) * shares).sum(axis=1)
        for sample, table in zip((first, second), tables, strict=True)
    ]
    means = [np.mean([_clean(part).mean() for part in sample]) for sample in (first, second)]
    return float(means[0] - means[1]), each[0] - each[1]


def _clean(values: Floats) -> Floats:
    return np.nan_to_num(np.minimum(values, WORST), nan=WORST, posinf=WORST)


@dataclass(frozen=True)
class Comparison:
    """A difference of NLL and what the draws say of it.

    Attributes:
        difference: First less second: below 0 the first is better.
        low: 2.5% point of the draws.
        high: 97.5% point.
        margin: What counts as no difference.
        better: p of "not better than by the margin".
        not_better: p of "better than by the margin".
        worse: p of "not worse than by the margin".
        above: p of "not better at all".
        searches: Search seeds of the first.
    """

    difference: float
    low: float
    high: float
    margin: float
    better: float
    not_better: float
    worse: float
    above: float
    searches: int


def compare(first: Sample, second: Sample, margin: float, **options: int) -> Comparison:
    """Compare two samples, first against second."""
    difference, draws = bootstrap(first, second, **options)
    return compared(difference, draws, margin, len(first))


def compared(difference: float, draws: Floats, margin: float, searches: int) -> Comparison:
    """Sum up the draws of a difference."""

    def p(against: NDArray[np.bool_]) -> float:
        return float((against.sum() + 1) / (len(against) + 1))

    low, high = np.quantile(draws, (0.025, 0.975))
    return Comparison(
        difference=difference,
        low=float(low),
        high=float(high),
        margin=margin,
        better=p(draws >= -margin),
        not_better=p(draws <= -margin),
        worse=p(draws <= margin),
        above=p(draws >= 0),
        searches=searches,
    )


@dataclass(frozen=True)
class Pooled:
    """The mean difference over data sets, each counted in units of its own margin.

    Attributes:
        difference: First less second, in margins: below 0 the first is better.
        two_se: Two standard errors, from the draws.
        low: 2.5% point of the draws.
        high: 97.5% point.
        above: p of "not better at all".
        better: Data sets on which the first is better in the mean.
        sets: Data sets.
    """

    difference: float
    two_se: float
    low: float
    high: float
    above: float
    better: int
    sets: int


def pooled(pairs: Sequence[tuple[Sample, Sample, float]], *, draws: int = DRAWS) -> Pooled:
    """Pool the comparisons of several data sets, whose rows and trainings are independent.

    Args:
        pairs: First and second sample of each data set, and its margin.
        draws: How many of each.
    """
    parts = [
        (bootstrap(first, second, draws=draws, seed=number), margin)
        for number, (first, second, margin) in enumerate(pairs)
    ]
    differences = np.array([difference / margin for (difference, _), margin in parts])
    means = np.mean([drawn / margin for (_, drawn), margin in parts], axis=0)
    low, high = np.quantile(means, (0.025, 0.975))
    return Pooled(
        difference=float(differences.mean()),
        two_se=float(2 * means.std()),
        low=float(low),
        high=float(high),
        above=float(((means >= 0).sum() + 1) / (len(means) + 1)),
        better=int((differences < 0).sum()),
        sets=len(differences),
    )


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p-values for their number (Holm 1979)."""
    order = sorted(values, key=values.__getitem__)
    adjusted, greatest = {}, 0.0
    for place, name in enumerate(order):
        greatest = max(greatest, min(1.0, (len(order) - place) * values[name]))
        adjusted[name] = greatest
    return adjusted


def verdicts(found: Mapping[str, Comparison]) -> dict[str, str]:
    """Say of each data set whether the first is better by more than the margin."""
    better = holm({name: one.better for name, one in found.items()})
    not_better = holm({name: one.not_better for name, one in found.items()})
    return {
        name: HOLDS
        if better[name] <= LEVEL
        else REFUTED
        if not_better[name] <= LEVEL
        else UNDECIDED
        for name in found
    }


def signs(found: Mapping[str, Comparison]) -> dict[str, str]:
    """Say of each data set `better`, `worse` (by more than the margin) or `level`, in one word.

    `better` asks only for a difference below 0 and a mean beyond the margin; `verdicts` is
    stricter.
    """
    above = holm({name: one.above for name, one in found.items()})
    worse = holm({name: one.worse for name, one in found.items()})
    return {
        name: "better"
        if above[name] <= LEVEL and one.difference < -one.margin
        else "worse"
        if worse[name] <= LEVEL
        else "level"
        for name, one in found.items()
    }


def steps_to(curve: Sequence[Sequence[float]], target: float, most: int) -> float:
    """Steps until a curve first reaches a value, linear between checks; `most` if it never does.

    Args:
        curve: Step and validation NLL of each check.
        target: The NLL to reach.
        most: Steps of the training.
    """
    before: tuple[float, float] | None = None
    for step, nll in curve:
        if nll <= target:
            if before is None or before[1] <= nll:
                return float(step)
            share = (before[1] - target) / (before[1] - nll)
            return float(before[0] + share * (step - before[0]))
        before = (step, nll)
    return float(most)


def smallest(parameters: Sequence[float], nlls: Floats, limit: Floats) -> Floats:
    """In each draw the least number of parameters whose NLL is within a limit; inf if none is.

    Args:
        parameters: Of each size, shape (S,).
        nlls: Draws of the NLL of each size, shape (draws, S).
        limit: Shape (draws,).
    """
    fits = nlls <= limit[:, None]
    return np.asarray(np.where(fits, np.asarray(parameters)[None, :], np.inf).min(axis=1))
