"""Which child is run: the screening model, when it learns, from what, and how it decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import posterior, ranking
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

LEAST_MISSED = 0.05
"""The least that genomes differ from what the model says of them, in shares of their spread."""

PRUNED = 0.5
"""How many completed runs the estimate of a pruned one is worth."""


class Judge:
    """Ranks children by the screening model, or, where it does not predict, takes the first.

    Args:
        layout: What genomes look like.
        settings: From which R2 on to screen, and whether to shrink.

    Attributes:
        learnt: Runs that had finished when the model learnt last.
        asked: Children chosen.
        used: Children chosen by the model.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.screen = Screen(layout, settings.least_r2)
        self._shrink = settings.shrink
        self.learnt = 0
        self.asked = 0
        self.used = 0
        self._heard: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._objectives = 1
        self._spans: Floats = np.ones(1)
        self._tolerance = 0.0
        self._items: Ints = np.empty(0, dtype=np.intp)
        self._predicted = np.empty((0, 1))
        self._shift: Floats = np.zeros((1, 1))

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
        if len(items) < LEAST or finished - self.learnt < GROWTH * min(len(items), WINDOW):
            return
        self.learnt = finished
        self._heard = view.ranked.copy()
        self._objectives = view.raw.shape[1]
        items = _window(view, items)
        values = view.raw[items]
        shift = np.zeros((len(view.kins), self._objectives))
        for kin in range(1, len(view.kins)):  # kins are level with each other
            mine = view.kin[items] == kin
            if mine.any() and not mine.all():
                shift[kin] = values[~mine].mean(axis=0) - values[mine].mean(axis=0)
        values += shift[view.kin[items]]
        self._spans = np.ptp(values, axis=0)
        over = view.violation[items]
        if (over > 0).any():
            self._tolerance = 0.5 * float(np.median(over[over > 0]))
            values = np.concatenate([values, over[:, None]], axis=1)
        weights = np.where(view.runs[items] > 0, view.runs[items], PRUNED).astype(float)
        self.screen.fit([genomes[i] for i in items.tolist()], values, weights, self._objectives)
        fitted = (values - self.screen.errors)[:, : self._objectives]
        self._items, self._shift = items, shift
        self._predicted = fitted - shift[view.kin[items]]

    def refined(self, view: View, genomes: Sequence[Genome]) -> View:
        """Shrink towards what the model says of a genome from all others, where it predicts.

        Of genomes told since it learnt it says what it predicts; those beyond its window keep the
        posterior that they have.
        """
        if not self.usable or not self._shrink or not (view.noise > 0).any():
            return view
        items, prior = self._items, self._predicted
        unheard = view.ranked.copy()
        unheard[: len(self._heard)] &= ~self._heard
        new = np.flatnonzero(unheard)
        if len(new):
            told = self.screen.predict([genomes[i] for i in new.tolist()])[:, : self._objectives]
            items = np.concatenate([items, new])
            shift = self._shift[np.minimum(view.kin[new], len(self._shift) - 1)]
            prior = np.concatenate([prior, told - shift])
        complete = view.runs[items] > 0  # a pruned one must stay behind those that were ahead
        items, prior = items[complete], prior[complete]
        runs, missed = view.runs[items], view.raw[items] - prior
        means, sds = view.means.copy(), view.sds.copy()
        for column, noise in enumerate(view.noise):
            own = float(np.mean(missed[:, column] ** 2) - noise * np.mean(1 / runs))
            spread = max(own, LEAST_MISSED * float(view.spread[column]))
            means[items, column], sds[items, column] = posterior.shrink(
                view.raw[items, column], runs, prior[:, column], float(noise), spread
            )
        return replace(view, means=means, sds=sds)

    def choose(self, children: Sequence[Child], rng: np.random.Generator) -> Child:
        """The most promising child."""
        self.asked += 1
        if len(children) == 1 or not self.usable:
            return children[0]
        self.used += 1
        predicted = self.screen.predict([child.genome for child in children])
        values, violation = predicted[:, : self._objectives], np.zeros(len(children))
        if predicted.shape[1] > self._objectives:
            # The best lie at the edge of what is feasible, where the model is not that exact.
            violation = predicted[:, self._objectives] - self._tolerance
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
