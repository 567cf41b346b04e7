"""The evolution: told what was run, asked what to run next.

    evolution = Evolution(layout)
    proposal = evolution.ask(rng)
    evolution.tell(Record(0, proposal.genome, "complete", (value,), operator=proposal.operator))

An ask proposes, in this order: an initial genome; another run of one of the best genomes, if too
few runs were replicates for the noise observed; else the most promising of many new children.
Steady state: there are no generations, so no worker ever waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import posterior, ranking, selection
from nfopt.evolution.genome.enumerate import all_genomes
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.history import FAILED, History, View
from nfopt.evolution.mating import Mating
from nfopt.evolution.offspring import ATTEMPTS, Candidate, Offspring
from nfopt.evolution.operators.credit import Rates, gained
from nfopt.evolution.population import Population, best_of
from nfopt.evolution.records import Incumbent, Proposal, Record
from nfopt.evolution.settings import Settings
from nfopt.evolution.surrogate.acquisition import Acquisition

__all__ = ["Evolution", "Incumbent", "Proposal", "Record", "Settings"]

Floats = NDArray[np.float64]

FIRST, RANDOM, REPLICATE = "first", "random", "replicate"
"""Operators of proposals that are not children."""


class Evolution:
    """The evolutionary search, without storage.

    Args:
        layout: What genomes look like.
        objectives: The number of values of a completed run.
        settings: How it searches.
        first: Initial genomes, the most promising first.
        dependence: Dependence of every two features in the data, shape (D, D), for operators on
            adjacencies.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        objectives: int = 1,
        settings: Settings | None = None,
        first: Sequence[Genome] = (),
        dependence: Floats | None = None,
    ) -> None:
        self.layout = layout
        self.settings = settings if settings is not None else Settings()
        self._history = History(objectives, shrink=self.settings.shrink)
        self._population = Population()
        self._members: list[int] = []
        self._mating = Mating(layout, self.settings, dependence)
        self._acquisition = Acquisition(layout, self.settings)
        self._offspring = Offspring(self.settings, self._mating, self._acquisition, self._history)
        self._first = list(dict.fromkeys(layout.repaired(genome) for genome in first))
        self._touched: set[int] = set()
        self._uncredited: list[tuple[int, Record]] = []
        self._updated_at = -1
        self._cached_view: tuple[tuple[int, int], View] | None = None
        self._all: dict[bytes, Genome] | None = None
        self._enumerated = False

    # -------------------------------------------------------------------------------------- telling

    def tell(self, record: Record) -> None:
        """Take in a record.

        A number that was told before is ignored, unless it was running and no longer is.
        """
        if record.values is not None and len(record.values) != self._history.objectives:
            raise ValueError(
                f"`values` must have {self._history.objectives} entries, not {record.values}."
            )
        item = self._history.tell(record)
        if item is None:
            return
        if record.state != "running":
            self._touched.add(item)
            if record.parents:
                self._uncredited.append((item, record))

    def forget(self, number: int) -> None:
        """Forget a running record whose run ended without a result."""
        self._history.forget(number)

    # --------------------------------------------------------------------------------------- asking

    def ask(self, rng: np.random.Generator, *, held: Mapping[int, Value] | None = None) -> Proposal:
        """Propose a genome to run; it counts as running only once it is told.

        Args:
            rng: The source of randomness.
            held: Values that the genome must have, by index of the variable.
        """
        held = dict(held or {})
        self._update()
        for genome in self._first:
            if not self._history.seen(genome.key) and _has(genome, held):
                return Proposal(genome, FIRST)
        if (item := self._due_replicate(held)) is not None:
            return self._replicate(item)
        parents = self._parents()
        start = max(self.settings.start - 3 * len(self._first), 0)
        if not parents or self._history.finished + len(self._history.running) < start:
            if (drawn := self._random_new(rng, held)) is not None:
                return Proposal(drawn, RANDOM)
        else:
            self._acquisition.condition(
                self._history.view(), self._history.genomes, self._history.running
            )
            if (child := self._offspring.best(parents, rng, held, self.reliability)) is not None:
                return child
        return self._fallback(rng, held)

    def _update(self) -> None:
        """Update members, operator rates and surrogate by what was told."""
        settings, history = self.settings, self._history
        completed = history.finished // settings.generation
        if not self._touched or (completed == self._updated_at and self._members):
            return
        self._updated_at = completed
        if settings.screening:
            self._acquisition.fit(history.view(), history.genomes, history.finished)
        view = self._view()
        self._credit(view)
        size = settings.members(history.finished)
        self._members = self._population.members(view, size, self._touched).tolist()
        self._touched.clear()

    def _view(self) -> View:
        """What runs and surrogate say of all items; cached until something is told."""
        state = (self._history.version, self._acquisition.fitted_at)
        if self._cached_view is None or self._cached_view[0] != state:
            view = self._acquisition.refined(self._history.view(), self._history.genomes)
            self._cached_view = (state, view)
        return self._cached_view[1]

    def _credit(self, view: View) -> None:
        """Credit the operators of the children that were told, by posterior means."""
        if not self._uncredited:
            return
        members = np.array(self._members, dtype=np.intp)
        for item, record in self._uncredited:
            if record.operator in {FIRST, RANDOM, REPLICATE}:
                continue
            parents = [self._history.item_of(number) for number in record.parents]
            known = [parent for parent in parents if parent is not None and view.ranked[parent]]
            if not known:
                continue
            gain = 0.0
            if view.violation[item] == 0:
                gain = gained(view.means[item], view.means[known], view.means[members])
            names = record.operator.split("+")
            for name in names:
                self.rates.tell(name, gain, 1 / len(names))
        self._uncredited.clear()

    def _parents(self) -> list[Candidate]:
        """The candidates for parents, the best first."""
        history = self._history
        items = self._members
        if not items and self._first:  # no result yet: children of the running genomes
            items = list(dict.fromkeys(history.running))
        return [Candidate(history.genomes[i], (), (history.first[i],)) for i in items]

    def _random_new(self, rng: np.random.Generator, held: dict[int, Value]) -> Genome | None:
        """A new random genome, or None."""
        for _ in range(ATTEMPTS):
            genome = self.layout.with_values(self.layout.random(rng), held, rng)
            if not self._history.seen(genome.key) and _has(genome, held):
                return genome
        return None

    def _fallback(self, rng: np.random.Generator, held: dict[int, Value]) -> Proposal:
        """The proposal where operators and random draws gave nothing new.

        An untried genome of a space that can be enumerated; else a replicate.
        """
        if not self._enumerated:
            self._all, self._enumerated = all_genomes(self.layout), True
        if self._all is not None:
            untried = [
                genome for key, genome in self._all.items()
                if not self._history.seen(key) and _has(genome, held)
            ]  # fmt: skip
            if untried:
                picked = rng.permutation(len(untried))[: self.settings.children]
                return Proposal(self._acquisition.best([untried[i] for i in picked], rng), RANDOM)
        elif (drawn := self._random_new(rng, held)) is not None:
            return Proposal(drawn, RANDOM)
        view = self._history.view()
        fitting = [i for i, g in enumerate(self._history.genomes) if _has(g, held)]
        if not fitting:
            genome = self.layout.with_values(self.layout.random(rng), held, rng)
            return Proposal(genome, RANDOM)
        known = [i for i in fitting if view.ranked[i] and view.violation[i] < FAILED]
        best = best_of(view, np.array(known or fitting, dtype=np.intp), self._best_few)
        return self._replicate(self._least_run(best.tolist(), view))

    # -------------------------------------------------------------------------------- re-evaluation

    @property
    def _best_few(self) -> int:
        return max(3, self.settings.members(self._history.finished) // 4)

    def _due_replicate(self, held: dict[int, Value]) -> int | None:
        """The item to replicate now, if one is due."""
        history, settings = self._history, self.settings
        share = selection.replicate_share(settings.reevaluate, self.reliability)
        if share <= history.again or history.finished < min(settings.start, 10):
            return None
        view = history.view()
        few = [
            item for item in self._members[: self._best_few]
            if view.runs[item] > 0
            and _has(history.genomes[item], held)
            and self._uncertain(item, view)
        ]  # fmt: skip
        return self._least_run(few, view) if few else None

    def _uncertain(self, item: int, view: View) -> bool:
        """Whether another run of an item is informative."""
        if view.freedom < posterior.SURE:
            return True
        runs = view.runs[item] + self._history.active(item)
        return bool((view.noise > selection.ENOUGH * view.spread * runs).any())

    def _least_run(self, items: list[int], view: View) -> int:
        runs = [int(view.runs[item]) + self._history.active(item) for item in items]
        return items[selection.least_replicated(np.array(runs), len(items))]

    def _replicate(self, item: int) -> Proposal:
        history = self._history
        return Proposal(history.genomes[item], REPLICATE, (history.first[item],), replicate=True)

    # -------------------------------------------------------------------------------- what is known

    @property
    def noise(self) -> tuple[float, ...]:
        """Standard deviation of a run, for each objective; 0 if no noise was observed."""
        return tuple(float(x) for x in np.sqrt(self._history.view().noise))

    @property
    def reliability(self) -> float:
        """The share of the variance between single runs that is not noise, mean over objectives."""
        view = self._history.view()
        pairs = zip(view.noise, view.spread, strict=True)
        return float(np.mean([selection.reliability(noise, spread) for noise, spread in pairs]))

    @property
    def rates(self) -> Rates:
        """The operators' rates."""
        return self._mating.rates

    def incumbent(self) -> Incumbent | None:
        """The best genome by posterior mean; None before any.

        With several objectives, the one of the front that adds most to its hypervolume.
        """
        front = self.front()
        return front[0] if front else None

    def front(self) -> list[Incumbent]:
        """The Pareto front by posterior means; with one objective, the best genome."""
        view, history = self._view(), self._history
        items = np.flatnonzero((view.runs > 0) & (view.violation < FAILED))
        if not len(items):
            return []
        if view.means.shape[1] > 1:
            items = items[view.violation[items] == view.violation[items].min()]
            items = items[ranking.undominated(view.means[items])]
        return [
            Incumbent(
                history.genomes[item],
                tuple(view.means[item].tolist()),
                tuple(view.sds[item].tolist()),
                tuple(history.completed[item]),
            )
            for item in best_of(view, items, len(items) if view.means.shape[1] > 1 else 1)
        ]


def _has(genome: Genome, held: Mapping[int, Value]) -> bool:
    return all(genome.values[index] == value for index, value in held.items())
