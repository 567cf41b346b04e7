"""Selection of parents by tournament, and of genomes to replicate.

A tournament takes the best of k members drawn at random. Under noise the order of the members is
partly luck, so k is small; without noise k is the size of the population: local search at the best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LEAST = 2
"""Members drawn where the order is nothing but noise."""

ENOUGH = 0.05
"""A genome is run again until the variance of its mean is this share of the true spread."""


def reliability(noise: float, spread: float) -> float:
    """The share of the variance between single runs that is not noise, from 0 to 1."""
    return spread / (spread + noise) if spread + noise > 0 else 1.0


def tournament_size(members: int, reliable: float) -> int:
    """Members drawn for one parent: from `LEAST` under noise to all of them without.

    Geometric between the two in the square of the reliability.
    """
    if members <= LEAST:
        return max(members, 1)
    return round(float(LEAST * (members / LEAST) ** (reliable**2)))


def tournament(members: int, size: int, rng: np.random.Generator) -> int:
    """The position, from 0 for the best, of the best of `size` members drawn with replacement.

    The least of k uniform numbers is drawn at once, as 1 - u ** (1 / k).
    """
    return int((1 - rng.random() ** (1 / size)) * members)


def replicate_share(share: float, reliable: float) -> float:
    """The share of the runs that goes to re-evaluation: half to one and a half times `share`.

    Args:
        share: What it is where noise and true spread are equal.
        reliable: See `reliability`; at 1 (no noise) nothing is run again.
    """
    return 0.0 if reliable >= 1.0 else share * (1.5 - reliable)


def least_replicated(runs: Ints, among: int) -> int:
    """The position, among the first `among` of the best, of the genome with fewest runs.

    Args:
        runs: Finished and running runs of each, the best first, shape (n,).
        among: How many of the best are considered.
    """
    return int(np.argmin(runs[:among]))
