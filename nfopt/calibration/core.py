"""The statistics of calibration in NumPy: ranks that are uniform where a posterior is exact.

A pair (theta, x) is drawn, and L samples of the posterior given x. If the posterior is exact, theta
is one more such sample, so that its rank among them in any one number is uniform on 0..L. In
simulation-based calibration the number is a parameter (Talts et al. 2018, arXiv:1804.06788); in
TARP it is the distance to a point chosen without theta (Lemos et al. 2023, arXiv:2302.03026), whose
ranks over L are the credibility of the smallest ball around that point that holds theta.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ranks = NDArray[np.int64]
DRAWS = 4_000  # of uniform ranks that stand for chance


def sbc_ranks(theta: Array, samples: Array, rng: np.random.Generator) -> Ranks:
    """Count the samples below each parameter; among equal ones its place is drawn.

    Args:
        theta: Shape (n, D).
        samples: L of the posterior of each row, shape (n, L, D).
        rng: For ties.

    Returns:
        Shape (n, D), from 0 to L.
    """
    given = np.asarray(theta, dtype=np.float64)[:, None]
    drawn = np.asarray(samples, dtype=np.float64)
    _check_shapes(given[:, 0], drawn)
    return _ranks(given, drawn, rng)


def tarp_ranks(
    theta: Array, samples: Array, rng: np.random.Generator, references: Array | None = None
) -> Ranks:
    """Count the samples that are nearer to a reference point than theta is.

    Columns are divided by the deviation of `theta` first.

    Args:
        theta: Shape (n, D).
        samples: Shape (n, L, D).
        rng: For the points, and for ties.
        references: Points chosen without looking at their row's theta, shape (n, D); None: drawn
            uniformly from the box that holds all of `theta`.

    Returns:
        Shape (n,), from 0 to L.
    """
    given, drawn = np.asarray(theta, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    _check_shapes(given, drawn)
    if references is None:
        references = rng.uniform(given.min(axis=0), given.max(axis=0), given.shape)
    if references.shape != given.shape:
        raise ValueError(
            f"`references` must have shape {given.shape} as `theta`, got {references.shape}."
        )
    spread = given.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    own = np.linalg.norm((given - references) / scale, axis=-1)
    others = np.linalg.norm((drawn - references[:, None]) / scale, axis=-1)
    return _ranks(own[:, None], others, rng)


def deviation(ranks: Ranks, draws: int) -> Array:
    """How far the share of ranks up to each one is above that of uniform ranks.

    Args:
        ranks: Shape (n,), from 0 to L.
        draws: L.

    Returns:
        Shape (L + 1,); the last is 0. Above 0 at low ranks and below 0 at high ones: the density is
        too narrow; the other way round: too wide; above 0 throughout: its samples are too large.
    """
    counts = np.bincount(np.asarray(ranks), minlength=draws + 1)
    return np.cumsum(counts) / len(ranks) - np.arange(1, draws + 2) / (draws + 1)


def coverage(ranks: Ranks, draws: int, levels: Array) -> Array:
    """Share of the rows whose theta lies in the region of each credibility.

    Args:
        ranks: From `tarp_ranks`, shape (n,).
        draws: L.
        levels: Credibilities from 0 to 1, shape (K,).

    Returns:
        Shape (K,). Equal to `levels` where the density is exact.
    """
    # theta is as likely anywhere within its rank's step
    below = (np.asarray(levels)[:, None] * (draws + 1) - np.asarray(ranks)).clip(0, 1)
    mean: Array = below.mean(axis=1)
    return mean


@dataclass(frozen=True)
class Uniformity:
    """A test of ranks against uniform ones.

    Attributes:
        deviation: Greatest distance between the two distribution functions.
        p_value: Share of uniform ranks that are as far off by chance.
        spread: Variance of the ranks over that of uniform ones: above 1 the density is too narrow,
            below 1 too wide (of TARP's ranks only where the reference points are far away).
        shift: Mean rank over L, minus a half: above 0 the samples are too small.
    """

    deviation: float
    p_value: float
    spread: float
    shift: float


def uniformity(ranks: Ranks, draws: int, rng: np.random.Generator) -> Uniformity:
    """Test ranks of one number against uniform ones, by their Kolmogorov distance.

    Args:
        ranks: Shape (n,), from 0 to L.
        draws: L.
        rng: For the uniform ranks.
    """
    values = np.asarray(ranks)
    found = float(np.abs(deviation(values, draws)).max())
    chance = _chance(len(values), draws, rng)
    variance = draws * (draws + 2) / 12
    return Uniformity(
        deviation=found,
        p_value=float((1 + np.count_nonzero(chance >= found - 1e-12)) / (1 + len(chance))),
        spread=float(((values - draws / 2) ** 2).mean() / variance),
        shift=float(values.mean() / draws - 0.5),
    )


def band(
    rows: int, draws: int, rng: np.random.Generator, *, columns: int = 1, level: float = 0.95
) -> float:
    """Half the width of the band that holds the deviations of uniform ranks.

    Args:
        rows: n.
        draws: L.
        rng: For the uniform ranks.
        columns: Curves that are to lie in it together.
        level: Its probability.
    """
    return float(np.quantile(_chance(rows, draws, rng), level ** (1 / columns)))


def _chance(rows: int, draws: int, rng: np.random.Generator) -> Array:
    """Draw the greatest deviation of uniform ranks, shape (DRAWS,)."""
    even = np.full(draws + 1, 1 / (draws + 1))
    counts = rng.multinomial(rows, even, size=DRAWS)
    greatest: Array = np.abs(counts.cumsum(axis=1) / rows - even.cumsum()).max(axis=1)
    return greatest


def _ranks(own: Array, others: Array, rng: np.random.Generator) -> Ranks:
    """Rank each row's own number among its L others, along axis 1."""
    if not (np.isfinite(own).all() and np.isfinite(others).all()):
        raise ValueError("`theta` and `samples` must be finite.")
    below, equal = (others < own).sum(axis=1), (others == own).sum(axis=1)
    ranks: Ranks = below + rng.integers(0, equal, endpoint=True)
    return ranks


def _check_shapes(theta: Array, samples: Array) -> None:
    if theta.ndim != 2 or not theta.size:
        raise ValueError(f"`theta` must have shape (n, D), got {theta.shape}.")
    wanted = (theta.shape[0], theta.shape[1])
    if samples.ndim != 3 or (samples.shape[0], samples.shape[2]) != wanted or not samples.shape[1]:
        raise ValueError(
            f"`samples` must have shape ({wanted[0]}, L, {wanted[1]}) as `theta` has {wanted}, got"
            f" {samples.shape}."
        )
