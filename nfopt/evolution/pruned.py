"""Estimates of the final values of pruned trials, from the completed ones that passed their rung.

A value at a rung is not comparable with a final value. So each rung keeps the completed trials
that passed it, sorted by their value there. A pruned trial's final value is estimated as its value
at the rung plus the median gain of the completed ones from there on, and never as better than the
final value of any completed one that was ahead of it at the rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass
class _Rung:
    """Completed trials that passed a rung, by their value there; an item is a genome's index."""

    values: Floats = field(default_factory=lambda: np.empty(0))
    items: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))


class Rungs:
    """Rungs of all completed trials, and the pruned ones between them."""

    def __init__(self) -> None:
        self._rungs: dict[int, _Rung] = {}
        self._pruned: list[tuple[int, int, float]] = []

    @property
    def any_pruned(self) -> bool:
        """Whether there is anything to estimate."""
        return bool(self._pruned)

    def completed(self, item: int, rungs: Mapping[int, float]) -> None:
        """Enter a completed trial of the genome `item`."""
        for step, value in rungs.items():
            if np.isfinite(value):
                rung = self._rungs.setdefault(step, _Rung())
                index = int(np.searchsorted(rung.values, value, side="right"))
                rung.values = np.insert(rung.values, index, value)
                rung.items = np.insert(rung.items, index, item)

    def pruned(self, item: int, rungs: Mapping[int, float]) -> None:
        """Enter a pruned trial of the genome `item`, by the last rung that it reached."""
        last = max(rungs, default=0)
        self._pruned.append((item, last, rungs.get(last, np.inf)))

    def estimates(self, final: Floats) -> tuple[NDArray[np.intp], Floats]:
        """Estimate the final values of the pruned trials.

        Args:
            final: The value of each genome, NaN where no trial completed, shape (N,).

        Returns:
            Genomes, and their values; a genome can be there more than once. One that was pruned
            at a rung that no completed trial passed counts as the worst that completed.
        """
        items = np.array([item for item, _, _ in self._pruned], dtype=np.intp)
        steps = np.array([step for _, step, _ in self._pruned])
        values = np.array([value for _, _, value in self._pruned])
        worst = float(np.nanmax(final)) if np.isfinite(final).any() else 0.0
        estimated = np.full(len(items), worst)
        for step in np.unique(steps):
            if (rung := self._rungs.get(int(step))) is None:
                continue
            here = np.flatnonzero(steps == step)
            finals = final[rung.items]
            gained = values[here] + np.median(finals - rung.values)
            # At index 0 it is ahead of all completed ones, so nothing bounds its estimate.
            behind = np.concatenate([[-np.inf], np.maximum.accumulate(finals)])
            ahead = np.searchsorted(rung.values, values[here], side="left")
            estimated[here] = np.minimum(np.maximum(gained, behind[ahead]), worst)
            estimated[here] = np.maximum(estimated[here], behind[ahead])
        return items, estimated
