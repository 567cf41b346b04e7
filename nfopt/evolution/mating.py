"""How a child is made: parents by tournament, an operator by its rate, sometimes a second one.

Most children are one small mutation away from a member. Crossover is rare at first, when there are
few genomes to cross, and without noise, when the best genome is known for certain.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import selection
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Value
from nfopt.evolution.operators.context import Context
from nfopt.evolution.operators.credit import Rates
from nfopt.evolution.operators.table import OPERATORS, applicable
from nfopt.evolution.settings import Settings

Floats = NDArray[np.float64]

_Kind = tuple[frozenset[int], int, bool, bool]

SECOND_MUTATION = 0.25
"""Probability that a child gets a second mutation."""

FULL_CROSSOVER = 100
"""Finished runs from which on crossover has its full share."""

PLAIN = ("plain_values", "plain_masks")
"""Mutations of the plain EA, applied one after the other; its crossover is `cross_all`."""


class Child(NamedTuple):
    """A genome, the operators that made it, and the positions of its parents among the members."""

    genome: Genome
    operators: tuple[str, ...]
    parents: tuple[int, ...]


class Mating:
    """Makes children of one layout.

    Args:
        layout: What genomes look like.
        settings: Which operators, and whether their rates adapt.
        dependence: Dependence of every two features in the data, shape (D, D), if known.
    """

    def __init__(self, layout: Layout, settings: Settings, dependence: Floats | None) -> None:
        self._layout = layout
        self._settings = settings
        self._dependence = dependence
        weights = {name: operator.weight for name, operator in OPERATORS.items()}
        self.rates = Rates(weights, adapt=settings.adapt)
        self._context = Context(frozenset(), dependence)
        self._tables: dict[_Kind, tuple[tuple[str, ...], list[float]]] = {}

    def renew(self) -> None:
        """Draw operators by their present rates from now on."""
        self._tables.clear()

    def child(
        self,
        members: Sequence[Genome],
        rng: np.random.Generator,
        *,
        tournament: int,
        crossover: float,
        held: Mapping[int, Value],
    ) -> Child | None:
        """Make one child, or None where the operators drawn had nothing to change.

        Args:
            members: The population, the best first, at least one.
            rng: The source of randomness.
            tournament: Members drawn for one parent.
            crossover: Probability that there are two parents.
            held: Values that the child must have, by index of the variable.
        """
        first = selection.tournament(len(members), tournament, rng)
        positions: tuple[int, ...] = (first,)
        names: list[str] = []
        context = self._holding(held)
        genome = self._with(members[first], held, rng)
        changed: Genome | None = None
        if len(members) > 1 and rng.random() < crossover:
            second = selection.tournament(len(members), tournament, rng)
            if second != first:
                positions = (min(first, second), max(first, second))
                pair = [self._with(members[i], held, rng) for i in positions]
                genome = pair[0]
                changed = self._apply(names, tuple(pair), rng, context)
        if changed is None:
            changed = self._apply(names, (genome,), rng, context)
        if changed is not None and rng.random() < SECOND_MUTATION:
            changed = self._apply(names, (changed,), rng, context) or changed
        return None if changed is None else Child(changed, tuple(names), positions)

    def plain(
        self,
        members: Sequence[Genome],
        rng: np.random.Generator,
        *,
        tournament: int,
        crossover: float,
        held: Mapping[int, Value],
    ) -> Child | None:
        """Make one child as the plain EA does: uniform crossover, then bit flips."""
        positions = [selection.tournament(len(members), tournament, rng)]
        names: list[str] = []
        context = self._holding(held)
        genome = parent = self._with(members[positions[0]], held, rng)
        if rng.random() < crossover:
            positions.append(selection.tournament(len(members), tournament, rng))
            other = self._with(members[positions[1]], held, rng)
            genome = self._operate("cross_all", (genome, other), rng, context, names) or genome
        for name in PLAIN:
            if OPERATORS[name].needs(self._layout, context):
                genome = self._operate(name, (genome,), rng, context, names) or genome
        if not names and (self._layout.edges is not None or self._layout.parts):
            genome = self._apply(names, (genome,), rng, context) or genome
        return None if genome.key == parent.key else Child(genome, tuple(names), tuple(positions))

    def _holding(self, held: Mapping[int, Value]) -> Context:
        """The context of operators, made again only if other variables are held."""
        if self._context.held != held.keys():
            self._context = Context(frozenset(held), self._dependence)
        return self._context

    def _with(self, genome: Genome, held: Mapping[int, Value], rng: np.random.Generator) -> Genome:
        return self._layout.with_values(genome, held, rng) if held else genome

    def _apply(
        self,
        names: list[str],
        parents: tuple[Genome, ...],
        rng: np.random.Generator,
        context: Context,
    ) -> Genome | None:
        """Apply one of the applicable operators, drawn by their rates; add its name to `names`."""
        layout, masks, edges = self._layout, False, False
        if layout.masks is not None:
            masks = all(layout.gene_rows(parent.values) for parent in parents)
        if layout.edges is not None:
            edges = all(layout.used(parent.values).edges for parent in parents)
        kind = (context.held, len(parents), masks, edges)
        table = self._tables.get(kind)
        if table is None:
            context = replace(context, masks=masks, edges=edges)
            choices = applicable(self._layout, context, parents=len(parents))
            if (only := self._settings.operators) is not None:
                choices = tuple(name for name in choices if name in only)
            cumulative = np.cumsum(self.rates.probabilities(choices)).tolist() if choices else []
            table = self._tables[kind] = (choices, cumulative)
        choices, cumulative = table
        if not choices:
            return None
        drawn = bisect(cumulative, rng.random() * cumulative[-1])
        name = choices[min(drawn, len(choices) - 1)]
        return self._operate(name, parents, rng, context, names)

    def _operate(
        self,
        name: str,
        parents: tuple[Genome, ...],
        rng: np.random.Generator,
        context: Context,
        names: list[str],
    ) -> Genome | None:
        child = OPERATORS[name](self._layout, parents, rng, context)
        if child is not None:
            names.append(name)
        return child
