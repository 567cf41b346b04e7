"""Which features a feature may depend on: orders, parents, adjacencies, masked conditioners.

An adjacency is a D x D boolean matrix: row i, column j is true when feature i may depend on feature
j. It is acyclic, so there is an order in which every feature comes after its parents. `order` is
that sequence of features; `parents` names each feature's set.

    >>> graph = from_parents([[], [0], [0, 1]])
    >>> topological_order(graph), parents_of(graph)
    ((0, 1, 2), ((), (0,), (0, 1)))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

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
    """The adjacency of full dependence: each feature on all that precede it, shape (D, D).

    >>> from_order([2, 0, 1]).astype(int).tolist()
    [[0, 0, 1], [1, 0, 1], [0, 0, 0]]
    """
    check_order(order, len(order))
    position = np.argsort(np.asarray(order, dtype=np.int64))
    return np.asarray(position[None, :] < position[:, None])


def from_parents(parents: Sequence[Sequence[int]]) -> Adjacency:
    """The adjacency of given parents, one sequence a feature, shape (D, D).

    Raises:
        ValueError: If a parent is out of range, is the feature itself, or the graph has a cycle.
    """
    check_parents(parents)
    matrix = np.zeros((len(parents), len(parents)), dtype=np.bool_)
    for feature, given in enumerate(parents):
        matrix[feature, list(given)] = True
    return matrix


def check_parents(parents: Sequence[Sequence[int]]) -> None:
    """Refuse what `from_parents` does, in a time that grows with the parents, not with D x D.

    Raises:
        ValueError: As `from_parents`.
    """
    size = len(parents)
    children: list[list[int]] = [[] for _ in parents]
    missing = []  # parents that do not precede it yet
    for feature, given in enumerate(parents):
        own = set(given)
        if own and (min(own) < 0 or max(own) >= size or feature in own):
            raise ValueError(
                f"`parents` of feature {feature} must be others below {size}, got {tuple(given)}."
            )
        missing.append(len(own))
        for parent in own:
            children[parent].append(feature)
    ready = [feature for feature, count in enumerate(missing) if not count]
    for feature in ready:  # grows while it is read
        for child in children[feature]:
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    if len(ready) < size:
        _refuse_cycle(feature for feature, count in enumerate(missing) if count)


def _refuse_cycle(features: Iterable[int]) -> NoReturn:
    raise ValueError(
        f"`parents` must have no cycle, but features {tuple(features)} wait for each other."
    )


def parents_of(adjacency: Adjacency) -> Parents:
    """Each feature's parents, ascending."""
    return tuple(tuple(int(j) for j in np.flatnonzero(row)) for row in adjacency)


def topological_order(adjacency: Adjacency) -> tuple[int, ...]:
    """An order in which every feature follows its parents (Kahn 1962); ties by index.

    Raises:
        ValueError: If the graph has a cycle.
    """
    missing = adjacency.sum(axis=1).astype(np.int64)  # parents that are not in the order yet
    order: list[int] = []
    ordered = np.zeros(len(adjacency), dtype=np.bool_)
    while len(order) < len(adjacency):
        ready = np.flatnonzero((missing == 0) & ~ordered)
        if not len(ready):
            _refuse_cycle(int(i) for i in np.flatnonzero(~ordered))
        ordered[ready] = True
        order.extend(int(i) for i in ready)
        missing -= adjacency[:, ready].sum(axis=1)
    return tuple(order)


def passes(adjacency: Adjacency) -> int:
    """Passes of the conditioner that an inverse takes: the longest chain of parents, at least 1.

    >>> passes(from_order(range(5))), passes(from_parents([[], [0], [0], [0]]))
    (5, 2)
    """
    return 1 + int(generations(adjacency).max(initial=0))


def generations(adjacency: Adjacency) -> NDArray[np.int64]:
    """For each feature, the length of the longest chain of parents above it, shape (D,).

    >>> generations(from_parents([[], [0], [0], [2]])).tolist()
    [0, 1, 1, 2]
    """
    found = np.zeros(len(adjacency), dtype=np.int64)
    for feature in topological_order(adjacency):
        found[feature] = 1 + found[adjacency[feature].astype(bool)].max(initial=-1)
    return found


def strongest_parents(
    order: Sequence[int], ranking: Sequence[Sequence[int]], budget: int | Sequence[int]
) -> Parents:
    """The most dependent predecessors of each feature in `order`, at most `budget` of them.

    >>> strongest_parents([0, 1, 2], ranking=[[1, 2], [0, 2], [1, 0]], budget=1)
    ((), (0,), (1,))

    Args:
        order: Each feature once, shape (D,).
        ranking: For each feature, the other features, the most dependent one first.
        budget: The greatest number of parents, for all features or one a feature.
    """
    check_order(order, len(order))
    budgets = [budget] * len(order) if isinstance(budget, int) else list(budget)
    position = {feature: k for k, feature in enumerate(order)}
    return tuple(
        tuple(sorted([j for j in ranking[i] if position[j] < position[i]][: budgets[i]]))
        for i in range(len(order))
    )


@dataclass(frozen=True)
class Wiring:
    """Which weights of a masked conditioner exist.

    Attributes:
        inputs: Hidden unit on feature, shape (width, D).
        outputs: Feature on hidden unit, shape (D, width).
        context: Whether the hidden units see the context features, one flag a unit, shape (width,).
    """

    inputs: NDArray[np.bool_]
    outputs: NDArray[np.bool_]
    context: NDArray[np.bool_]

    @cached_property
    def hidden(self) -> NDArray[np.bool_]:
        """Hidden unit on hidden unit of the layer below, (width, width), the same in every layer.

        Made when it is asked for: a network of one wide layer has no such weights.
        """
        sets = self.inputs.astype(np.float32)
        used = self.context | self.inputs.any(axis=1)  # no unit where no feature has a parent
        # whether a unit's set contains another's
        contained: NDArray[np.bool_] = (sets @ sets.T) == sets.sum(axis=1)[None, :]
        return contained & used[None, :]


def wire(adjacency: Adjacency, width: int, *, context: bool = False) -> Wiring:
    """Wire a conditioner so that output i sees input j exactly where the adjacency allows it.

    Each hidden unit stands for one feature's set of parents and keeps it through the layers, so
    that a residual connection respects it too; a unit feeds those units and outputs whose sets
    contain its own. For a full order these are the masks of MADE (Germain et al. 2015, section 4);
    for any other graph those of zuko's MaskedMLP, with narrow layers spread over the sets rather
    than cut off after the first ones.
    """
    # eight flags a byte: as many fewer columns to sort by, in the same order
    packed = np.unique(np.packbits(adjacency, axis=1), axis=0)
    sets = np.unpackbits(packed, axis=1, count=adjacency.shape[1]).astype(np.bool_)
    sets = sets[np.lexsort((np.arange(len(sets)), sets.sum(axis=1)))]
    if not context:
        sets = sets[sets.any(axis=1)]
    count = len(sets)
    if count == 0:  # no feature has a parent: nothing to see, the outputs are their biases
        empty = np.zeros((width, len(adjacency)), dtype=np.bool_)
        return Wiring(empty, empty.T, np.zeros(width, dtype=np.bool_))
    units = np.arange(width)
    seen = sets[units % count if width >= count else (units * count) // width]
    members = seen.astype(np.float32)  # exact for counts below 2^24, and a fast product
    sizes = members.sum(axis=1)[None, :]
    outputs = (adjacency.astype(np.float32) @ members.T) == sizes
    return Wiring(seen, outputs, np.full(width, context, dtype=np.bool_))
