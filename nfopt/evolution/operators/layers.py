"""Mutation of the sequence of layers: insert, delete and exchange layers, with all that they have.

Masks and the variables of a layer (its kind, its map) move with it. Where one of those variables
is held in any layer, that kind of variable stays where it is.
"""

from __future__ import annotations

import numpy as np

from nfopt.evolution.genome.genome import Genome, Layout
from nfopt.evolution.genome.repair import Codes, balanced, codes, complement, filled, from_codes
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.operators.context import Context, pick

NEW = -1
"""In a list of where layers come from: from nowhere."""


def insert(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Insert a layer, or a pair of complements; what the depth variable cannot count is not done.

    Variables of a new layer are those of its neighbour, or drawn.
    """
    room = _room(layout, genome, ctx, 1)
    if not room:
        return None
    pairs = layout.masks is not None and layout.masks.pairs
    depth, count = layout.layers_in_use(genome.values), room[pick(len(room), rng)]
    if pairs and count == 1:
        place = depth  # half a pair can only stand last
    else:
        place = pick(depth // 2 + 1, rng) * 2 if pairs else pick(depth + 1, rng)
    size = layers_of(layout)
    source = [*range(place), *[NEW] * count, *range(place, size - count)]
    rows = _moved_rows(genome, source)
    if rows is not None and not (pairs and place % 2):
        rows[place] = balanced(rows.shape[1], rng)
        if count == 2:
            rows[place + 1] = complement(rows[place])
    return _rebuilt(layout, genome, rng, ctx, source, depth + count, rows)


def delete(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Delete a layer, or two neighbouring ones; with pairs a pair, or the last layer."""
    room = _room(layout, genome, ctx, -1)
    if not room:
        return None
    pairs = layout.masks is not None and layout.masks.pairs
    depth, count = layout.layers_in_use(genome.values), room[pick(len(room), rng)]
    if pairs:
        place = depth - 1 if count == 1 else pick(depth // 2, rng) * 2
    else:
        place = pick(depth - count + 1, rng)
    size = layers_of(layout)
    source = [*range(place), *range(place + count, size), *[NEW] * count]
    if pairs and count == 1:
        source = list(range(size))
    return _rebuilt(layout, genome, rng, ctx, source, depth - count, _moved_rows(genome, source))


def exchange(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Let two layers, with pairs two pairs, change places."""
    depth, size = layout.layers_in_use(genome.values), layers_of(layout)
    pairs = layout.masks is not None and layout.masks.pairs
    width = 2 if pairs else 1
    places = (depth + 1) // 2 if pairs else depth
    if pairs and places * 2 > size:
        places -= 1
    if places < 2:
        return None
    first = pick(places, rng)
    second = (first + 1 + pick(places - 1, rng)) % places
    source = list(range(size))
    for k in range(width):
        i, j = first * width + k, second * width + k
        source[i], source[j] = j, i
    return _rebuilt(layout, genome, rng, ctx, source, depth, _moved_rows(genome, source))


def layers_of(layout: Layout) -> int:
    """How many layers there are at most."""
    if layout.masks is not None:
        return layout.masks.layers
    return len(layout.columns[0]) if layout.columns else 0


def _room(layout: Layout, genome: Genome, ctx: Context, sign: int) -> list[int]:
    """By how many layers, 1 or 2, the depth may grow or shrink."""
    if layout.depth is None or layout.depth in ctx.held:
        return []
    variable, depth = layout.variables[layout.depth], layout.layers_in_use(genome.values)
    most = layers_of(layout)
    wanted = [(count, depth + sign * count) for count in (1, 2)]
    return [n for n, to in wanted if 1 <= to <= most and variable.nearest(to) == to]


def _moved_rows(genome: Genome, source: list[int]) -> Codes | None:
    if genome.masks is None:
        return None
    return np.asarray(codes(genome.masks)[np.array(source)])


def _rebuilt(
    layout: Layout,
    genome: Genome,
    rng: np.random.Generator,
    ctx: Context,
    source: list[int],
    depth: int,
    rows: Codes | None,
) -> Genome:
    values: list[Value] = list(genome.values)
    for column in layout.columns:
        if ctx.held.intersection(column):
            continue
        for layer, index in enumerate(column):
            origin = source[layer]
            if origin == NEW and layer < depth:
                near = genome.values[column[max(source.index(NEW) - 1, 0)]]
                copied = rng.random() < 0.5
                values[index] = near if copied else layout.variables[index].draw(rng)
            elif origin != NEW:
                values[index] = genome.values[column[origin]]
    if layout.depth is not None:
        values[layout.depth] = depth
    masks = None
    if rows is not None and layout.masks is not None:
        # A layer may have become a coupling, where the kinds of the layers did not move along.
        masks = filled(from_codes(rows), layout.masks, layout.used(tuple(values)).layers, rng)
    child = Genome(tuple(values), masks, genome.order, genome.parents)
    return layout.repaired(layout.linked(genome, child, rng))
