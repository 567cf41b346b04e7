"""Crossover: a child of two parents. Held variables stay as the first parent has them.

Where the masks of the two have different layers in use, the first parent's depth counts, and layers
that the second does not use come from the first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import BLANK, Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.repair import C, codes, from_codes
from nfopt.evolution.genome.variables import Category, Value, replaced
from nfopt.evolution.operators.context import Context, open_variables, pick

BEYOND = 0.25
"""How far blending reaches beyond the two parents, as a share of their distance (BLX-0.25)."""


def layers(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Some pairs of layers from the second parent, with the variables of these layers."""
    if a.masks is None or b.masks is None:
        return None
    rows = layout.gene_rows(a.values)
    common = sorted({row // 2 for row in rows} & {row // 2 for row in layout.gene_rows(b.values)})
    if not common:
        return None
    taken = _some(len(common), rng)
    masks = codes(a.masks).copy()
    other = codes(b.masks)
    shared = set(rows) & set(layout.gene_rows(b.values))
    chosen = [common[i] * 2 + half for i in np.flatnonzero(taken) for half in (0, 1)]
    for row in shared & set(chosen):
        masks[row] = other[row]
    changes: dict[int, Value] = {}
    for column in layout.columns:
        if not ctx.held.intersection(column):
            changes |= {column[k]: b.values[column[k]] for k in chosen if k < len(column)}
    values = replaced(a.values, changes) if changes else a.values
    child = replace(a, values=values, masks=from_codes(masks))
    return layout.grown(a, child, rng, ctx.held)


def features(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """The letters of some features, in all layers, from the second parent."""
    if a.masks is None or b.masks is None:
        return None
    return layout.repaired(_mixed_masks(layout, a, b, _some(a.masks.shape[1], rng)), a)


def letters(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Each letter from either parent."""
    if a.masks is None or b.masks is None:
        return None
    return layout.repaired(_mixed_masks(layout, a, b, rng.random(a.masks.shape) < 0.5), a)


def parents(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """The parents of some features from the second parent, under a mean of the two orders."""
    if a.parents is None or b.parents is None:
        return None
    taken = _some(len(a.parents), rng)
    order = None
    if a.order is not None and b.order is not None:
        share = rng.random()
        places = (1 - share) * np.argsort(a.order) + share * np.argsort(b.order)
        order = np.argsort(places, kind="stable")
    edges = np.where(taken[:, None], b.parents, a.parents)
    return layout.repaired(replace(a, order=order, parents=edges), a)


def values(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Each variable from either parent."""
    differing = _differing(layout, a, b, ctx)
    if not differing:
        return None
    return _with_values(layout, a, b, _half(differing, b, rng), rng, ctx)


def blend(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Each number between the parents or a little beyond, each category from either."""
    changes: dict[int, Value] = {}
    differing = _differing(layout, a, b, ctx)
    for index, drawn in zip(differing, rng.random(len(differing)).tolist(), strict=True):
        variable = layout.variables[index]
        share = drawn * (1 + 2 * BEYOND) - BEYOND
        if isinstance(variable, Category):
            if share > 0.5:
                changes[index] = b.values[index]
        else:
            start, end = variable.unit(a.values[index]), variable.unit(b.values[index])
            changes[index] = variable.at(start + share * (end - start))
    return _with_values(layout, a, b, changes, rng, ctx) if changes else None


def uniform(
    layout: Layout, a: Genome, b: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """All parts at once, gene by gene from either parent: the plain EA's crossover."""
    mixed = a
    if a.masks is not None and b.masks is not None:
        mixed = _mixed_masks(layout, a, b, rng.random(a.masks.shape) < 0.5)
    edges = a.parents
    if a.parents is not None and b.parents is not None:
        edges = np.where(rng.random(a.parents.shape) < 0.5, b.parents, a.parents)
    changes = _half(_differing(layout, a, b, ctx), b, rng)
    parts = tuple([y if rng.random() < 0.5 else x for x, y in zip(a.parts, b.parts, strict=True)])
    child = replace(a, masks=mixed.masks, parents=edges, parts=parts)
    return _with_values(layout, a, b, changes, rng, ctx, child)


def _some(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Flags for a share of `count` that is itself drawn, so that few are taken as often as half."""
    flags = rng.random(count) < 0.5 * rng.random()
    if count and not flags.any():
        flags[pick(count, rng)] = True
    return flags


def _mixed_masks(layout: Layout, a: Genome, b: Genome, taken: NDArray[np.bool_]) -> Genome:
    """The first parent with the letters that are taken from the second, in rows that both use.

    `taken` has shape (L, D), or (D,) for all layers alike.
    """
    if a.masks is None or b.masks is None:
        return a
    mixed = np.where(taken, codes(b.masks), codes(a.masks))
    shared = layout.gene_rows(a.values)
    if layout.gene_rows(b.values) != shared:
        shared = tuple([row for row in shared if row in layout.gene_rows(b.values)])
        kept = [row for row in range(len(mixed)) if row not in shared]
        mixed[kept] = codes(a.masks)[kept]
    return replace(a, masks=from_codes(mixed))


def _differing(layout: Layout, a: Genome, b: Genome, ctx: Context) -> list[int]:
    """Variables that are free, and in use by both, and not the same."""
    free = open_variables(layout, a, ctx, layout.free)
    used, mine, other = layout.used(b.values).variables, a.values, b.values
    return [i for i in free if mine[i] != other[i] and used[i]]


def _half(indices: list[int], b: Genome, rng: np.random.Generator) -> dict[int, Value]:
    """The second parent's values of some variables, each with probability 1/2."""
    drawn = zip(indices, rng.random(len(indices)).tolist(), strict=True)
    return {index: b.values[index] for index, share in drawn if share < 0.5}


def _with_values(
    layout: Layout,
    a: Genome,
    b: Genome,
    changes: dict[int, Value],
    rng: np.random.Generator,
    ctx: Context,
    like: Genome | None = None,
) -> Genome:
    """Change values of the first parent, or of a genome like it, and repair.

    What the child uses and the first parent does not, as layers beyond its depth, comes from the
    second, as far as that uses it.
    """
    like = like or a
    values, masks = replaced(a.values, changes), like.masks
    before = layout.used(a.values)
    if layout.used(values) != before:
        new = [i for i in layout.free if not before.variables[i] and i not in ctx.held]
        values = replaced(values, {i: b.values[i] for i in new})
        if masks is not None and b.masks is not None:
            blank = (codes(masks) == C).all(axis=1, keepdims=True)
            masks = from_codes(np.where(blank, codes(b.masks), codes(masks)))
    order, edges = like.order, like.parents
    if not before.edges:
        order, edges = b.order, b.parents
    parts = tuple([y if x == BLANK else x for x, y in zip(like.parts, b.parts, strict=True)])
    return layout.grown(a, Genome(values, masks, order, edges, parts), rng, ctx.held)
