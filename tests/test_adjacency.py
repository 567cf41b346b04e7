"""Adjacencies and the wiring of a masked conditioner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nfopt import adjacency as graph


@st.composite
def adjacencies(draw: st.DrawFn, most: int = 8) -> graph.Adjacency:
    features = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    below = np.tril(rng.random((features, features)) < draw(st.floats(0, 1)), -1)
    order = rng.permutation(features)
    return np.asarray(below[np.ix_(order, order)])


def realised(wiring: graph.Wiring, layers: int) -> NDArray[np.bool_]:
    """Which outputs a path through the network leads to from each input."""
    paths = wiring.inputs.astype(np.int64)
    for _ in range(layers - 1):
        paths = np.minimum(wiring.hidden.astype(np.int64) @ paths, 1)
    return np.asarray(wiring.outputs.astype(np.int64) @ paths > 0)


@given(adjacencies(), st.integers(1, 3), st.booleans(), st.integers(0, 5))
def test_the_wiring_realises_the_adjacency(
    matrix: graph.Adjacency, layers: int, context: bool, spare: int
) -> None:
    wiring = graph.wire(matrix, width=len(matrix) + spare, context=context)
    assert (realised(wiring, layers) == matrix).all()
    assert wiring.context.all() == context


@given(adjacencies(), st.integers(1, 8), st.integers(1, 3), st.booleans())
def test_a_narrow_network_stays_within_the_adjacency(
    matrix: graph.Adjacency, width: int, layers: int, context: bool
) -> None:
    wiring = graph.wire(matrix, width=width, context=context)
    assert not (realised(wiring, layers) & ~matrix).any()
    # a residual connection hands a unit on to itself
    assert not (wiring.outputs.astype(np.int64) @ wiring.inputs.astype(np.int64))[~matrix].any()


@given(adjacencies())
def test_no_unit_is_idle(matrix: graph.Adjacency) -> None:
    wiring = graph.wire(matrix, width=16)
    if matrix.any():
        assert wiring.inputs.any(axis=1).all()
        assert wiring.outputs.any(axis=0).all()
        assert wiring.hidden.diagonal().all()


@given(st.permutations(range(7)))
def test_an_order_gives_all_before_it(order: list[int]) -> None:
    matrix = graph.from_order(order)
    for place, feature in enumerate(order):
        assert set(np.flatnonzero(matrix[feature])) == set(order[:place])
    assert graph.topological_order(matrix) == tuple(order)
    assert graph.passes(matrix) == 7


@given(adjacencies())
def test_parents_both_ways(matrix: graph.Adjacency) -> None:
    assert (graph.from_parents(graph.parents_of(matrix)) == matrix).all()


@given(adjacencies())
def test_a_topological_order_follows_the_parents(matrix: graph.Adjacency) -> None:
    place = {feature: k for k, feature in enumerate(graph.topological_order(matrix))}
    assert all(place[j] < place[i] for i, j in np.argwhere(matrix))


@given(adjacencies())
def test_passes_is_the_longest_chain(matrix: graph.Adjacency) -> None:
    steps, power = 1, matrix.astype(np.int64)
    while power.any():
        steps, power = steps + 1, np.minimum(power @ matrix, 1)
    assert graph.passes(matrix) == steps


def test_the_strongest_parents_within_a_budget() -> None:
    ranking = [(1, 2, 3), (2, 0, 3), (0, 1, 3), (2, 1, 0)]
    order = (3, 1, 0, 2)
    assert graph.strongest_parents(order, ranking, 1) == ((1,), (3,), (0,), ())
    assert graph.strongest_parents(order, ranking, 2) == ((1, 3), (3,), (0, 1), ())
    assert graph.strongest_parents(order, ranking, (0, 1, 2, 3)) == ((), (3,), (0, 1), ())


@pytest.mark.parametrize(
    ("parents", "named"),
    [
        (((1,), (0,)), "(0, 1)"),
        (((), (1,)), "feature 1"),
        (((), (2,)), "feature 1"),
        (((-1,), ()), "feature 0"),
        (((), (2,), (3,), (1,)), "(1, 2, 3)"),
    ],
)
def test_wrong_parents_are_named(parents: graph.Parents, named: str) -> None:
    with pytest.raises(ValueError, match="`parents`") as error:
        graph.from_parents(parents)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("order", [(0, 2), (0, 0), (1, 2, 3), (-1, 0)])
def test_wrong_orders_are_named(order: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="`order` must name each"):
        graph.from_order(order)
