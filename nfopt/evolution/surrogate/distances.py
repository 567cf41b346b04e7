"""Distances of genomes, by block of their features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.surrogate.features import Blocks

Floats = NDArray[np.float64]

SAME = 1e-6  # squared distance, as a share of the greatest, up to which genomes count as equal


class Distances:
    """Squared distances by block, scaled to a mean of 1 over the pairs of genomes that differ.

    Pairs that are equal in a block do not count in its scale: many genomes with the same masks must
    not make all other masks look far away.

    Args:
        blocks: Features of n genomes, by block, shape (n, features of the block).

    Attributes:
        names: Of the blocks.
        own: The blocks.
    """

    def __init__(self, blocks: Blocks) -> None:
        self.names = tuple(blocks)
        self._centres = {name: rows.mean(axis=0) for name, rows in blocks.items()}
        centred = {name: rows - self._centres[name] for name, rows in blocks.items()}
        self._scales = {}
        self.own = blocks
        self._matrices = {}
        for name, rows in centred.items():
            matrix = squares(rows.astype(float), rows.astype(float))
            apart = matrix > SAME * matrix.max()
            self._scales[name] = 1 / float(matrix[apart].mean()) if apart.any() else 0.0
            self._matrices[name] = self._scales[name] * matrix

    def gram(self, exponents: dict[str, float]) -> Floats:
        """The kernel between the genomes, shape (n, n)."""
        return np.exp(-sum(exponents[name] * part for name, part in self._matrices.items()))

    def rows(self, blocks: Blocks, exponents: dict[str, float]) -> Floats:
        """Points whose squared distances are the kernel's exponents, shape (q, features)."""
        parts = [
            (blocks[name] - self._centres[name]) * np.sqrt(exponents[name] * self._scales[name])
            for name in self.names
        ]
        return np.concatenate(parts, axis=1, dtype=float)


def squares(a: Floats, b: Floats) -> Floats:
    """Squared distances of points, shape (len(a), len(b))."""
    of_a, of_b = np.einsum("ij,ij->i", a, a), np.einsum("ij,ij->i", b, b)
    return np.asarray(np.maximum(of_a[:, None] + of_b - 2 * (a @ b.T), 0.0))
