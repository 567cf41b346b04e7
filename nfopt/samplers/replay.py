"""The state of the evolution for one study: told its trials, asked for the next one.

All of it is rebuilt from the study; nothing else is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from nfopt.evolution.engine import Evolution
from nfopt.evolution.genome.enumerate import all_genomes
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.records import Proposal, Record
from nfopt.evolution.settings import Settings
from nfopt.optuna_internals import fixed_parameters
from nfopt.samplers import initial as members
from nfopt.samplers.codec import Codec
from nfopt.samplers.trials import (
    Origin,
    Reader,
    interrupted,
    params_of,
    record_of,
    repeated,
)
from nfopt.space import SearchSpace
from nfopt.stored import began_ahead

DESIGN = "design:"
"""Prefix of the operator of a named design."""

DESIGN_EVERY = 6
"""One in so many trials is a named design, where the caller gave initial genomes: the others are
small steps from the best."""

MOST_REPLAYED = 300
"""Finished trials up to which a study is replayed in the order in which it happened."""

BEST_SHARE = 0.75
"""How often a replicate is of the incumbent, where trials have further parameters beside these."""

TRIES = 20
"""Proposals that another trial has already, before one of them is accepted as a replicate."""


def digest(genome: Genome) -> str:
    """A genome's digest, by which other workers recognise it."""
    return hashlib.blake2b(genome.key, digest_size=10).hexdigest()


