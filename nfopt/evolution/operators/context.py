"""The context of operators, and the random draws that they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Context:
    """What operators must respect, and what they may use.

    Attributes:
        held: Indices of the variables that must not change.
        dependence: Dependence of every two features in the data, shape (D, D), 0 or more: edges
            are drawn by it. None: all edges alike.
        scale: Factor on the size of small steps.
        masks: Whether all parents have active masks.
        edges: Whether all parents have active edges.
    """

    held: frozenset[int] = frozenset()
    dependence: Floats | None = None
    scale: float = 1.0
    masks: bool = True
    edges: bool = True


def pick(count: int, rng: np.random.Generator) -> int:
    """Draw from 0 to count - 1; several times as fast as `rng.integers`."""
    return int(rng.random() * count)


def power_law(most: int, rng: np.random.Generator) -> int:
    """Draw a number from 1 to `most`: k or more with a probability of about 1 / k.

    Mostly 1 or 2, now and then many: a local search that escapes local minima (heavy-tailed
    mutation; Doerr et al. 2017, with exponent 2).
    """
    number = int(1.0 / (1.0 - rng.random()))
    return number if number <= most else 1 + pick(most, rng)


def several(count: int, wanted: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw up to `wanted` different numbers from 0 to count - 1, at least one."""
    if wanted == 1:
        return np.array([pick(count, rng)])
    drawn = (rng.random(wanted) * count).astype(np.intp)
    return np.unique(drawn)


def weighted(weights: Floats, rng: np.random.Generator) -> int | None:
    """Draw a flat index with a probability in proportion to its weight; None if all are 0."""
    running = np.cumsum(weights)
    total = running[-1] if running.size else 0.0
    if not total > 0:
        return None
    return min(int(np.searchsorted(running, rng.random() * total, "right")), running.size - 1)


def open_variables(
    layout: Layout, genome: Genome, context: Context, among: Sequence[int]
) -> Sequence[int]:
    """Those of some variables that are active and not held."""
    used, held = layout.used(genome.values).variables, context.held
    if not held and all(used):
        return among
    return [index for index in among if used[index] and index not in held]
