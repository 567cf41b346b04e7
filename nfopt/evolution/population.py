"""The members: the best genomes of each kin, by the posterior.

With one objective all items are looked at anew each time. With several, a pool of the best is kept
and what is new competes with it: sorting all of them into fronts would grow with their square.
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
        """The best items, the best first; kins are mixed by rank, each in its share.

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
        groups = [items]
        if len(view.kins) > 1:
            groups = [items[view.kin[items] == kin] for kin in range(len(view.kins))]
        best = [best_of(view, group, size) for group in groups if len(group)]
        if len(best) <= 1:
            return best[0] if best else np.empty(0, dtype=np.intp)
        # The r-th of n has the place r / n, whatever its kin's values are.
        counts = [len(group) for group in groups if len(group)]
        pairs = zip(best, counts, strict=True)
        places = np.concatenate([(np.arange(len(b)) + 0.5) / n for b, n in pairs])
        return np.concatenate(best)[np.argsort(places, kind="stable")][:size]

    def _update(self, view: View, size: int, touched: set[int]) -> None:
        waiting = np.array(sorted(touched - set(self._pool.tolist())), dtype=np.intp)
        for start in range(0, len(waiting), CHUNK):
            items = np.concatenate([self._pool, waiting[start : start + CHUNK]])
            items = items[view.ranked[items] & (view.violation[items] < FAILED)]
            kept = [
                best_of(view, items[view.kin[items] == kin], 2 * size)
                for kin in range(len(view.kins))
            ]
            self._pool = np.concatenate(kept)


def best_of(view: View, items: Ints, size: int) -> Ints:
    """The best of some items of one kin, the best first."""
    means, violation = view.means[items], view.violation[items]
    if means.shape[1] == 1 and len(items) > 4 * size and np.count_nonzero(violation == 0) > size:
        # The rest cannot be among them, and sorting it takes long.
        values = np.where(violation == 0, means[:, 0], np.inf)
        items = items[np.sort(np.argpartition(values, size)[:size])]
        means, violation = view.means[items], view.violation[items]
    return items[ranking.order(means, violation)[:size]]
