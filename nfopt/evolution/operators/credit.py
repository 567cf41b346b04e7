"""How often each operator is used: by how much it improves on parents, with a floor.

Probability matching (Thierens 2005) on decayed credits. A child's credit is how far it gets from
its better parent's rank to the first, so that neither the objective's scale nor single wild values
count. An operator's quality is shrunk towards the mean of all times its weight in the table: what
has hardly been tried is used as often as the table says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FLOOR = 0.3
"""The share of the use that goes by the weights alone, whatever the success."""

DECAY = 0.99
"""What a credit is still worth after one more of any operator."""

PRIOR = 10.0
"""Tries that the prior quality of an operator counts for."""

BASE = 0.05
"""Mean credit expected before any is known."""


class Rates:
    """Success-adapted rates of operators.

        rates = Rates({"swap": 2.0, "flips": 1.0})
        rates.probabilities(("swap", "flips"))    # 2/3, 1/3
        rates.tell("swap", credit(child, parent, population))

    Args:
        weights: For each operator how often it is used at first.
        adapt: Whether success counts; if not, the weights are all.
    """

    def __init__(self, weights: Mapping[str, float], *, adapt: bool = True) -> None:
        self._index = {name: index for index, name in enumerate(weights)}
        self._weights = np.array(list(weights.values()), dtype=np.float64)
        self._adapt = adapt
        self._credit = np.zeros(len(weights))
        self._tried = np.zeros(len(weights))

    def tell(self, name: str, credit: float, share: float = 1.0) -> None:
        """Count a child; names that are not in the table are ignored.

        Args:
            name: The operator that made it.
            credit: From 0 (no better than its better parent) to 1; see `credit`.
            share: What the operator had to do with it, where several made the child.
        """
        index = self._index.get(name)
        if index is None:
            return
        self._credit *= DECAY**share
        self._tried *= DECAY**share
        self._credit[index] += share * credit
        self._tried[index] += share

    def probabilities(self, names: Sequence[str]) -> NDArray[np.float64]:
        """How often each of some operators is drawn among them, shape (len(names),)."""
        chosen = [self._index[name] for name in names]
        weights = self._weights[chosen] / self._weights[chosen].sum()
        if not self._adapt:
            return np.asarray(weights)
        tried, credit = self._tried[chosen], self._credit[chosen]
        mean = (credit.sum() + BASE * PRIOR) / (tried.sum() + PRIOR)
        prior = mean * weights * len(chosen)
        quality = (credit + PRIOR * prior) / (tried + PRIOR)
        return np.asarray(FLOOR * weights + (1 - FLOOR) * quality / quality.sum())


def credit(child: float, parent: float, population: NDArray[np.float64]) -> float:
    """Of the members no worse than the better parent the share that the child is better than.

    It is 1 for a child better than all, 0 for one that is not better than its better parent.

    Args:
        child: Its value, to be minimised; with noise its posterior mean, in which half of a lucky
            run's advantage, or more, is gone.
        parent: The better parent's.
        population: The values of the members, shape (n,), the parent's among them.
    """
    if not child < parent:
        return 0.0
    ahead = int(np.count_nonzero(population <= parent))
    beaten = int(np.count_nonzero((population > child) & (population <= parent)))
    return beaten / ahead if ahead else 1.0


def gained(
    child: NDArray[np.float64], parents: NDArray[np.float64], population: NDArray[np.float64]
) -> float:
    """The credit of a child; with several objectives 1 if no parent is as good in all of them.

    Args:
        child: Its values, to be minimised, shape (m,).
        parents: Shape (p, m).
        population: Of the members, shape (n, m).
    """
    if len(child) == 1:
        return credit(float(child[0]), float(parents.min()), population[:, 0])
    return float(not (parents <= child).all(axis=1).any() and (child <= parents).any(axis=1).all())
