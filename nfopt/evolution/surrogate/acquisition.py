"""Which genome is run: the screening model, when it learns, from what, and how it decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import posterior, ranking
from nfopt.evolution.genome.genome import Genome, Layout
from nfopt.evolution.history import FAILED, View
from nfopt.evolution.settings import Settings
from nfopt.evolution.surrogate.gp import Screen

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

WINDOW = 200
"""The most genomes that the model learns from: half of them the best, half the latest."""

LEAST = 10
"""The fewest that it learns from."""

GROWTH = 0.1
"""The model learns anew after so many more runs, in shares of the genomes that it learns from."""

LEAST_MISSED = 0.05
"""The least that genomes differ from what the model says of them, in shares of their spread."""

PRUNED = 0.5
"""How many completed runs the estimate of a pruned one is worth."""

VARIED = 1 / 3
"""By how much of itself the bound is more or less bold, from ask to ask."""

NEWS = 40
"""The most genomes told since the model learnt, and the most running, that it hears of."""


class Judge:
    """Ranks genomes by the screening model, where it predicts.

    Args:
        layout: What genomes look like.
        settings: From which R2 on to screen, and whether to shrink.

    Attributes:
        learnt: Runs that had finished when the model learnt last.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.screen = Screen(layout, settings.least_r2)
        self._shrink = settings.shrink
        self._explore = settings.explore
        self.learnt = 0
        self._heard: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._objectives = 1
        self._spans: Floats = np.ones(1)
        self._worst: Floats = np.zeros(1)
        self._stopped: Floats = np.full(1, -np.inf)
        self._tolerance = 0.0
        self._items: Ints = np.empty(0, dtype=np.intp)
        self._predicted = np.empty((0, 1))

    @property
    def usable(self) -> bool:
        """Whether the model predicts."""
        return self.screen.usable

    def learn(self, view: View, genomes: Sequence[Genome], finished: int) -> None:
        """Fit the model anew, if there are enough new runs; what failed is as bad as the worst.

        What was only pruned is no better than the median of what completed.

        Args:
            view: What is known of the items.
            genomes: The items.
            finished: Runs so far.
        """
        items = np.flatnonzero(view.ranked)
        good = np.count_nonzero(view.violation[items] < FAILED)
        if good < LEAST or finished - self.learnt < GROWTH * min(len(items), WINDOW):
            return
        self.learnt = finished
        self._heard = view.ranked.copy()
        self._objectives = view.raw.shape[1]
        items = _window(view, items)
        failed = view.violation[items] >= FAILED
        values = view.raw[items]
        values[failed] = values[~failed].max(axis=0)
        if (complete := view.runs[items] > 0).any():  # whoever stopped a run knew why
            self._stopped = np.median(values[complete], axis=0)
            values[~complete] = np.maximum(values[~complete], self._stopped)
        self._spans, self._worst = np.ptp(values, axis=0), values.max(axis=0)
        over = np.where(failed, np.median(view.violation[items][~failed]), view.violation[items])
        if (over > 0).any():
            self._tolerance = 0.5 * float(np.median(over[over > 0]))
            values = np.concatenate([values, over[:, None]], axis=1)
        weights = np.where(view.runs[items] > 0, view.runs[items], PRUNED).astype(float)
        self.screen.fit([genomes[i] for i in items.tolist()], values, weights, self._objectives)
        self._items = items
        self._predicted = (values - self.screen.errors)[:, : self._objectives]

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
            prior = np.concatenate([prior, told])
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

    def hear(self, view: View, genomes: Sequence[Genome], running: Sequence[int]) -> None:
        """Take in what was told or begun since the model learnt, without a new fit.

        Args:
            view: What is known of the items.
            genomes: The items.
            running: Items of the running records.
        """
        if not self.usable:
            return
        unheard = view.ranked.copy()
        unheard[: len(self._heard)] &= ~self._heard
        new = np.flatnonzero(unheard)[-NEWS:]
        begun = [item for item in dict.fromkeys(running) if not view.ranked[item]][-NEWS:]
        items = np.concatenate([new, np.array(begun, dtype=np.intp)])
        values = np.full((len(items), self.screen.columns), np.nan)
        failed = view.violation[new] >= FAILED
        raw = np.where(failed[:, None], self._worst, view.raw[new])
        raw = np.where(view.runs[new, None] > 0, raw, np.maximum(raw, self._stopped))
        values[: len(new), : self._objectives] = np.minimum(raw, self._worst)
        if self.screen.columns > self._objectives:
            values[: len(new), self._objectives] = np.where(failed, 0.0, view.violation[new])
        weights = np.where(view.runs[items] > 0, view.runs[items], PRUNED).astype(float)
        weights[len(new) :] = 1.0
        self.screen.hear([genomes[i] for i in items.tolist()], values, weights)

    def goal(self, rng: np.random.Generator) -> Floats:
        """What each objective counts now, shape (m,): another share of each time."""
        return rng.dirichlet(np.ones(self._objectives)) if self._objectives > 1 else np.ones(1)

    def boldness(self, rng: np.random.Generator) -> float:
        """Standard deviations below the mean that count now: `explore` by up to a third off."""
        return self._explore * float(rng.uniform(1 - VARIED, 1 + VARIED))

    def scores(self, genomes: Sequence[Genome], boldness: float) -> Floats:
        """How good genomes may well be, shape (n, columns): so many deviations below the mean."""
        means, sds = self.screen.expect(genomes)
        objectives = self._objectives
        means[:, :objectives] -= boldness * sds[:, :objectives]
        return means

    def order(self, scores: Floats, goal: Floats) -> Ints:
        """Sort genomes by their scores, the most promising first."""
        values, violation = scores[:, : self._objectives], np.zeros(len(scores))
        if scores.shape[1] > self._objectives:
            # The best lie at the edge of what is feasible, where the model is not that exact.
            violation = scores[:, self._objectives] - self._tolerance
        if self._objectives > 1:
            values = _towards_a_goal(values, self._spans, goal)
        return ranking.order(values, violation)

    def best(self, genomes: Sequence[Genome], rng: np.random.Generator) -> Genome:
        """The most promising of some genomes; the first where the model does not predict."""
        if len(genomes) == 1 or not self.usable:
            return genomes[0]
        scores = self.scores(genomes, self.boldness(rng))
        return genomes[int(self.order(scores, self.goal(rng))[0])]


def _window(view: View, items: Ints) -> Ints:
    """At most `WINDOW` items: the latest, and the best of the others."""
    if len(items) <= WINDOW:
        return items
    latest, others = items[-WINDOW // 2 :], items[: -WINDOW // 2]
    score = np.where(view.violation[others] < FAILED, view.means[others].sum(axis=1), np.inf)
    best = others[np.argpartition(score, WINDOW // 2)[: WINDOW // 2]]
    return np.concatenate([best, latest])


def _towards_a_goal(values: Floats, spans: Floats, goal: Floats) -> Floats:
    """Several objectives as one: augmented Chebyshev distance with weights (Knowles 2006)."""
    scaled = (values - values.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    weighted = scaled * goal
    return np.asarray((weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))[:, None])
