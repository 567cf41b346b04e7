"""Mutation of the sequence of layers: insert, delete and exchange whole layers.

Masks and the variables of a layer (its kind, its map) move with it. A variable that is held in any
layer moves in none.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.repair import Codes, balanced, codes, complement, filled, from_codes
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.operators.context import Context, pick

NEW = -1
"""The source of a layer that is new, in a list of sources of layers."""


def insert(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Insert one layer, or a complementary pair, if the depth variable allows it.

    Variables of a new layer are copied from its neighbour, or drawn.
    """
    room = _room(layout, genome, ctx, 1)
    if not room:
        return None
    pairs = layout.masks is not None and layout.masks.pairs
    depth, count = layout.layers_in_use(genome.values), room[pick(len(room), rng)]
    if pairs and count == 1:
        at = depth  # half a pair can only be the last layer
    else:
        at = pick(depth // 2 + 1, rng) * 2 if pairs else pick(depth + 1, rng)
    size = layers_of(layout)
    source = [*range(at), *[NEW] * count, *range(at, size - count)]
    rows = _moved_rows(genome, source)
    if rows is not None and not (pairs and at % 2):
        rows[at] = balanced(rows.shape[1], rng)
        if count == 2:
            rows[at + 1] = complement(rows[at])
    return _rebuilt(layout, genome, rng, ctx, source, depth + count, rows)


def delete(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Delete a layer, or two neighbouring ones; with pairs a pair, or the last layer."""
    room = _room(layout, genome, ctx, -1)
    if not room:
        return None
    pairs = layout.masks is not None and layout.masks.pairs
    depth, count = layout.layers_in_use(genome.values), room[pick(len(room), rng)]
    if pairs:
        at = depth - 1 if count == 1 else pick(depth // 2, rng) * 2
    else:
        at = pick(depth - count + 1, rng)
    size = layers_of(layout)
    source = [*range(at), *range(at + count, size), *[NEW] * count]
    if pairs and count == 1:
        source = list(range(size))
    return _rebuilt(layout, genome, rng, ctx, source, depth - count, _moved_rows(genome, source))


def exchange(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Exchange two layers, or with pairs two pairs."""
    depth, size = layout.layers_in_use(genome.values), layers_of(layout)
    pairs = layout.masks is not None and layout.masks.pairs
    width = 2 if pairs else 1
    units = (depth + 1) // 2 if pairs else depth
    if pairs and units * 2 > size:
        units -= 1
    if units < 2:
        return None
    first = pick(units, rng)
    second = (first + 1 + pick(units - 1, rng)) % units
    source = list(range(size))
    for k in range(width):
        i, j = first * width + k, second * width + k
        source[i], source[j] = j, i
    return _rebuilt(layout, genome, rng, ctx, source, depth, _moved_rows(genome, source))


def layers_of(layout: Layout) -> int:
    """The greatest number of layers."""
    if layout.masks is not None:
        return layout.masks.layers
    return len(layout.columns[0]) if layout.columns else 0


def _room(layout: Layout, genome: Genome, ctx: Context, sign: int) -> list[int]:
    """The numbers of layers, 1 or 2, by which the depth may grow or shrink."""
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
    child = replace(genome, values=tuple(values), masks=masks)
    return layout.repaired(layout.linked(genome, child, rng))
