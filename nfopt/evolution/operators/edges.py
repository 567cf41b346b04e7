"""Mutation of adjacencies: edges by the data's dependence, orders, numbers of parents.

An edge to add is drawn in proportion to the dependence of its two features, one to remove in
proportion to how far that is below the greatest dependence; without a dependence all are alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import replaced
from nfopt.evolution.operators.context import Context, Floats, pick, power_law, weighted
from nfopt.evolution.operators.variables import SPREAD, moved

Bits = NDArray[np.bool_]
Order = NDArray[np.intp]

FLOOR = 0.02
"""Added to every edge's weight, as a share of the greatest dependence."""

MOST_EDGES = 16
"""The most edges that are added, removed or redirected at once."""


def strength(ctx: Context, features: int) -> Floats:
    """Weights of edges, shape (D, D), above 0: the dependence, or all alike."""
    if ctx.dependence is None:
        return np.ones((features, features))
    greatest = float(ctx.dependence.max())
    return ctx.dependence + (FLOOR * greatest if greatest > 0 else 1.0)


def allowed_edges(layout: Layout, order: Order | None) -> Bits:
    """Edges that the order, if there is one, allows, shape (D, D)."""
    size = layout.edges.features if layout.edges is not None else 0
    followed = order if order is not None else layout.edges and layout.edges.order
    if followed is None:
        return ~np.eye(size, dtype=bool)
    position = np.empty(size, dtype=np.intp)
    position[np.asarray(followed)] = np.arange(size)
    return position[None, :] < position[:, None]


