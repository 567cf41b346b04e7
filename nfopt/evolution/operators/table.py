"""The table of operators: a new one is written in its module and added here as one line.

An operator makes a child of one parent (mutation) or of two (crossover, the better parent first),
or None where it finds nothing to change. Children are repaired, never equal to a parent, and have
the parent's values where the context holds them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.operators import crossover, layers, masks, parts
from nfopt.evolution.operators import edges as adjacency
from nfopt.evolution.operators import variables as parameters
from nfopt.evolution.operators.context import Context

__all__ = ["OPERATORS", "Context", "Operator", "applicable"]

Mutation = Callable[[Layout, Genome, np.random.Generator, Context], Genome | None]
Crossover = Callable[[Layout, Genome, Genome, np.random.Generator, Context], Genome | None]
Needs = Callable[[Layout, Context], bool]


@dataclass(frozen=True)
class Operator:
    """How one kind of child is made.

    Attributes:
        name: Its key in the table.
        make: The function.
        needs: Whether genomes of a layout have what it works on.
        weight: How often it is tried at first, among all that apply.
        parents: 1 for mutation, 2 for crossover.
        plain: Whether it is of the plain EA, and of no other.
    """

    name: str
    make: Mutation | Crossover
    needs: Needs
    weight: float
    parents: Literal[1, 2] = 1
    plain: bool = False

    def __call__(
        self,
        layout: Layout,
        parents: tuple[Genome, ...],
        rng: np.random.Generator,
        context: Context,
    ) -> Genome | None:
        """Make a child, or None.

        Args:
            layout: What genomes look like.
            parents: Repaired genomes, as many as the operator has parents.
            rng: The source of randomness.
            context: What must not change, and what to go by.
        """
        child = self.make(layout, *parents, rng, context)  # type: ignore[call-arg, arg-type]
        if child is None or child.key in [parent.key for parent in parents]:
            return None
        # A variable that is no longer in use rests, also if it is held: then there is no child.
        before, after = parents[0].values, child.values
        if context.held and any(after[index] != before[index] for index in context.held):
            return None
        return child


def _values(layout: Layout, context: Context) -> bool:
    return any(index not in context.held for index in layout.free)


def _several(layout: Layout, context: Context) -> bool:
    return sum(index not in context.held for index in layout.free) > 1


def _numbers(layout: Layout, context: Context) -> bool:
    return any(index not in context.held for index in layout.numbers)


def _categories(layout: Layout, context: Context) -> bool:
    return any(index not in context.held for index in layout.categories)


def _masks(layout: Layout, context: Context) -> bool:
    return layout.masks is not None and context.masks


def _idle(layout: Layout, context: Context) -> bool:
    return layout.masks is not None and layout.masks.idle and context.masks


def _layers(layout: Layout, context: Context) -> bool:
    pairs = layout.masks is not None and layout.masks.pairs
    return layers.layers_of(layout) >= (4 if pairs else 2)


def _depth(layout: Layout, context: Context) -> bool:
    return layers.layers_of(layout) > 1 and layout.depth not in {None, *context.held}


def _edges(layout: Layout, context: Context) -> bool:
    return layout.edges is not None and layout.edges.features > 1 and context.edges


def _orders(layout: Layout, context: Context) -> bool:
    return _edges(layout, context) and layout.edges is not None and layout.edges.orders


def _parts(layout: Layout, context: Context) -> bool:
    return bool(layout.parts)


def _any(layout: Layout, context: Context) -> bool:
    some = (_values, _masks, _edges, _parts)
    return any(needs(layout, context) for needs in some)


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        # mixed variables
        Operator("step", parameters.step, _numbers, 3.0),
        Operator("steps", parameters.steps, _several, 2.0),
        Operator("category", parameters.category, _categories, 1.5),
        Operator("jump", parameters.jump, _numbers, 0.5),
        # masks
        Operator("flips", masks.flips, _masks, 2.5),
        Operator("swap", masks.swap, _masks, 1.25),
        Operator("columns", masks.columns, _masks, 0.6),
        Operator("complement", masks.complemented, _masks, 0.3),
        Operator("idles", masks.idles, _idle, 1.0),
        Operator("redraw", masks.redraw, _masks, 0.3),
        # the sequence of layers
        Operator("exchange_layers", layers.exchange, _layers, 0.5),
        Operator("insert_layer", layers.insert, _depth, 0.7),
        Operator("delete_layer", layers.delete, _depth, 0.7),
        # adjacencies
        Operator("add_edges", adjacency.add, _edges, 1.5),
        Operator("remove_edges", adjacency.remove, _edges, 1.0),
        Operator("redirect_edges", adjacency.redirect, _edges, 2.0),
        Operator("budgets", adjacency.budgets, _edges, 1.0),
        Operator("reverse_order", adjacency.reversal, _orders, 0.5),
        Operator("insert_in_order", adjacency.insertion, _orders, 1.0),
        Operator("swap_in_order", adjacency.neighbours, _orders, 0.5),
        # further masks and adjacencies
        Operator("part", parts.mutate, _parts, 5.0),
        # crossover
        Operator("cross_values", crossover.values, _several, 1.0, 2),
        Operator("blend_values", crossover.blend, _values, 1.0, 2),
        Operator("cross_layers", crossover.layers, _masks, 1.0, 2),
        Operator("cross_features", crossover.features, _masks, 1.0, 2),
        Operator("cross_letters", crossover.letters, _masks, 0.5, 2),
        Operator("cross_parents", crossover.parents, _edges, 1.0, 2),
        Operator("cross_part", parts.cross, _parts, 1.0, 2),
        Operator("cross_all", crossover.uniform, _any, 0.5, 2),
        # the plain EA
        Operator("plain_values", parameters.redraws, _values, 1.0, plain=True),
        Operator("plain_masks", masks.bit_flips, _masks, 1.0, plain=True),
    )
}


def applicable(layout: Layout, context: Context, *, parents: int = 1) -> tuple[str, ...]:
    """Names of the operators that genomes of a layout have something to work on for.

    Args:
        layout: What genomes look like.
        context: What is held and in use.
        parents: 1 for mutation, 2 for crossover.
    """
    return tuple(
        name
        for name, operator in OPERATORS.items()
        if operator.parents == parents and not operator.plain and operator.needs(layout, context)
    )
