"""Initial genomes: the masks of the named designs, which random masks seldom beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nfopt.designs import DESIGNS
from nfopt.evolution.genome.genome import Genome, Layout
from nfopt.evolution.operators.context import Floats
from nfopt.masks import Masks

NAMES = ("parity", "dependence", "halves", "binary_code")
"""Designs in the order of proposal; random complement pairs follow, without end."""


def first(
    layout: Layout, rng: np.random.Generator, dependence: Floats | None = None
) -> Iterator[Genome]:
    """Initial genomes without end: the named designs, then random complement pairs.

    Values are in the middle of their ranges for the designs, and random for the pairs. Without
    masks, all are random. None is repeated, unless the space is small.

    Args:
        layout: What genomes look like.
        rng: The source of the random ones.
        dependence: Of every two features, shape (D, D); without it there is no such design.
    """
    seen: set[bytes] = set()
    for genome in _designs(layout, rng, dependence):
        if genome.key not in seen:
            seen.add(genome.key)
            yield genome
    while True:
        for _ in range(100):
            genome = layout.random(rng)
            if genome.key not in seen:
                break
        seen.add(genome.key)
        yield genome


def _designs(
    layout: Layout, rng: np.random.Generator, dependence: Floats | None
) -> Iterator[Genome]:
    if layout.masks is None:
        return
    for name in NAMES:
        if name != "dependence" or dependence is not None:
            yield with_design(layout, name, rng, dependence)


def with_design(
    layout: Layout,
    name: str,
    rng: np.random.Generator,
    dependence: Floats | None = None,
    like: Genome | None = None,
) -> Genome:
    """A genome with the masks of a named design.

    Args:
        layout: What genomes look like; it has masks.
        name: A key of `nfopt.designs.DESIGNS`.
        rng: For the designs that are random, and for an adjacency.
        dependence: For the design `dependence`, shape (D, D).
        like: Genome of the other parts; by default values in the middle of their ranges.

    Raises:
        ValueError: If the layout has no masks, there is no such design, or no dependence for it.
    """
    if layout.masks is None:
        raise ValueError("`layout` must have masks to take a design.")
    if name not in DESIGNS:
        raise ValueError(f"`name` must be one of {', '.join(DESIGNS)}, not {name!r}.")
    if name == "dependence" and dependence is None:
        raise ValueError("`dependence` must be given for the design of that name.")
    size = (layout.masks.layers, layout.masks.features)
    matrix = dependence if dependence is not None else np.zeros((0, 0))
    masks: Masks = DESIGNS[name](*size, rng, matrix)
    if like is None:
        like = Genome(layout.inactive_values)
        if layout.edges is not None:
            drawn = layout.random(rng)
            like = Genome(layout.inactive_values, None, drawn.order, drawn.parents)
    return layout.repaired(Genome(like.values, masks, like.order, like.parents))
