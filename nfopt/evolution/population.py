"""The members: the best genomes, by the posterior.

With one objective all items are sorted each time. With several, a pool of the best is kept and new
items compete with it, as the cost of sorting all items into fronts grows with their square.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import ranking
from nfopt.evolution.history import FAILED, View

Ints = NDArray[np.intp]

CHUNK = 200
"""New items that compete with the pool at a time, where there are several objectives."""


class Population:
    """The best items, kept up to date."""

    def __init__(self) -> None:
        self._pool: Ints = np.empty(0, dtype=np.intp)

    def members(self, view: View, size: int, touched: set[int]) -> Ints:
        """The best items, the best first.

        Args:
            view: What is known.
            size: How many at most.
            touched: Items of which something was told since the last call.
        """
        if view.means.shape[1] > 1:
            self._update(view, size, touched)
            items = self._pool
        else:
            items = np.flatnonzero(view.ranked & (view.violation < FAILED))
        return best_of(view, items, size) if len(items) else items

    def _update(self, view: View, size: int, touched: set[int]) -> None:
        waiting = np.array(sorted(touched - set(self._pool.tolist())), dtype=np.intp)
        for start in range(0, len(waiting), CHUNK):
            items = np.concatenate([self._pool, waiting[start : start + CHUNK]])
            items = items[view.ranked[items] & (view.violation[items] < FAILED)]
            self._pool = best_of(view, items, 2 * size)


def best_of(view: View, items: Ints, size: int) -> Ints:
    """The best of some items, the best first."""
    means, violation = view.means[items], view.violation[items]
    if means.shape[1] == 1 and len(items) > 4 * size and np.count_nonzero(violation == 0) > size:
        # The others cannot be among the best, and sorting them takes long.
        values = np.where(violation == 0, means[:, 0], np.inf)
        items = items[np.sort(np.argpartition(values, size)[:size])]
        means, violation = view.means[items], view.violation[items]
    return items[ranking.order(means, violation)[:size]]