def add(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Add one or a few edges that order and budget allow."""
    if layout.edges is None or genome.parents is None:
        return None
    parents = genome.parents.copy()
    budget = layout.budget(genome.values)
    weights = strength(ctx, len(parents))
    weights[parents | ~allowed_edges(layout, genome.order)] = 0.0
    weights[parents.sum(axis=1) >= budget] = 0.0
    for _ in range(power_law(MOST_EDGES, rng)):
        edge = weighted(weights.ravel(), rng)
        if edge is None:
            break
        row, column = divmod(edge, len(parents))
        parents[row, column] = True
        weights[row, column] = 0.0
        if np.count_nonzero(parents[row]) >= budget:
            weights[row] = 0.0
    return with_edges(layout, genome, parents)


def remove(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Remove one or a few edges."""
    if genome.parents is None or not genome.parents.any():
        return None
    parents = genome.parents.copy()
    present = np.flatnonzero(parents)
    weights = _lack(strength(ctx, len(parents)).ravel()[present])
    for _ in range(power_law(min(MOST_EDGES, present.size), rng)):
        edge = weighted(weights, rng)
        if edge is None:
            break
        parents.flat[present[edge]] = False
        weights[edge] = 0.0
    return with_edges(layout, genome, parents)


def redirect(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Replace a parent of one or a few features by another."""
    if layout.edges is None or genome.parents is None:
        return None
    parents = genome.parents.copy()
    allowed = allowed_edges(layout, genome.order)
    weights = strength(ctx, len(parents))
    for _ in range(power_law(MOST_EDGES, rng)):
        rows = np.flatnonzero(parents.any(axis=1) & (allowed & ~parents).any(axis=1))
        if not rows.size:
            break
        row = rows[pick(rows.size, rng)]
        present, absent = np.flatnonzero(parents[row]), np.flatnonzero(allowed[row] & ~parents[row])
        dropped = weighted(_lack(weights[row, present]), rng)
        added = weighted(weights[row, absent], rng)
        if dropped is not None and added is not None:
            parents[row, present[dropped]] = False
            parents[row, absent[added]] = True
    return with_edges(layout, genome, parents)


def budgets(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Set the number of parents of all features, or of half of them, to a larger or smaller one.

    Where the budget is a variable that is not held, it takes a small step to that number. The least
    dependent parents are removed first; new ones are drawn.
    """
    if layout.edges is None or genome.parents is None or len(genome.parents) < 2:
        return None
    values, limit = genome.values, layout.edges.limit
    counts = genome.parents.sum(axis=1)
    if limit is not None and limit not in ctx.held and not layout.variables[limit].single:
        change = SPREAD * ctx.scale * float(rng.standard_normal())
        values = replaced(values, {limit: moved(layout.variables[limit], values[limit], change)})
        wanted = layout.budget(values)
    else:
        up = rng.random() < 0.5
        now = int(counts.max()) if up else max(int(np.median(counts)), 1)
        wanted = now + power_law(max(now // 2, 1), rng) * (1 if up else -1)
        wanted = min(max(wanted, 0), layout.budget(values))
    chosen = rng.random(len(counts)) < 0.5 if rng.random() < 0.5 else np.ones(len(counts), bool)
    weights = strength(ctx, len(counts))
    parents = np.where(chosen[:, None], trimmed(genome.parents, weights, wanted), genome.parents)
    free = allowed_edges(layout, genome.order) & ~parents
    # Gumbel keys: the greatest k are k draws without replacement in proportion to the weights.
    keys = np.where(free, np.log(weights) + rng.gumbel(size=weights.shape), -np.inf)
    rank = np.argsort(np.argsort(-keys, axis=1), axis=1)
    missing = np.where(chosen, np.maximum(wanted - parents.sum(axis=1), 0), 0)
    parents = parents | (free & (rank < missing[:, None]))
    parents = trimmed(parents, weights, layout.budget(values))
    child = replace(genome, values=values, parents=parents)
    return layout.grown(genome, child, rng, ctx.held)


def reversal(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Reverse a segment of the order."""
    if genome.order is None or len(genome.order) < 2:
        return None
    size = len(genome.order)
    length = 2 + pick(size - 1, rng) if rng.random() < 0.5 else min(1 + power_law(size, rng), size)
    start = pick(size - length + 1, rng)
    order = genome.order.copy()
    order[start : start + length] = order[start : start + length][::-1]
    return _reordered(layout, genome, order, ctx)


def insertion(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Move a feature to another position of the order."""
    if genome.order is None or len(genome.order) < 2:
        return None
    size = len(genome.order)
    start = pick(size, rng)
    end = (start + 1 + pick(size - 1, rng)) % size
    others = np.delete(genome.order, start)
    return _reordered(layout, genome, np.insert(others, end, genome.order[start]), ctx)


def neighbours(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Exchange two neighbours of the order that have an edge; without one, nothing would change."""
    if genome.order is None or genome.parents is None:
        return None
    order = genome.order
    joined = np.flatnonzero(genome.parents[order[1:], order[:-1]])
    if not joined.size:
        return None
    start = joined[pick(joined.size, rng)]
    changed = order.copy()
    changed[[start, start + 1]] = order[[start + 1, start]]
    return _reordered(layout, genome, changed, ctx)


def trimmed(parents: Bits, weights: Floats, most: int | NDArray[np.int64]) -> Bits:
    """Keep the `most` strongest parents of each feature, shape (D, D)."""
    if (parents.sum(axis=1) <= most).all():
        return parents
    order = np.argsort(np.where(parents, -weights, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(parents))[None, :], axis=1)
    return parents & (rank < np.reshape(most, (-1, 1)))


def with_edges(layout: Layout, genome: Genome, parents: Bits, order: Order | None = None) -> Genome:
    """The genome with other edges, repaired."""
    order = genome.order if order is None else order
    return layout.repaired(replace(genome, order=order, parents=parents), genome)


def _reordered(layout: Layout, genome: Genome, order: Order, ctx: Context) -> Genome | None:
    """Change the order; edges against it are reversed, the weakest beyond the budget removed."""
    if layout.edges is None or genome.parents is None:
        return None
    allowed = allowed_edges(layout, order)
    parents = allowed & (genome.parents | genome.parents.T)
    parents = trimmed(parents, strength(ctx, len(order)), layout.budget(genome.values))
    return with_edges(layout, genome, parents, order)


def _lack(weights: Floats) -> Floats:
    """How much weights fall short of the greatest, with a floor."""
    greatest = float(weights.max())
    return greatest * (1 + FLOOR) - weights
