"""Which features a feature may depend on: orders, parents, adjacencies, masked conditioners.

An adjacency is a D x D boolean matrix: row i, column j is true when feature i may depend on feature
j. It is acyclic, so there is an order in which every feature comes after its parents. `order` is
that sequence of features; `parents` names each feature's set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Adjacency = NDArray[np.bool_]
Parents = tuple[tuple[int, ...], ...]


def check_order(order: Sequence[int], features: int) -> None:
    """Raise ValueError unless `order` names each of the `features` exactly once."""
    if sorted(order) != list(range(features)):
        raise ValueError(
            f"`order` must name each feature from 0 to {features - 1} once, got {tuple(order)}."
        )


def from_order(order: Sequence[int]) -> Adjacency:
    """Give every feature all that come before it in `order`, shape (D, D)."""
    check_order(order, len(order))
    place = np.argsort(np.asarray(order, dtype=np.int64))
    return np.asarray(place[None, :] < place[:, None])


def from_parents(parents: Sequence[Sequence[int]]) -> Adjacency:
    """Turn one set of parents a feature into a matrix, shape (D, D).

    Raises:
        ValueError: If a parent is out of range, is the feature itself, or the graph has a cycle.
    """
    size = len(parents)
    matrix = np.zeros((size, size), dtype=np.bool_)
    for row, chosen in enumerate(parents):
        for column in chosen:
            if not 0 <= column < size or column == row:
                raise ValueError(
                    f"`parents` of feature {row} must be others below {size}, got {tuple(chosen)}."
                )
            matrix[row, column] = True
    topological_order(matrix)
    return matrix


def parents_of(adjacency: Adjacency) -> Parents:
    """Name each feature's parents, ascending."""
    return tuple(tuple(int(j) for j in np.flatnonzero(row)) for row in adjacency)


def topological_order(adjacency: Adjacency) -> tuple[int, ...]:
    """Return the order in which every feature follows its parents; ties by index.

    Raises:
        ValueError: If the graph has a cycle.
    """
    waiting = adjacency.sum(axis=1).astype(np.int64)
    placed: list[int] = []
    done = np.zeros(len(adjacency), dtype=np.bool_)
    while len(placed) < len(adjacency):
        ready = np.flatnonzero((waiting == 0) & ~done)
        if not len(ready):
            rest = tuple(int(i) for i in np.flatnonzero(~done))
            raise ValueError(
                f"`parents` must have no cycle, but features {rest} wait for each other."
            )
        done[ready] = True
        placed.extend(int(i) for i in ready)
        waiting -= adjacency[:, ready].sum(axis=1)
    return tuple(placed)


def passes(adjacency: Adjacency) -> int:
    """Count the steps of an inverse: features on the longest chain of parents, at least 1."""
    depth = np.zeros(len(adjacency), dtype=np.int64)
    for feature in topological_order(adjacency):
        above = np.flatnonzero(adjacency[feature])
        depth[feature] = 1 + max((int(depth[j]) for j in above), default=0)
    return int(depth.max(initial=1))


def strongest_parents(
    order: Sequence[int], ranking: Sequence[Sequence[int]], budget: int | Sequence[int]
) -> Parents:
    """Keep, of the features before each one in `order`, the first `budget` of its ranking.

    Args:
        order: Each feature once, shape (D,).
        ranking: For each feature, the other features, the most dependent one first.
        budget: The greatest number of parents, for all features or one a feature.
    """
    check_order(order, len(order))
    budgets = [budget] * len(order) if isinstance(budget, int) else list(budget)
    place = {feature: k for k, feature in enumerate(order)}
    return tuple(
        tuple(sorted([j for j in ranking[i] if place[j] < place[i]][: budgets[i]]))
        for i in range(len(order))
    )


@dataclass(frozen=True)
class Wiring:
    """Which weights of a masked conditioner exist.

    Attributes:
        inputs: Hidden unit on feature, shape (width, D).
        hidden: Hidden unit on hidden unit of the layer below, shape (width, width); the same in
            every layer.
        outputs: Feature on hidden unit, shape (D, width).
        context: Whether the hidden units see the context features, one flag a unit, shape (width,).
    """

    inputs: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    outputs: NDArray[np.bool_]
    context: NDArray[np.bool_]


def wire(adjacency: Adjacency, width: int, *, context: bool = False) -> Wiring:
    """Wire a conditioner so that output i sees input j exactly where the adjacency allows it.

    Each hidden unit stands for one feature's set of parents and keeps it through the layers, so
    that a residual connection respects it too; a unit feeds those units and outputs whose sets
    contain its own. For a full order these are the masks of MADE (Germain et al. 2015, section 4);
    for any other graph those of zuko's MaskedMLP, with narrow layers spread over the sets rather
    than cut off after the first ones.
    """
    sets = np.unique(adjacency, axis=0)
    sets = sets[np.lexsort((np.arange(len(sets)), sets.sum(axis=1)))]
    if not context:
        sets = sets[sets.any(axis=1)]
    count = len(sets)
    if count == 0:  # no feature has a parent: nothing to see, the outputs are their biases
        empty = np.zeros((width, len(adjacency)), dtype=np.bool_)
        return Wiring(
            empty,
            np.zeros((width, width), dtype=np.bool_),
            empty.T,
            np.zeros(width, dtype=np.bool_),
        )
    units = np.arange(width)
    held = sets[units % count if width >= count else (units * count) // width]
    inside = held.astype(np.int64)
    hidden = (inside @ inside.T) == inside.sum(axis=1)[None, :]
    outputs = (adjacency.astype(np.int64) @ inside.T) == inside.sum(axis=1)[None, :]
    return Wiring(held, hidden, outputs, np.full(width, context, dtype=np.bool_))