class State:
    """The evolution of one study with one set of parameters.

    Args:
        study: The study.
        trials: All its trials.
        codec: Of the parameters.
        space: The search space, which says what they mean; None: not known.
        settings: Of the evolution.
        initial: Initial genomes; trials enqueued in the study count as such, too.
        replay: Whether proposals must be those of a study that was never interrupted.
    """

    def __init__(
        self,
        study: Study,
        trials: Sequence[FrozenTrial],
        codec: Codec,
        space: SearchSpace | None,
        settings: Settings,
        initial: Sequence[members.Initial],
        *,
        replay: bool = True,
    ) -> None:
        self.codec = codec
        self.directions = study.directions
        self._reader = Reader()
        news = self._reader.news(trials)
        first = members.initial_genomes(initial, self.codec, space)
        first += [g for g in map(self._enqueued, news) if g is not None]
        self._designs = members.design_names(self.codec)
        if first:  # small steps from these are better than random points
            settings = replace(settings, start=0)
        else:
            names = members.first_designs(self.codec)
            first, self._designs = members.all_designed(self.codec, names), ()
        self.engine = Evolution(
            self.codec.layout,
            objectives=len(self.directions),
            settings=settings,
            first=first,
            dependence=members.strength(space),
        )
        self._tried: set[str] = set()  # designs, as the operators of trials
        self._repeated: set[int] = set()
        self._running: dict[int, Genome] = {}  # told as such
        self._digests: dict[int, str] = {}  # of a trial's genome, or of what it claims
        self._by_digest: dict[str, set[int]] = {}
        self._all: dict[bytes, Genome] | None = None
        self._enumerated = False
        if replay:
            self._replay(news)
        else:
            self._take_in(news)

    def _enqueued(self, trial: FrozenTrial) -> Genome | None:
        fixed = fixed_parameters(trial)
        return self.codec.encode(fixed) if fixed and self.codec.complete(fixed) else None

    # -------------------------------------------------------------------------------------- reading

    def read(self, trials: Sequence[FrozenTrial]) -> None:
        """Tell the evolution the study's new trials."""
        self._take_in(self._reader.news(trials))

    def _take_in(self, news: Sequence[FrozenTrial]) -> None:
        self._repeated |= repeated(news)
        for trial in news:
            number, finished = trial.number, trial.state.is_finished()
            origin = Origin.of(trial)
            if origin.operator.startswith(DESIGN):
                self._tried.add(origin.operator)
            if origin.genome and not finished and number not in self._running:
                self._claim(origin.genome, number)
            failed = trial.state is TrialState.FAIL
            without_result = failed and (number in self._repeated or interrupted(trial))
            if without_result or (finished and began_ahead(trial)):
                self._forget(number)
            elif finished or number not in self._running:
                self._tell(trial)

    def _replay(self, news: Sequence[FrozenTrial]) -> None:
        """Tell trials in the order in which they happened, as far as that is stored.

        The state of the evolution (rates of operators, when the surrogate was fitted) depends on
        what was known at each ask. So the asks are repeated, and a resumed study goes on exactly as
        if it had not stopped. In long studies the difference is negligible.
        """
        ended = [t for t in news if t.state.is_finished() and t.datetime_complete is not None]
        if len(ended) > MOST_REPLAYED:
            self._take_in(news)
            return
        ended.sort(key=lambda t: (t.datetime_complete, t.number))
        told, new_results = 0, False
        for trial in news:
            first = told
            while told < len(ended) and _before(ended[told], trial):
                told += 1
            self._take_in(sorted(ended[first:told], key=lambda t: t.number))
            new_results |= told > first
            operator = Origin.of(trial).operator
            if new_results and operator and not operator.startswith(DESIGN):
                self.engine.ask(np.random.default_rng(0))
                new_results = False
            self._tell(trial, running=True)
        self._take_in(news)

    def _tell(self, trial: FrozenTrial, *, running: bool = False) -> None:
        params, number = params_of(trial), trial.number
        finished = trial.state.is_finished() and not running
        if not params or not (finished or self.codec.complete(params)):
            return
        genome = self.codec.encode(params)
        if genome is None:
            self._forget(number)
            return
        if finished:
            self._running.pop(number, None)
        else:
            self._running[number] = genome
        self._claim(digest(genome), number)
        record = record_of(trial, genome, self.directions)
        self.engine.tell(record if finished else _running(record))

    def _claim(self, name: str | None, number: int) -> None:
        """Record which genome a trial has; releases the one that it claimed before."""
        before = self._digests.pop(number, None)
        if before is not None:
            self._by_digest[before].discard(number)
        if name is not None:
            self._digests[number] = name
            self._by_digest.setdefault(name, set()).add(number)

    def _forget(self, number: int) -> None:
        self._claim(None, number)
        if self._running.pop(number, None) is not None:
            self.engine.forget(number)

    # --------------------------------------------------------------------------------------- asking

    def ask(
        self,
        study: Study,
        trial: FrozenTrial,
        rng: np.random.Generator,
        held: Mapping[str, Any],
        *,
        look: Callable[[], Sequence[FrozenTrial]],
        more: bool = False,
    ) -> dict[str, Any]:
        """Propose a trial's parameters, and write their origin.

        Workers that ask at the same time must not choose the same genome, and storages have no
        lock: so each writes its choice, then reads those of the others. Of two with the same
        choice, at least the one that reads later sees the other, and chooses again.

        Args:
            study: The study.
            trial: Running, without parameters of its own yet.
            rng: The trial's own.
            held: Parameters that have a value already.
            look: Reads all trials.
            more: Whether trials have parameters beside these, so that trials of equal genomes may
                differ.
        """
        number, fixed = trial.number, self.codec.held(held)
        for _ in range(TRIES):
            proposal = self._propose(number, rng, fixed)
            best = self.engine.incumbent() if more and proposal.replicate and not fixed else None
            if best is not None and rng.random() < BEST_SHARE:
                proposal = replace(proposal, genome=best.genome, parents=best.numbers[:1])
            name = digest(proposal.genome)
            if proposal.replicate or not self._taken(name, number):
                _write(study, trial, proposal)
                self.read(look())  # what others wrote meanwhile
                if proposal.replicate or not self._taken(name, number):
                    break
            self._mark(name, proposal.genome)
        else:  # every proposal was claimed by others: replicate the last
            proposal = replace(proposal, replicate=True)
            _write(study, trial, proposal)
        if not self.codec.genes & held.keys():
            self._running[number] = proposal.genome
            self._claim(digest(proposal.genome), number)
            made = (proposal.operator, proposal.parents)
            self.engine.tell(Record(number, proposal.genome, "running", None, {}, 0.0, *made))
        return self.codec.decode(proposal.genome)

    def _propose(
        self, number: int, rng: np.random.Generator, held: Mapping[int, Value]
    ) -> Proposal:
        """The evolution's proposal; now and then the incumbent with a named design."""
        if self._designs and number % DESIGN_EVERY == DESIGN_EVERY - 1:
            best = self.engine.incumbent()
            for name in self._designs if best is not None else ():
                if best is None or DESIGN + name in self._tried:
                    continue
                like = self.codec.layout.with_values(best.genome, held, rng)
                genome = members.designed(self.codec, name, like, rng)
                if not self._taken(digest(genome), number):
                    return Proposal(genome, DESIGN + name, best.numbers[:1])
        return self.engine.ask(rng, held=held)

    def _taken(self, name: str, number: int) -> bool:
        """Whether another trial has the genome, or has claimed it."""
        return bool(self._by_digest.get(name, set()) - {number})

    def _mark(self, name: str, genome: Genome) -> None:
        """Tell the evolution of a genome that others claimed before they had parameters."""
        for number in self._by_digest.get(name, ()):
            if number not in self._running:
                self.engine.tell(Record(number, genome, "running"))

    def remaining(self) -> int | None:
        """The number of genomes that no trial has; None if the space is too large to enumerate."""
        if not self._enumerated:
            self._all, self._enumerated = all_genomes(self.codec.layout), True
        if self._all is None:
            return None
        return sum(not self._by_digest.get(digest(genome)) for genome in self._all.values())


def _running(record: Record) -> Record:
    """A record as it was while its run went on."""
    made = (record.operator, record.parents)
    return Record(record.number, record.genome, "running", None, {}, 0.0, *made)


def _before(ended: FrozenTrial, trial: FrozenTrial) -> bool:
    """Whether a trial had ended when another one began."""
    if trial.datetime_start is None or ended.datetime_complete is None:
        return False
    return ended.number < trial.number and ended.datetime_complete <= trial.datetime_start


def _write(study: Study, trial: FrozenTrial, proposal: Proposal) -> None:
    name = digest(proposal.genome)
    Origin(proposal.operator, proposal.parents, name, proposal.replicate).write(study, trial)
