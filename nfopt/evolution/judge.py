"""Which child is run: the screening model, when it learns, from what, and how it decides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import ranking
from nfopt.evolution.genome import Genome, Layout
from nfopt.evolution.history import FAILED, View
from nfopt.evolution.mating import Child
from nfopt.evolution.screening import Screen
from nfopt.evolution.settings import Settings

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

WINDOW = 200
"""The most genomes that the model learns from: half of them the best, half the latest."""

LEAST = 10
"""The fewest that it learns from."""

GROWTH = 0.08
"""The model learns anew after so many more runs, in shares of the genomes that it learns from."""

PRUNED = 0.5
"""How many completed runs the estimate of a pruned one is worth."""


class Judge:
    """Ranks children by the screening model, or, where it does not predict, takes the first.

    Args:
        layout: What genomes look like.
        settings: Whether to screen, and from which R2 on.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.screen = Screen(layout, settings.least_r2)
        self.asked = 0
        self.used = 0
        self._learnt = 0
        self._objectives = 1
        self._spans: Floats = np.ones(1)

    @property
    def usable(self) -> bool:
        """Whether the model predicts."""
        return self.screen.usable

    def learn(self, view: View, genomes: Sequence[Genome], finished: int) -> None:
        """Fit the model anew, if there are enough new runs.

        Args:
            view: What is known of the items.
            genomes: The items.
            finished: Runs so far.
        """
        items = np.flatnonzero(view.ranked & (view.violation < FAILED))
        if len(items) < LEAST or finished - self._learnt < GROWTH * min(len(items), WINDOW):
            return
        self._learnt = finished
        self._objectives = view.raw.shape[1]
        items = _window(view, items)
        values = view.raw[items]
        for kin in range(1, len(view.kins)):  # kins are level with each other
            mine = view.kin[items] == kin
            if mine.any() and not mine.all():
                values[mine] += values[~mine].mean(axis=0) - values[mine].mean(axis=0)
        self._spans = np.ptp(values, axis=0)
        if (view.violation[items] > 0).any():
            values = np.concatenate([values, view.violation[items][:, None]], axis=1)
        weights = np.where(view.runs[items] > 0, view.runs[items], PRUNED).astype(float)
        self.screen.fit([genomes[i] for i in items.tolist()], values, weights, self._objectives)

    def choose(self, children: Sequence[Child], rng: np.random.Generator) -> Child:
        """The most promising child."""
        self.asked += 1
        if len(children) == 1 or not self.usable:
            return children[0]
        self.used += 1
        predicted = self.screen.predict([child.genome for child in children])
        values, violation = predicted[:, : self._objectives], np.zeros(len(children))
        if predicted.shape[1] > self._objectives:
            violation = predicted[:, self._objectives]
        if self._objectives > 1:
            values = _towards_a_goal(values, self._spans, rng)
        return children[int(ranking.order(values, violation)[0])]


def _window(view: View, items: Ints) -> Ints:
    """At most `WINDOW` items: the latest, and the best of the others."""
    if len(items) <= WINDOW:
        return items
    latest, others = items[-WINDOW // 2 :], items[: -WINDOW // 2]
    score = view.means[others].sum(axis=1)
    best = others[np.argpartition(score, WINDOW // 2)[: WINDOW // 2]]
    return np.concatenate([best, latest])


def _towards_a_goal(values: Floats, spans: Floats, rng: np.random.Generator) -> Floats:
    """Several objectives as one: augmented Chebyshev distance, weights drawn (Knowles 2006)."""
    scaled = (values - values.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    weighted = scaled * rng.dirichlet(np.ones(values.shape[1]))
    return np.asarray((weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))[:, None])
