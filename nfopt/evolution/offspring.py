"""Which genome is asked next: children in rounds, each round of the most promising so far.

The members have the first children; the best of them, by the screening model, have the next, and so
on, so that a proposal may be several steps from any member: a search on the model, without a run.
Where the model does not predict, the first child is taken.
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
from nfopt.evolution.mating import CROWD, Mating
from nfopt.evolution.records import Proposal
from nfopt.evolution.settings import Settings
from nfopt.evolution.surrogate.acquisition import Judge

ATTEMPTS = 20
"""Children tried, beside two for each that is wanted, until enough are new."""

KEPT = 10
"""The most promising children, which have the children of the next round."""

STEPS = 4
"""Operators of a child that are named: the latest."""


class Candidate(NamedTuple):
    """A member or a child: its genome, the operators since the members, and whose child it is."""

    genome: Genome
    operators: tuple[str, ...]
    numbers: tuple[int, ...]

    @property
    def proposal(self) -> Proposal:
        """The genome as what to run next."""
        return Proposal(self.genome, "+".join(self.operators), self.numbers)


class Brood:
    """Makes children until the most promising is found.

    Args:
        settings: How many, and how.
        mating: Makes one.
        judge: Ranks them.
        history: What is not to be asked again.
    """

    def __init__(self, settings: Settings, mating: Mating, judge: Judge, history: History) -> None:
        self._settings = settings
        self._mating = mating
        self._judge = judge
        self._history = history

    def best(
        self,
        members: Sequence[Candidate],
        rng: np.random.Generator,
        held: Mapping[int, Value],
        reliable: float,
    ) -> Proposal | None:
        """The most promising of the children that are new, or None if none was found.

        Args:
            members: The population, the best first.
            rng: The source of randomness.
            held: Values that children must have, by index of the variable.
            reliable: The share of the variance between runs that is not noise.
        """
        settings, judge = self._settings, self._judge
        size = settings.tournament or selection.tournament_size(len(members), reliable)
        crossover = settings.crossover
        if settings.adapt:
            crossover *= min(self._history.finished / CROWD, 1.0) * (1 - reliable**4)
        self._mating.renew()
        if not judge.usable:
            made = self._made(members, settings.few, rng, held, size, crossover)
            return next(iter(made.values())).proposal if made else None
        goal, boldness = judge.goal(rng), judge.boldness(rng)
        found: dict[bytes, Candidate] = {}
        scores: NDArray[np.float64] | None = None
        order = np.empty(0, dtype=np.intp)
        parents = members
        for _ in range(settings.rounds):
            wanted = -(-settings.children // settings.rounds)
            made = self._made(parents, wanted, rng, held, size, crossover, found)
            if not made:
                break
            found |= made
            fresh = judge.scores([child.genome for child in made.values()], boldness)
            scores = fresh if scores is None else np.concatenate([scores, fresh])
            order = judge.order(scores, goal)
            children = list(found.values())
            parents, size = [children[i] for i in order[:KEPT].tolist()], 1
        return list(found.values())[int(order[0])].proposal if found else None

    def _made(
        self,
        parents: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        held: Mapping[int, Value],
        tournament: int,
        crossover: float,
        others: Mapping[bytes, Candidate] | None = None,
    ) -> dict[bytes, Candidate]:
        """Children that are new, by key; fewer than wanted where they are hard to find."""
        make = self._mating.child if self._settings.adapt else self._mating.plain
        among = [parent.genome for parent in parents]
        made: dict[bytes, Candidate] = {}
        for _ in range(ATTEMPTS + 2 * wanted):
            child = make(among, rng, tournament=tournament, crossover=crossover, held=held)
            if child is None:
                continue
            key = child.genome.key
            if key in made or (others and key in others) or self._history.seen(key):
                continue
            of = parents[child.parents[0]]
            operators, numbers = (*of.operators, *child.operators)[-STEPS:], of.numbers
            for place in child.parents[1:]:
                numbers = tuple(dict.fromkeys(numbers + parents[place].numbers))[:2]
            made[key] = Candidate(child.genome, operators, numbers)
            if len(made) == wanted:
                break
        return made
