"""Mutation of masks, on the rows with active genes; the others follow by repair.

With pairs, a row of genes is the first layer of a pair; the second is its complement.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.repair import C, Codes, I, T, balanced, codes, complement, from_codes
from nfopt.evolution.operators.context import Context, pick, power_law, several

MOST_LETTERS = 0.25
"""The greatest share of the active letters that are flipped at once."""

TRIES = 6
"""Random pairs of letters tried before all are listed."""


def flips(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Exchange `T` and `C` in a few letters, how many by a power law; an `I` becomes `T`."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or not rows:
        return None
    features = genome.masks.shape[1]
    letters = len(rows) * features
    chosen = several(letters, power_law(max(int(MOST_LETTERS * letters), 1), rng), rng)
    changed = codes(genome.masks).copy()
    layer = np.array(rows)[chosen // features]
    _flip(changed, layer, chosen % features)
    return with_masks(layout, genome, changed)


def bit_flips(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Exchange `T` and `C` in each letter with probability 1 / n: the plain EA's mutation."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or not rows:
        return None
    letters = len(rows) * genome.masks.shape[1]
    which, feature = np.nonzero(rng.random((len(rows), genome.masks.shape[1])) * letters < 1)
    if not which.size:
        return None
    changed = codes(genome.masks).copy()
    _flip(changed, np.array(rows)[which], feature)
    return with_masks(layout, genome, changed)


def swap(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Exchange a `T` with a `C` of the same layer, once or a few times; keeps the balance."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or not rows:
        return None
    changed = codes(genome.masks).copy()
    for _ in range(power_law(max(genome.masks.shape[1] // 4, 1), rng)):
        _exchange(changed[rows[pick(len(rows), rng)]], rng)
    return with_masks(layout, genome, changed)


def columns(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Exchange the letters of two features in all layers."""
    if genome.masks is None or not layout.gene_rows(genome.values):
        return None
    features = genome.masks.shape[1]
    first = pick(features, rng)
    second = (first + 1 + pick(features - 1, rng)) % features
    changed = codes(genome.masks).copy()
    changed[:, [first, second]] = changed[:, [second, first]]
    return with_masks(layout, genome, changed)


def complemented(
    layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context
) -> Genome | None:
    """Exchange `T` and `C` in a whole layer, and in the next if the two are complements."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or not rows:
        return None
    changed = codes(genome.masks).copy()
    layer = rows[pick(len(rows), rng)]
    for row in {layer, layer ^ 1} & set(rows):
        if row == layer or (changed[row] == complement(codes(genome.masks)[layer])).all():
            changed[row] = np.where(changed[row] == I, I, complement(changed[row]))
    return with_masks(layout, genome, changed)


def idles(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Make a few `C` idle, or a few `I` condition, in one layer."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or not rows or layout.masks is None or not layout.masks.idle:
        return None
    changed = codes(genome.masks).copy()
    row = changed[rows[pick(len(rows), rng)]]
    before, after = (C, I) if rng.random() < 0.5 else (I, C)
    features = np.flatnonzero(row == before)
    if not features.size:
        before, after = after, before
        features = np.flatnonzero(row == before)
    row[features[several(features.size, power_law(features.size, rng), rng)]] = after
    return with_masks(layout, genome, changed)


def redraw(layout: Layout, genome: Genome, rng: np.random.Generator, ctx: Context) -> Genome | None:
    """Draw a balanced layer, and make the layer after it its complement."""
    rows = layout.gene_rows(genome.values)
    if genome.masks is None or not rows:
        return None
    changed = codes(genome.masks).copy()
    put_pair(changed, rows, pick(len(rows), rng), balanced(genome.masks.shape[1], rng))
    return with_masks(layout, genome, changed)


def put_pair(rows: Codes, genes: tuple[int, ...], which: int, row: Codes) -> None:
    """Write a row of genes, and its complement into the row behind it if that has genes too."""
    rows[genes[which]] = row
    if which + 1 < len(genes) and genes[which + 1] == genes[which] + 1:
        rows[genes[which + 1]] = complement(row)


def with_masks(layout: Layout, genome: Genome, rows: Codes) -> Genome:
    """The genome with other masks, repaired."""
    return layout.repaired(replace(genome, masks=from_codes(rows)), genome)


def _exchange(row: Codes, rng: np.random.Generator) -> None:
    """Exchange a random `T` with a random `C`, if there are both."""
    inside = outside = -1
    for _ in range(TRIES):  # much faster than listing them; fails only where one is rare
        inside, outside = pick(len(row), rng), pick(len(row), rng)
        if row[inside] == T and row[outside] == C:
            break
    else:
        both = np.flatnonzero(row == T), np.flatnonzero(row == C)
        if not (both[0].size and both[1].size):
            return
        inside, outside = (int(features[pick(features.size, rng)]) for features in both)
    row[inside], row[outside] = C, T


def _flip(rows: Codes, layer: NDArray[np.intp], feature: NDArray[np.intp]) -> None:
    flat, index = rows.reshape(-1), layer * rows.shape[1] + feature
    flat[index] = np.where(flat[index] == T, C, T)
