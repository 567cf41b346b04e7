"""Which genome is run: when the surrogate is fitted, to which genomes, and its lower bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import posterior, ranking
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.history import FAILED, View
from nfopt.evolution.settings import Settings
from nfopt.evolution.surrogate.gp import Surrogate

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

WINDOW = 200
"""The most genomes that the surrogate is fitted to: half of them the best, half the latest."""

MIN_GENOMES = 10
"""The fewest genomes that it is fitted to."""

REFIT_GROWTH = 0.1
"""New runs after which it is fitted again, as a share of the genomes that it is fitted to."""

MIN_RESIDUAL = 0.05
"""Least variance of the true values around their predictions, as a share of the spread."""

PRUNED_WEIGHT = 0.5
"""Weight of the estimated value of a pruned run, in completed runs."""

EXPLORATION_RANGE = 1 / 3
"""Range of the exploration factor from ask to ask, as a share of it, upwards and downwards."""

MAX_CONDITIONED = 40
"""The most genomes told since the fit, and the most running ones, that it is conditioned on."""


class Acquisition:
    """Ranks genomes by lower confidence bounds of the surrogate, where it predicts.

    Args:
        layout: What genomes look like.
        settings: From which R2 on the surrogate is used, and whether to shrink.

    Attributes:
        fitted_at: Runs that had finished at the last fit.
    """

    def __init__(self, layout: Layout, settings: Settings) -> None:
        self.surrogate = Surrogate(layout, settings.least_r2)
        self._shrink = settings.shrink
        self._explore = settings.explore
        self.fitted_at = 0
        self._known_at_fit: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self._objectives = 1
        self._spans: Floats = np.ones(1)
        self._worst: Floats = np.zeros(1)
        self._pruned_bound: Floats = np.full(1, -np.inf)
        self._tolerance = 0.0
        self._items: Ints = np.empty(0, dtype=np.intp)
        self._predicted = np.empty((0, 1))

    @property
    def usable(self) -> bool:
        """Whether the surrogate predicts well enough to be used."""
        return self.surrogate.usable

    def fit(self, view: View, genomes: Sequence[Genome], finished: int) -> None:
        """Fit the surrogate again, if there are enough new runs.

        Failed genomes count as the worst that completed; those that were only pruned as no better
        than the median of the completed ones.

        Args:
            view: What is known of the items.
            genomes: The items.
            finished: Runs so far.
        """
        items = np.flatnonzero(view.ranked)
        good = np.count_nonzero(view.violation[items] < FAILED)
        if good < MIN_GENOMES or finished - self.fitted_at < REFIT_GROWTH * min(len(items), WINDOW):
            return
        self.fitted_at = finished
        self._known_at_fit = view.ranked.copy()
        self._objectives = view.raw.shape[1]
        items = _window(view, items)
        failed = view.violation[items] >= FAILED
        values = view.raw[items]
        values[failed] = values[~failed].max(axis=0)
        if (complete := view.runs[items] > 0).any():  # the pruner had its reasons
            self._pruned_bound = np.median(values[complete], axis=0)
            values[~complete] = np.maximum(values[~complete], self._pruned_bound)
        self._spans, self._worst = np.ptp(values, axis=0), values.max(axis=0)
        violation = view.violation[items]
        violation = np.where(failed, np.median(violation[~failed]), violation)
        if (violation > 0).any():
            self._tolerance = 0.5 * float(np.median(violation[violation > 0]))
            values = np.concatenate([values, violation[:, None]], axis=1)
        weights = np.where(view.runs[items] > 0, view.runs[items], PRUNED_WEIGHT).astype(float)
        self.surrogate.fit([genomes[i] for i in items.tolist()], values, weights, self._objectives)
        self._items = items
        self._predicted = (values - self.surrogate.errors)[:, : self._objectives]

    def refined(self, view: View, genomes: Sequence[Genome]) -> View:
        """Shrink the means towards the surrogate's predictions, where it is usable.

        A genome of the fit is predicted from all others (leave-one-out), one told since then by
        the fit itself; genomes beyond the window keep the posterior that they have.
        """
        if not self.usable or not self._shrink or not (view.noise > 0).any():
            return view
        items, prior = self._items, self._predicted
        new = self._since_fit(view)
        if len(new):
            predicted = self.surrogate.predict([genomes[i] for i in new.tolist()])
            items = np.concatenate([items, new])
            prior = np.concatenate([prior, predicted[:, : self._objectives]])
        complete = view.runs[items] > 0  # pruned ones must stay behind those that were ahead
        items, prior = items[complete], prior[complete]
        runs, residual = view.runs[items], view.raw[items] - prior
        means, sds = view.means.copy(), view.sds.copy()
        for column, noise in enumerate(view.noise):
            variance = float(np.mean(residual[:, column] ** 2) - noise * np.mean(1 / runs))
            spread = max(variance, MIN_RESIDUAL * float(view.spread[column]))
            means[items, column], sds[items, column] = posterior.shrink(
                view.raw[items, column], runs, prior[:, column], float(noise), spread
            )
        return replace(view, means=means, sds=sds)

    def condition(self, view: View, genomes: Sequence[Genome], running: Sequence[int]) -> None:
        """Condition the surrogate on what was told or begun since the fit, without a new fit.

        Args:
            view: What is known of the items.
            genomes: The items.
            running: Items of the running records.
        """
        if not self.usable:
            return
        new = self._since_fit(view)[-MAX_CONDITIONED:]
        begun = [item for item in dict.fromkeys(running) if not view.ranked[item]][
            -MAX_CONDITIONED:
        ]
        items = np.concatenate([new, np.array(begun, dtype=np.intp)])
        values = np.full((len(items), self.surrogate.columns), np.nan)
        failed = view.violation[new] >= FAILED
        raw = np.where(failed[:, None], self._worst, view.raw[new])
        raw = np.where(view.runs[new, None] > 0, raw, np.maximum(raw, self._pruned_bound))
        values[: len(new), : self._objectives] = np.minimum(raw, self._worst)
        if self.surrogate.columns > self._objectives:
            values[: len(new), self._objectives] = np.where(failed, 0.0, view.violation[new])
        weights = np.where(view.runs[items] > 0, view.runs[items], PRUNED_WEIGHT).astype(float)
        weights[len(new) :] = 1.0
        self.surrogate.condition([genomes[i] for i in items.tolist()], values, weights)

    def _since_fit(self, view: View) -> Ints:
        """Items of which something was told only after the fit."""
        new = view.ranked.copy()
        new[: len(self._known_at_fit)] &= ~self._known_at_fit
        return np.flatnonzero(new)

    def objective_weights(self, rng: np.random.Generator) -> Floats:
        """Random weights of the objectives for one ask, shape (m,), uniform on the simplex."""
        return rng.dirichlet(np.ones(self._objectives)) if self._objectives > 1 else np.ones(1)

    def exploration(self, rng: np.random.Generator) -> float:
        """The exploration factor of one ask: `explore`, varied by up to a third."""
        return self._explore * float(rng.uniform(1 - EXPLORATION_RANGE, 1 + EXPLORATION_RANGE))

    def scores(self, genomes: Sequence[Genome], exploration: float) -> Floats:
        """Lower confidence bounds, shape (n, columns): the mean less so many deviations."""
        means, sds = self.surrogate.posterior(genomes)
        objectives = self._objectives
        means[:, :objectives] -= exploration * sds[:, :objectives]
        return means

    def order(self, scores: Floats, objective_weights: Floats) -> Ints:
        """Sort genomes by their scores, the most promising first."""
        values, violation = scores[:, : self._objectives], np.zeros(len(scores))
        if scores.shape[1] > self._objectives:
            # The best lie at the edge of the feasible, where the surrogate is not that exact.
            violation = scores[:, self._objectives] - self._tolerance
        if self._objectives > 1:
            values = _scalarised(values, self._spans, objective_weights)
        return ranking.order(values, violation)

    def best(self, genomes: Sequence[Genome], rng: np.random.Generator) -> Genome:
        """The most promising of some genomes; the first where the surrogate is not usable."""
        if len(genomes) == 1 or not self.usable:
            return genomes[0]
        scores = self.scores(genomes, self.exploration(rng))
        return genomes[int(self.order(scores, self.objective_weights(rng))[0])]


def _window(view: View, items: Ints) -> Ints:
    """At most `WINDOW` items: the latest, and the best of the others."""
    if len(items) <= WINDOW:
        return items
    latest, others = items[-WINDOW // 2 :], items[: -WINDOW // 2]
    score = np.where(view.violation[others] < FAILED, view.means[others].sum(axis=1), np.inf)
    best = others[np.argpartition(score, WINDOW // 2)[: WINDOW // 2]]
    return np.concatenate([best, latest])


def _scalarised(values: Floats, spans: Floats, weights: Floats) -> Floats:
    """Several objectives as one: weighted augmented Chebyshev distance (Knowles 2006)."""
    scaled = (values - values.min(axis=0)) / np.where(spans > 0, spans, 1.0)
    weighted = scaled * weights
    return np.asarray((weighted.max(axis=1) + 0.05 * weighted.sum(axis=1))[:, None])
