"""What makes the arrays of a genome feasible and canonical, and draws them at random.

Repair is deterministic and leaves what is feasible as it is. Masks follow `nfopt.masks.repair`;
edges keep an adjacency acyclic under its order and within its budget.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nfopt import masks as letters
from nfopt.designs import complement_pairs
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
    """What the second layer of a pair has: `T` where the first has `C`, `C` elsewhere."""
    return np.where(row == C, T, C)


# -------------------------------------------------------------------------------------------- masks


def masks(given: Masks | None, block: MaskBlock, used: Sequence[bool], *, cover: bool) -> Masks:
    """Repair masks: letters that there are, valid layers, complements, coverage, canonical order.

    Args:
        given: Shape (L, D); missing layers and None are as if all `C`.
        block: What masks may be.
        used: For each layer whether it is in use; those that are not rest, all `C`. Of a pair of
            which one layer is in use both are kept, because the first one has the genes.
        cover: Whether every feature must be transformed and condition at least once.

    Returns:
        Shape (L, D), a new array.
    """
    rows = _padded(given, block)
    in_use, genes, rest, covered = _roles(tuple(used), block.pairs)
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
    if cover and not covered and not _covers(rows[in_use]):
        _cover(rows, in_use, block.pairs)
    if rest.size:
        rows[rest] = C
    if block.commute and block.idle:
        order = letters.canonical_order(from_codes(rows[in_use]))
        rows[in_use] = rows[in_use][order]
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
    """What follows from which layers are in use.

    Attributes:
        in_use: One flag a layer.
        genes: Whether genes are in use, one flag a layer or, with pairs, one a pair.
        rest: The layers that rest.
        covered: Whether a pair is in use as a whole, which covers every feature.
    """

    in_use: NDArray[np.bool_]
    genes: NDArray[np.bool_]
    rest: NDArray[np.intp]
    covered: bool


@lru_cache(maxsize=256)
def _roles(used: tuple[bool, ...], pairs: bool) -> _Roles:
    in_use = np.array(used, dtype=bool)
    if not pairs:
        return _Roles(in_use, in_use, np.flatnonzero(~in_use), False)
    firsts, seconds = in_use[::2], np.append(in_use, False)[1::2][: len(in_use[::2])]
    genes = firsts | seconds
    rest = np.flatnonzero(~np.repeat(genes, 2)[: len(in_use)])
    return _Roles(in_use, genes, rest, bool((firsts & seconds).any()))


def _covers(rows: Codes) -> bool:
    """Whether some layer transforms each feature and some conditions on it; one layer cannot."""
    if len(rows) < 2:
        return True
    return bool((rows == T).any(axis=0).all() and (rows == C).any(axis=0).all())


def _cover(rows: Codes, in_use: NDArray[np.bool_], pairs: bool) -> None:
    """Repair the layers in use together; with pairs, none of them is in use as a whole."""
    rows[in_use] = codes(letters.repair(from_codes(rows[in_use])))
    if pairs:
        for layer in np.flatnonzero(in_use):
            other = layer ^ 1
            if other < len(rows):
                rows[other] = complement(rows[layer])


def drawn_masks(block: MaskBlock, rng: np.random.Generator) -> Masks:
    """Random balanced layers, each followed by its complement, shape (L, D)."""
    return complement_pairs(block.layers, block.features, rng)


def filled(given: Masks, block: MaskBlock, used: Sequence[bool], rng: np.random.Generator) -> Masks:
    """Draw the layers in use that are blank, all `C`, shape (L, D).

    With pairs the first layer of a pair is drawn if either is in use; without, a blank layer after
    an even number of layers is drawn, and the next, if blank too, is its complement.
    """
    rows = codes(given)
    blank = (rows == C).all(axis=1)
    wanted = np.array(used, dtype=bool)
    if block.pairs:
        wanted[:-1:2] |= wanted[1::2]
        wanted[1::2] = False
    found = np.flatnonzero(blank & wanted)
    if not found.size:
        return given
    rows = rows.copy()
    for layer in found:
        if layer % 2 and layer - 1 in found:
            rows[layer] = complement(rows[layer - 1])
        else:
            rows[layer] = balanced(block.features, rng)
    return from_codes(rows)


def balanced(features: int, rng: np.random.Generator) -> Codes:
    """Draw a layer with as many `T` as `C`; of an odd number either may be the more, shape (D,)."""
    greater = int(rng.random() * 2) * (features % 2)
    return np.where(rng.permutation(features) < features // 2 + greater, T, C)


# -------------------------------------------------------------------------------------------- edges


def edges(
    order: NDArray[np.intp] | None,
    parents: NDArray[np.bool_] | None,
    block: EdgeBlock,
    budget: int,
) -> tuple[NDArray[np.intp] | None, NDArray[np.bool_]]:
    """Repair an adjacency: a whole order, edges that follow it, no row beyond the budget.

    Of a row beyond the budget the parents nearest before the feature in the order stay; without an
    order, those of the lowest index.

    Args:
        order: Each feature once, shape (D,); what is missing is added, in ascending order.
        parents: Shape (D, D); None is as if without edges.
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
        place = np.empty(size, dtype=np.intp)
        place[np.asarray(followed)] = np.arange(size)
        matrix &= place[None, :] < place[:, None]
    else:
        place = np.arange(size)[::-1]
    if budget < size - 1:
        for row in np.flatnonzero(matrix.sum(axis=1) > budget):
            chosen = np.flatnonzero(matrix[row])
            matrix[row, chosen[np.argsort(-place[chosen], kind="stable")[budget:]]] = False
    return sequence, matrix


def whole_order(order: NDArray[np.intp] | None, size: int) -> NDArray[np.intp]:
    """Keep the first mention of each feature, and add those that are missing, shape (D,)."""
    if order is None:
        return np.arange(size)
    found = np.asarray(order, dtype=np.intp)
    if len(found) == size and np.array_equal(np.sort(found), np.arange(size)):
        return found.copy()
    kept = dict.fromkeys(int(i) for i in found if 0 <= i < size)
    kept |= dict.fromkeys(range(size))
    return np.array(list(kept), dtype=np.intp)


def drawn_edges(
    block: EdgeBlock, budget: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp] | None, NDArray[np.bool_]]:
    """A random order and random parents: how many has log-uniform density up to the budget."""
    size = block.features
    order = rng.permutation(size) if block.orders else None
    followed = order if order is not None else block.order
    allowed = ~np.eye(size, dtype=bool)
    if followed is not None:
        place = np.argsort(np.asarray(followed))
        allowed &= place[None, :] < place[:, None]
    wanted = np.exp(rng.random(size) * np.log(budget + 1)).astype(np.int64)
    lottery = np.where(allowed, rng.random((size, size)), np.inf)
    rank = np.argsort(np.argsort(lottery, axis=1), axis=1)
    return order, allowed & (rank < wanted[:, None])
