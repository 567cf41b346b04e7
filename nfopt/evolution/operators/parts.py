"""Operators on the further parts of a genome: those of masks or of edges, on one part.

Which operator is drawn evenly; credit goes to all of them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from nfopt.evolution.genome.genome import BLANK, Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.operators import crossover, edges, masks
from nfopt.evolution.operators.context import Context, pick

Mutation = Callable[[Layout, Genome, np.random.Generator, Context], Genome | None]
Mutations = tuple[Mutation, ...]

MASKS: Mutations = (masks.swap, masks.swap, masks.flips, masks.complemented, masks.redraw)
IDLE: Mutations = (*MASKS, masks.idles)
EDGES: Mutations = (edges.redirect, edges.redirect, edges.add, edges.remove, edges.budgets)
ORDERS: Mutations = (*EDGES, edges.reversal, edges.insertion, edges.neighbours)


def mutate(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Change one part by an operator of its kind."""
    index = _one(rng, genome)
    if index is None:
        return None
    part, own = layout.parts[index], Context(scale=ctx.scale)
    choices = EDGES if part.masks is None else MASKS
    if part.masks is not None and part.masks.idle:
        choices = IDLE
    if part.edges is not None and part.edges.orders:
        choices = ORDERS
    changed = choices[pick(len(choices), rng)](part, genome.parts[index], rng, own)
    return None if changed is None else _with_part(layout, genome, index, changed)


def cross(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Take one part from the second parent, or letters or parents of it."""
    index = _one(rng, a, b)
    if index is None:
        return None
    changed: Genome | None = b.parts[index]
    if rng.random() < 0.5:
        mix = crossover.parents if layout.parts[index].masks is None else crossover.letters
        changed = mix(layout.parts[index], a.parts[index], b.parts[index], rng, Context())
    return None if changed is None else _with_part(layout, a, index, changed)


def _one(rng: np.random.Generator, *genomes: Genome) -> int | None:
    """Draw a part that is active in all of some genomes."""
    active = [i for i, parts in enumerate(zip(*(g.parts for g in genomes), strict=True))
              if BLANK not in parts]  # fmt: skip
    return active[pick(len(active), rng)] if active else None


def _with_part(layout: Layout, genome: Genome, index: int, part: Genome) -> Genome:
    parts = (*genome.parts[:index], part, *genome.parts[index + 1 :])
    return layout.repaired(replace(genome, parts=parts), genome)
