"""Offspring in rounds: each round has the most promising candidates so far as its parents.

Parents of the first round are the members; of each later one the best children so far, by the
acquisition. So a proposal may be several operators away from any member: a search on the surrogate,
without a run in between. Where the surrogate is not usable, the first child is proposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import selection
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.history import History
from nfopt.evolution.mating import FULL_CROSSOVER, Mating
from nfopt.evolution.records import Proposal
from nfopt.evolution.settings import Settings
from nfopt.evolution.surrogate.acquisition import Acquisition

ATTEMPTS = 20
"""Children made, beside two for each that is wanted, before fewer new ones are accepted."""

ROUND_PARENTS = 10
"""The most promising children, which are the parents of the next round."""

MAX_OPERATORS = 4
"""The latest operators of a child, which are stored with it."""


class Candidate(NamedTuple):
    """A member or a child: its genome, the operators since the members, its ancestors' records."""

    genome: Genome
    operators: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def proposal(self) -> Proposal:
        """The genome as a proposal."""
        return Proposal(self.genome, "+".join(self.operators), self.numbers)


class Offspring:
    """Makes children in rounds and proposes the most promising one.

    Args:
        settings: How many children and rounds.
        mating: Makes one child.
        acquisition: Ranks children.
        history: Genomes that are finished or running, which are not proposed again.
    """

    def __init__(
        self, settings: Settings, mating: Mating, acquisition: Acquisition, history: History
    ) -> None:
        self._settings = settings
        self._mating = mating
        self._acquisition = acquisition
        self._history = history

    def best(
        self,
        members: Sequence[Candidate],
        rng: np.random.Generator,
        held: Mapping[int, Value],
        reliable: float,
    ) -> Proposal | None:
        """The most promising of the new children, or None if no child is new.

        Args:
            members: The population, the best first.
            rng: The source of randomness.
            held: Values that children must have, by index of the variable.
            reliable: The share of the variance between runs that is not noise.
        """
        settings, acquisition = self._settings, self._acquisition
        size = settings.tournament or selection.tournament_size(len(members), reliable)
        crossover = settings.crossover
        if settings.adapt:
            crossover *= min(self._history.finished / FULL_CROSSOVER, 1.0) * (1 - reliable**4)
        self._mating.renew()
        if not acquisition.usable:
            new = self._new_children(members, settings.few, rng, held, size, crossover)
            return next(iter(new.values())).proposal if new else None
        weights, exploration = acquisition.objective_weights(rng), acquisition.exploration(rng)
        by_key: dict[bytes, Candidate] = {}
        scores: NDArray[np.float64] | None = None
        order = np.empty(0, dtype=np.intp)
        parents = members
        for _ in range(settings.rounds):
            wanted = -(-settings.children // settings.rounds)
            new = self._new_children(parents, wanted, rng, held, size, crossover, by_key)
            if not new:
                break
            by_key |= new
            latest = acquisition.scores([child.genome for child in new.values()], exploration)
            scores = latest if scores is None else np.concatenate([scores, latest])
            order = acquisition.order(scores, weights)
            children = list(by_key.values())
            parents, size = [children[i] for i in order[:ROUND_PARENTS].tolist()], 1
        return list(by_key.values())[int(order[0])].proposal if by_key else None

    def _new_children(
        self,
        parents: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        held: Mapping[int, Value],
        tournament: int,
        crossover: float,
        earlier: Mapping[bytes, Candidate] | None = None,
    ) -> dict[bytes, Candidate]:
        """New children by key, at most `wanted`; fewer where most children are not new."""
        make = self._mating.child if self._settings.adapt else self._mating.plain
        genomes = [parent.genome for parent in parents]
        new: dict[bytes, Candidate] = {}
        for _ in range(ATTEMPTS + 2 * wanted):
            child = make(genomes, rng, tournament=tournament, crossover=crossover, held=held)
            if child is None:
                continue
            key = child.genome.key
            if key in new or (earlier and key in earlier) or self._history.seen(key):
                continue
            first = parents[child.parents[0]]
            operators, numbers = (*first.operators, *child.operators), first.numbers
            for position in child.parents[1:]:
                numbers = tuple(dict.fromkeys(numbers + parents[position].numbers))[:2]
            new[key] = Candidate(child.genome, operators[-MAX_OPERATORS:], numbers)
            if len(new) == wanted:
                break
        return new
