"""Directed mutation: by the dependence that a flow left between the features in base space.

A perfect flow leaves none. Where much is left between two features, a mask is changed so that one
conditions the other, or an edge is added. A mask is worth the weight of the pairs that it cuts,
one feature on either side; pairs are weighed by what is left, and by the data's dependence, less
the more layers cut them already, so that what the flow handles well is not undone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfopt.designs import DECAY
from nfopt.evolution.genome.genome import Genome, Layout
from nfopt.evolution.genome.repair import C, Codes, I, T, codes
from nfopt.evolution.operators.context import (
    Context,
    Floats,
    by_sums,
    pick,
    power_law,
    several,
    weighted,
)
from nfopt.evolution.operators.edges import allowed_edges, strength, with_edges
from nfopt.evolution.operators.layers import inserted
from nfopt.evolution.operators.masks import put_pair, with_masks

MOST_PAIRS = 4
"""The most pairs that one mutation looks after."""

ROUNDS = 4
"""Rounds in which `cut` improves its random start; more would find the same cut each time."""

LOOKED_AT = 64
"""The most third features looked at for an exchange."""

NOISE = 0.25
"""Noise in the choice between exchanges, as a share of what the pair has left."""


def condition(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Part one of the worst pairs, or a few, in a layer that has both on one side.

    The pair is drawn by the square of what is left. One of the two changes sides with a third
    feature, which keeps the balance: layer and third feature are those that cut most.
    """
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or ctx.left is None or not rows:
        return None
    changed = codes(genome.masks).copy()
    done = False
    for _ in range(power_law(MOST_PAIRS, rng)):
        found = by_sums(ctx.running, rng)
        if found is not None:
            i, j = divmod(found, len(ctx.left))
            done |= _part(changed, rows, i, j, ctx, rng)
    return with_masks(layout, genome, changed) if done else None


def recut(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Draw a layer anew so that it cuts much of what is left, and the next as its complement."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or ctx.left is None or not rows:
        return None
    changed = codes(genome.masks).copy()
    which = pick(len(rows), rng)
    others = tuple(row for row in rows if row != rows[which])
    put_pair(changed, rows, which, cut(_worth(changed, others, ctx), rng))
    return with_masks(layout, genome, changed)


def insert_cut(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Insert a layer, or a pair of complements, that cuts much of what is left."""
    if genome.masks is None or ctx.left is None:
        return None
    rows, masks = layout.gene_rows(genome.values), codes(genome.masks)
    return inserted(layout, genome, rng, ctx, lambda rng: cut(_worth(masks, rows, ctx), rng))


def link(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Add the edge of one of the worst pairs, or of a few; the weakest beyond the budget goes."""
    if layout.edges is None or genome.parents is None or ctx.left is None:
        return None
    budget = layout.budget(genome.values)
    parents = genome.parents.copy()
    missing = allowed_edges(layout, genome.order) & ~parents
    wanted = np.where(missing, np.square(ctx.left), 0.0)
    keep = strength(ctx, len(parents)) if ctx.dependence is not None else ctx.left
    for _ in range(power_law(MOST_PAIRS, rng)):
        found = weighted(wanted.ravel(), rng)
        if found is None or budget < 1:
            break
        row, column = divmod(found, len(parents))
        wanted[row, column] = 0.0
        present = np.flatnonzero(parents[row])
        if present.size >= budget:
            parents[row, present[np.argmin(keep[row, present])]] = False
        parents[row, column] = True
    return with_edges(layout, genome, parents)


def cut(weights: Floats, rng: np.random.Generator) -> Codes:
    """Part the features in two halves with much weight between them, from a random start.

    A few rounds of power iteration, shifted so that the most negative eigenvalue leads: features
    of great weight between them get opposite signs. The halves are the features above and below
    the median. (A cut of signs s has the weight (sum of weights - s'Ws) / 4.)

    Args:
        weights: Shape (D, D), symmetric, with a zero diagonal.
        rng: The source of the start.

    Returns:
        Letters `T` and `C`, shape (D,).
    """
    size = len(weights)
    vector = rng.standard_normal(size)
    shift = float(np.linalg.norm(weights)) / np.sqrt(size)
    for _ in range(ROUNDS if shift > 0 else 0):
        vector = weights @ vector - shift * vector
        vector = vector - vector.mean()
        vector = vector / (np.abs(vector).max() or 1.0)
    half = size // 2 + pick(2, rng) * (size % 2)
    sides = np.full(size, C)
    sides[np.argsort(vector, kind="stable")[:half]] = T
    return sides


def _part(
    masks: Codes, rows: tuple[int, ...], i: int, j: int, ctx: Context, rng: np.random.Generator
) -> bool:
    """Change one row of the masks so that it parts i and j; false if all do already."""
    genes = masks[list(rows)]
    parted = ((genes[:, i] == T) & (genes[:, j] == C)) | ((genes[:, i] == C) & (genes[:, j] == T))
    if parted.all():
        return False
    idle = np.flatnonzero((genes[:, i] == I) | (genes[:, j] == I))
    if idle.size:
        row = masks[rows[idle[pick(idle.size, rng)]]]
        here, other = (i, j) if row[i] == I else (j, i)
        if row[other] == I:
            row[other] = C
        row[here] = T if row[other] == C else C
        return True
    open_rows = [row for row, done in zip(rows, parted, strict=True) if not done]
    size = masks.shape[1]
    some = np.arange(size) if size <= LOOKED_AT else several(size, LOOKED_AT, rng)
    looked_at = np.append(some, [i, j])  # third features, then the pair itself
    worth = _worth(masks, rows, ctx, looked_at)
    sides = _sides(masks[open_rows])
    near = sides[:, looked_at]
    alone = near * (sides @ worth.T)  # what flipping a feature alone would cut more
    gain = alone[:, -2:, None] + alone[:, None, :] + 2 * worth[-2:][:, looked_at]
    left = 0.0 if ctx.left is None else float(ctx.left[i, j])
    gain = gain + NOISE * left * rng.gumbel(size=gain.shape)
    same_side = near[:, -2:, None] * near[:, None, :] >= 0
    gain[same_side] = -np.inf
    row, which, third = np.unravel_index(int(np.argmax(gain)), gain.shape)
    line, moved, other = masks[open_rows[row]], looked_at[which - 2], looked_at[third]
    if same_side[row, which, third]:  # no third feature on the other side: only one side moves
        line[moved] = C if line[moved] == T else T
    else:
        line[moved], line[other] = line[other], line[moved]
    return True


def _worth(
    masks: Codes, rows: tuple[int, ...], ctx: Context, of: NDArray[np.intp] | None = None
) -> Floats:
    """What cutting each pair once more is worth: what is left, and what few layers cut yet.

    Args:
        masks: Shape (L, D).
        rows: The rows that have genes in use.
        ctx: Leftover, and perhaps dependence.
        of: Features of which to say it, by default all, shape (F,).

    Returns:
        Shape (F, D).
    """
    chosen: slice | NDArray[np.intp] = slice(None) if of is None else of
    left = np.zeros((0, 0)) if ctx.left is None else ctx.left[chosen]
    if ctx.depends is None or not rows:
        return left
    sides = _sides(masks[list(rows)])
    times = (len(rows) - (sides[:, chosen].T @ sides)).astype(np.intp) >> 1
    return np.asarray(left + ctx.depends[chosen] * (DECAY ** np.arange(len(rows) + 1))[times])


def _sides(rows: Codes) -> NDArray[np.float64]:
    """1 for `T`, -1 for `C`, 0 for `I`."""
    return np.asarray((rows == T).astype(np.float64) - (rows == C))
