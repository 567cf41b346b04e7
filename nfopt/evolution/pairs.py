"""The most dependent pairs of features, kept compactly: what a flow left, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST = 200
"""Pairs that are kept at most: a change of masks looks after a few of the worst."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Some pairs of D features and how strongly each depends; all others not at all.

    Attributes:
        features: D.
        first: The lower feature of each pair, shape (n,).
        second: The higher feature, shape (n,).
        strength: 0 or more, shape (n,).
    """

    features: int
    first: NDArray[np.int32]
    second: NDArray[np.int32]
    strength: NDArray[np.float32]

    @classmethod
    def of(cls, matrix: NDArray[np.floating], least: float = 0.0, most: int = MOST) -> Pairs:
        """Take the strongest pairs of a symmetric matrix, the strongest first.

        Args:
            matrix: Shape (D, D); only what is above the diagonal is looked at.
            least: A pair must be stronger than that.
            most: Pairs to take at most.
        """
        first, second = np.triu_indices(len(matrix), 1)
        values = np.nan_to_num(matrix[first, second])
        chosen = np.argsort(-values, kind="stable")[:most]
        chosen = chosen[values[chosen] > least]
        return cls(
            len(matrix),
            first[chosen].astype(np.int32),
            second[chosen].astype(np.int32),
            values[chosen].astype(np.float32),
        )

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.first)

    def matrix(self) -> NDArray[np.float64]:
        """Write them as a symmetric matrix, shape (D, D), 0 for all other pairs."""
        found = np.zeros((self.features, self.features))
        found[self.first, self.second] = found[self.second, self.first] = self.strength
        return found
