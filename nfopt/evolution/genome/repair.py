"""Repair of a genome's arrays into their feasible, canonical form, and random draws of them.

Repair is deterministic and leaves feasible arrays unchanged. Masks follow `nfopt.masks.repair`;
an adjacency is kept acyclic under its order and within its parent budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nfopt import masks as letters
from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock
from nfopt.masks import Masks

C, I, T = (np.uint32(ord(letter)) for letter in "CIT")  # noqa: E741 - the letters are the names
Codes = NDArray[np.uint32]
"""Letters by their code points, shape (L, D): comparing numbers is five times as fast."""


def codes(masks: Masks) -> Codes:
    """View letters as code points, without a copy."""
    return np.ascontiguousarray(masks).view(np.uint32).reshape(masks.shape)


def from_codes(rows: Codes) -> Masks:
    """View code points as letters, without a copy."""
    return rows.view("<U1").reshape(rows.shape)


def complement(row: Codes) -> Codes:
    """The second layer of a pair: `T` where the first has `C`, `C` elsewhere."""
    return np.where(row == C, T, C)


SHARES = (0.2, 0.8)
"""Least and greatest share of `T` that is drawn for a layer."""

# -------------------------------------------------------------------------------------------- masks


def masks(given: Masks | None, block: MaskBlock, used: Sequence[bool], *, cover: bool) -> Masks:
    """Repair masks: allowed letters, valid layers, complements, coverage, canonical order.

    Args:
        given: Shape (L, D); missing layers and None are as if all `C`.
        block: What masks may be.
        used: For each layer whether it is active; inactive ones become all `C`. A pair with one
            active layer is kept as a whole, because the first one has the genes.
        cover: Whether every feature must be transformed and condition at least once.

    Returns:
        Shape (L, D), a new array.
    """
    rows = _padded(given, block)
    active, genes, inactive, covered = _roles(tuple(used), block.pairs)
    own = rows[::2] if block.pairs else rows
    if not block.idle and b"I" in rows.tobytes():
        own[own == I] = C
    transform = (own == T).sum(axis=1)
    others = (own == C).sum(axis=1) if block.idle else block.features - transform
    if not (transform.all() and others.all()):
        for layer in np.flatnonzero(genes & ((transform == 0) | (others == 0))):
            own[layer] = codes(letters.repair(from_codes(own[layer : layer + 1])))[0]
    if block.pairs:
        # C and T differ in the bits of C ^ T.
        np.bitwise_xor(rows[: len(rows) // 2 * 2 : 2], C ^ T, out=rows[1::2])
    if cover and not covered and not _covers(rows[active]):
        _cover(rows, active, block.pairs)
    if inactive.size:
        rows[inactive] = C
    if block.commute and block.idle:
        order = letters.canonical_order(from_codes(rows[active]))
        rows[active] = rows[active][order]
    return from_codes(rows)


def _padded(given: Masks | None, block: MaskBlock) -> Codes:
    """A copy as code points, with as many layers as there may be, shape (L, D)."""
    if given is not None and given.shape[1] != block.features:
        raise ValueError(f"`masks` must have {block.features} features, not {given.shape[1]}.")
    if given is not None and len(given) == block.layers:
        return codes(given).copy()
    rows = np.full((block.layers, block.features), C)
    if given is not None:
        rows[: len(given)] = codes(given)[: block.layers]
    return rows


class _Roles(NamedTuple):
    """What follows from which layers are active.

    Attributes:
        active: One flag a layer.
        genes: Whether genes are active, one flag a layer or, with pairs, one a pair.
        inactive: The layers without active genes.
        covered: Whether both layers of some pair are active, which covers every feature.
    """

    active: NDArray[np.bool_]
    genes: NDArray[np.bool_]
    inactive: NDArray[np.intp]
    covered: bool


@lru_cache(maxsize=256)
def _roles(used: tuple[bool, ...], pairs: bool) -> _Roles:
    active = np.array(used, dtype=bool)
    if not pairs:
        return _Roles(active, active, np.flatnonzero(~active), False)
    firsts, seconds = active[::2], np.append(active, False)[1::2][: len(active[::2])]
    genes = firsts | seconds
    inactive = np.flatnonzero(~np.repeat(genes, 2)[: len(active)])
    return _Roles(active, genes, inactive, bool((firsts & seconds).any()))


def _covers(rows: Codes) -> bool:
    """Whether each feature is transformed and conditions somewhere; not asked of one layer."""
    if len(rows) < 2:
        return True
    return bool((rows == T).any(axis=0).all() and (rows == C).any(axis=0).all())


def _cover(rows: Codes, active: NDArray[np.bool_], pairs: bool) -> None:
    """Repair the active layers together; with pairs, at most one layer of each is active."""
    rows[active] = codes(letters.repair(from_codes(rows[active])))
    if pairs:
        for layer in np.flatnonzero(active):
            other = layer ^ 1
            if other < len(rows):
                rows[other] = complement(rows[layer])


def drawn_masks(block: MaskBlock, rng: np.random.Generator) -> Masks:
    """Random letters, the share of `T` in each layer drawn from `SHARES`, shape (L, D).

    Balanced pairs are better flows in the mean, but so much alike that the surrogate learns little
    from them; see `studies/mask_table`.
    """
    shares = rng.uniform(*SHARES, size=(block.layers, 1))
    return from_codes(np.where(rng.random((block.layers, block.features)) < shares, T, C))


def filled(given: Masks, block: MaskBlock, used: Sequence[bool], rng: np.random.Generator) -> Masks:
    """Draw the active layers that are blank (all `C`), shape (L, D).

    With pairs, the first layer of a pair is drawn if either is active. Without, blank layers of
    even index are drawn, and the next one, if blank too, becomes the complement.
    """
    rows = codes(given)
    blank = (rows == C).all(axis=1)
    with_genes = np.array(used, dtype=bool)
    if block.pairs:
        with_genes[:-1:2] |= with_genes[1::2]
        with_genes[1::2] = False
    to_draw = np.flatnonzero(blank & with_genes)
    if not to_draw.size:
        return given
    rows = rows.copy()
    for layer in to_draw:
        if layer % 2 and layer - 1 in to_draw:
            rows[layer] = complement(rows[layer - 1])
        else:
            rows[layer] = balanced(block.features, rng)
    return from_codes(rows)


def balanced(features: int, rng: np.random.Generator) -> Codes:
    """Draw a layer with as many `T` as `C`, up to one with an odd D, shape (D,)."""
    extra = int(rng.random() * 2) * (features % 2)
    return np.where(rng.permutation(features) < features // 2 + extra, T, C)


# -------------------------------------------------------------------------------------------- edges


def edges(
    order: NDArray[np.intp] | None,
    parents: NDArray[np.bool_] | None,
    block: EdgeBlock,
    budget: int,
) -> tuple[NDArray[np.intp] | None, NDArray[np.bool_]]:
    """Repair an adjacency: a complete order, edges that follow it, no row beyond the budget.

    A row beyond the budget keeps the parents nearest before the feature in the order; without an
    order, those of the lowest index.

    Args:
        order: Each feature once, shape (D,); missing ones are appended, in ascending order.
        parents: Shape (D, D); None: no edges.
        block: What edges may be.
        budget: The greatest number of parents of a feature.

    Returns:
        The order, None where it is not searched, and the parents, new arrays.
    """
    size = block.features
    sequence = whole_order(order, size) if block.orders else None
    matrix = np.zeros((size, size), dtype=bool) if parents is None else parents.copy()
    if matrix.shape != (size, size):
        raise ValueError(f"`parents` must have shape ({size}, {size}), not {matrix.shape}.")
    matrix.flat[:: size + 1] = False
    followed = sequence if sequence is not None else block.order
    if followed is not None:
        position = np.empty(size, dtype=np.intp)
        position[np.asarray(followed)] = np.arange(size)
        matrix &= position[None, :] < position[:, None]
    else:
        position = np.arange(size)[::-1]
    if budget < size - 1:
        for row in np.flatnonzero(matrix.sum(axis=1) > budget):
            chosen = np.flatnonzero(matrix[row])
            nearest_first = chosen[np.argsort(-position[chosen], kind="stable")]
            matrix[row, nearest_first[budget:]] = False
    return sequence, matrix


def whole_order(order: NDArray[np.intp] | None, size: int) -> NDArray[np.intp]:
    """Keep the first mention of each feature, and append those that are missing, shape (D,)."""
    if order is None:
        return np.arange(size)
    given = np.asarray(order, dtype=np.intp)
    if len(given) == size and np.array_equal(np.sort(given), np.arange(size)):
        return given.copy()
    mentioned = dict.fromkeys(int(i) for i in given if 0 <= i < size)
    mentioned |= dict.fromkeys(range(size))
    return np.array(list(mentioned), dtype=np.intp)


def drawn_edges(
    block: EdgeBlock, budget: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp] | None, NDArray[np.bool_]]:
    """A random order and random parents, whose number is log-uniform up to the budget."""
    size = block.features
    order = rng.permutation(size) if block.orders else None
    followed = order if order is not None else block.order
    allowed = ~np.eye(size, dtype=bool)
    if followed is not None:
        position = np.argsort(np.asarray(followed))
        allowed &= position[None, :] < position[:, None]
    counts = np.exp(rng.random(size) * np.log(budget + 1)).astype(np.int64)
    lots = np.where(allowed, rng.random((size, size)), np.inf)
    rank = np.argsort(np.argsort(lots, axis=1), axis=1)
    return order, allowed & (rank < counts[:, None])
