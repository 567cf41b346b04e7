"""Layouts that every operator is tried on, one line each."""

from __future__ import annotations

import numpy as np

from nfopt.evolution import (
    Category,
    EdgeBlock,
    Genome,
    Integer,
    Layout,
    MaskBlock,
    Real,
    Usage,
)

MIXED = (
    Integer(1, 6),
    Real(1e-4, 1e-2, log=True),
    Category(3),
    Integer(16, 256, log=True),
    Real(0.0, 0.3),
    Integer(1, 10, step=2),
    Real(0.0, 1.0, step=0.3),
    Category(1),
)
PER_LAYER = (Category(2), Integer(1, 4)) * 6
LAYER_OF = (*[-1] * len(MIXED), *[index // 2 for index in range(len(PER_LAYER))])


def couplings(values: tuple[int | float, ...]) -> Usage:
    """Only layers of kind 0 have a mask, and the second variable of a layer is of the others."""
    depth, kinds = int(values[0]), values[len(MIXED) :: 2]
    own = [flag for k, kind in enumerate(kinds) for flag in (k < depth, k < depth and kind == 1)]
    layers = tuple([k < depth and kind == 0 for k, kind in enumerate(kinds)])
    return Usage((*[True] * len(MIXED), *own), layers, all(kind == 0 for kind in kinds[:depth]))


def either(values: tuple[int | float, ...]) -> Usage:
    """As `couplings`; layers of kind 1 go by the edges."""
    usage, kinds = couplings(values), values[len(MIXED) :: 2]
    return usage._replace(edges=any(kind == 1 for kind in kinds[: int(values[0])]))


def by_kind(values: tuple[int | float, ...]) -> Usage:
    """As many masks as the first variable says, or edges, by the second one."""
    masks = values[1] == 0
    return Usage((), (), parts=(masks, masks and values[0] > 1, not masks))


PART_MASKS = Layout((), MaskBlock(1, 5, idle=True, cover=False))
PART_EDGES = Layout((), edges=EdgeBlock(4, 2, order=(2, 0, 3, 1)))

LAYOUTS: dict[str, Layout] = {
    "values": Layout(MIXED),
    "one category": Layout((Category(2),)),
    "pairs": Layout(MIXED, MaskBlock(6, 9, pairs=True, depth=0)),
    "odd pairs": Layout((Integer(1, 5), Category(2)), MaskBlock(5, 4, pairs=True, depth=0)),
    "masks": Layout(MIXED, MaskBlock(6, 9, depth=0)),
    "two features": Layout((Integer(1, 3),), MaskBlock(3, 2, depth=0)),
    "idle": Layout(MIXED, MaskBlock(6, 9, idle=True, depth=0, commute=True)),
    "masks alone": Layout((), MaskBlock(4, 12)),
    "layers": Layout((*MIXED, *PER_LAYER), layer_of=LAYER_OF, depth=0),
    "kinds and masks": Layout(
        (*MIXED, *PER_LAYER),
        MaskBlock(6, 7, pairs=True, depth=0),
        layer_of=LAYER_OF,
        usage=couplings,
    ),
    "kinds and single masks": Layout(
        (*MIXED, *PER_LAYER), MaskBlock(6, 7, depth=0), layer_of=LAYER_OF, usage=couplings
    ),
    "kinds, masks and edges": Layout(
        (*MIXED, *PER_LAYER),
        MaskBlock(6, 7, depth=0),
        EdgeBlock(7),
        layer_of=LAYER_OF,
        usage=either,
    ),
    "orders": Layout(MIXED, edges=EdgeBlock(9, 4, orders=True)),
    "orders, budget a variable": Layout(MIXED, edges=EdgeBlock(9, orders=True, limit=0)),
    "edges": Layout((), edges=EdgeBlock(9)),
    "edges under an order": Layout(MIXED, edges=EdgeBlock(6, 2, order=(3, 1, 0, 2, 5, 4))),
    "one feature": Layout((Real(0.0, 1.0),), edges=EdgeBlock(1, orders=True)),
    "parts": Layout(
        MIXED,
        MaskBlock(3, 6),
        parts=(PART_MASKS, Layout((), edges=EdgeBlock(5, orders=True)), PART_EDGES),
    ),
    "parts alone": Layout((), parts=(PART_EDGES, PART_EDGES, PART_MASKS)),
    "parts in use by kind": Layout(
        (Integer(1, 3), Category(2)),
        parts=(PART_MASKS, PART_MASKS, PART_EDGES),
        usage=by_kind,
    ),
    "all": Layout(MIXED, MaskBlock(6, 7, pairs=True, depth=0), EdgeBlock(7, 3, orders=True)),
}


def features(layout: Layout) -> int:
    """D, or 2 where there is no such thing."""
    block = layout.masks or layout.edges
    return block.features if block is not None else 2


def strengths(layout: Layout, rng: np.random.Generator) -> np.ndarray:
    """A symmetric matrix of dependences."""
    matrix = rng.gamma(0.5, size=(features(layout), features(layout)))
    matrix = matrix + matrix.T
    np.fill_diagonal(matrix, 0.0)
    return matrix


def same(a: Genome, b: Genome) -> bool:
    """Whether two genomes have the same arrays, not only the same key."""
    pairs = [(a.masks, b.masks), (a.order, b.order), (a.parents, b.parents)]
    return (
        a.values == b.values
        and all((x is None and y is None) or np.array_equal(x, y) for x, y in pairs)
        and all(same(x, y) for x, y in zip(a.parts, b.parts, strict=True))
    )
