"""Enumeration of small finite spaces, which tells when every genome has been tried."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Real, Variable

MAX_GENOMES = 2**14
"""The most genomes, before repair, that a space may have to be enumerated."""


def size(layout: Layout) -> float:
    """The number of genomes before repair; infinite with a real variable."""
    number = 1.0
    for variable in layout.variables:
        number *= float(min(variable.count, 2 * MAX_GENOMES))
    if layout.masks is not None:
        rows = (layout.masks.layers + 1) // 2 if layout.masks.pairs else layout.masks.layers
        number *= _power(3 if layout.masks.idle else 2, rows * layout.masks.features)
    if layout.edges is not None:
        number *= _power(2, layout.edges.features * (layout.edges.features - 1))
        if layout.edges.orders:
            number = np.inf
    for part in layout.parts:
        number *= size(part)
    return number


def all_genomes(layout: Layout) -> dict[bytes, Genome] | None:
    """All repaired genomes by their key; None if there are over `MAX_GENOMES` before repair."""
    if size(layout) > MAX_GENOMES:
        return None
    genomes: dict[bytes, Genome] = {}
    for genome in _unrepaired(layout):
        repaired = layout.repaired(genome)
        genomes.setdefault(repaired.key, repaired)
    return genomes


def _unrepaired(layout: Layout) -> Iterator[Genome]:
    for values in product(*(_values(variable) for variable in layout.variables)):
        for masks in _masks(layout):
            for order, parents in _edges(layout):
                for parts in product(*(_unrepaired(part) for part in layout.parts)):
                    yield Genome(values, masks, order, parents, parts)


def _masks(layout: Layout) -> Iterator[np.ndarray | None]:
    block = layout.masks
    if block is None:
        yield None
        return
    genes = range(0, block.layers, 2 if block.pairs else 1)
    for letters in product("CTI" if block.idle else "CT", repeat=len(genes) * block.features):
        masks = np.full((block.layers, block.features), "C", dtype="<U1")
        masks[genes] = np.array(letters).reshape(len(genes), block.features)
        yield masks


def _edges(layout: Layout) -> Iterator[tuple[np.ndarray | None, np.ndarray | None]]:
    block = layout.edges
    if block is None:
        yield None, None
        return
    order = None if block.order is None else np.array(block.order, dtype=np.intp)
    off = ~np.eye(block.features, dtype=bool)
    for edges in product((False, True), repeat=int(off.sum())):
        parents = np.zeros(off.shape, dtype=bool)
        parents[off] = edges
        yield order, parents


def _values(variable: Variable) -> list[int | float]:
    if isinstance(variable, Category):
        return list(range(variable.size))
    if isinstance(variable, Real) and variable.step is None:
        return [variable.low]
    step = variable.step or 1
    return [variable.nearest(variable.low + k * step) for k in range(int(variable.count))]


def _power(base: int, exponent: int) -> float:
    return float(base) ** exponent if exponent < 600 else np.inf
