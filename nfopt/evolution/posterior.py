"""The posterior of a genome's true value from noisy runs: pooled noise, prior, shrunken mean.

One run is an observation y = theta + e of a genome's true value theta. The variance of e is pooled
over the genomes that were run more than once; theta is normal around a prior mean. Then

    posterior mean = (y_1 + ... + y_n) / (n + s2 / t2) + prior * (s2 / t2) / (n + s2 / t2)

with noise variance s2 and prior variance t2: a lucky single run is shrunk towards the prior mean,
a replicated one hardly. Without noise (s2 = 0) the posterior mean is the value itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

CAP = 5.0
"""Values are clipped this many distances (median less lowest tenth) above the median."""

GUESS, GUESS_FREEDOM = 0.3, 1.0
"""The noise's share of the spread before there are replicates, and its weight in replicates."""

COHORT = 15
"""Genomes before and after a genome, in order of time, whose mean is its prior mean."""

RECENT = 100
"""The latest genomes, which the prior's variance is taken from."""

LEAST_SPREAD = 0.02
"""The least share of the variance between genomes that is attributed to the genomes."""

SURE = 2
"""Replicates equal to the last bit, after which an objective counts as free of noise."""


def cut(values: Floats) -> Floats:
    """Clip values far worse than the median, so that a diverged run does not dominate the rest.

    Args:
        values: Shape (n,), to be minimised.

    Returns:
        Shape (n,). Unchanged where more than half of the values are equal.
    """
    if len(values) < 4:
        return values
    low, middle = np.quantile(np.sort(values), (0.1, 0.5))  # sorted first: half the time
    return np.minimum(values, middle + CAP * (middle - low)) if middle > low else values


def pooled(values: Floats, item: Ints, items: int) -> tuple[Floats, Ints, float, int]:
    """Group observations by genome and pool the variance within genomes.

    Args:
        values: Observations, shape (n,).
        item: The genome of each, 0 to `items` - 1, shape (n,).
        items: The number of genomes.

    Returns:
        Means (0 where a genome has none), counts, both of shape (items,); the sum of squares
        within genomes, and its degrees of freedom.
    """
    counts = np.bincount(item, minlength=items)
    means = np.bincount(item, values, minlength=items) / np.maximum(counts, 1)
    residual = values - means[item]
    residual[(counts < 2)[item]] = 0.0
    freedom = len(values) - int(np.count_nonzero(counts))
    return means, counts, float(residual @ residual), freedom


def noise_variance(squares: float, freedom: int, spread: float) -> float:
    """The variance of one run, from the replicates and, while they are few, a guess.

    Args:
        squares: Sum of squares within genomes.
        freedom: Its degrees of freedom.
        spread: The variance between single observations, noise included.

    Returns:
        Exactly 0 once `SURE` replicates are equal to within rounding.
    """
    if freedom >= SURE and squares <= 1e-18 * max(spread, 1e-300) * freedom:
        return 0.0
    return (squares + GUESS_FREEDOM * GUESS**2 * spread) / (freedom + GUESS_FREEDOM)


def cohort_means(values: Floats) -> Floats:
    """The mean of each value and its neighbours in time, shape (n,)."""
    running = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.clip(np.arange(-COHORT, len(values) + COHORT + 1), 0, len(values))
    sums, width = running[ends], 2 * COHORT + 1
    return np.asarray((sums[width:] - sums[:-width]) / (ends[width:] - ends[:-width]))


def shrink(
    means: Floats, counts: Ints, prior: Floats, noise: float, spread: float
) -> tuple[Floats, Floats]:
    """Posterior means and standard deviations; see the module.

    Args:
        means: Mean of the runs of each genome, shape (N,).
        counts: Number of runs, at least 1, shape (N,).
        prior: Prior means, shape (N,).
        noise: Variance of a run.
        spread: Variance of the true values around the prior mean.

    Returns:
        Means and standard deviations, shape (N,) each.
    """
    if noise <= 0.0:
        return means, np.zeros_like(means)
    ratio = noise / max(spread, 1e-3 * noise)
    total = counts + ratio  # runs, the prior's weight included
    weight = counts / total
    return weight * means + (1 - weight) * prior, np.sqrt(noise / total)
