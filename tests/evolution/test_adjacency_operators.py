from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution import EdgeBlock, Genome, Integer, Layout
from nfopt.evolution.operators.edges import trimmed
from nfopt.evolution.operators.table import OPERATORS, Context

D = 8
CHAIN = Layout((), edges=EdgeBlock(D, orders=True))


def chain() -> Genome:
    """Each feature depends on the one before it."""
    return CHAIN.repaired(Genome((), None, np.arange(D), np.eye(D, k=-1, dtype=bool)))


def children(name: str, layout: Layout, genome: Genome, ctx: Context, count: int) -> list[Genome]:
    rng = np.random.default_rng(0)
    made = [OPERATORS[name](layout, (genome,), rng, ctx) for _ in range(count)]
    return [child for child in made if child is not None]


def edges(genome: Genome) -> set[tuple[int, int]]:
    assert genome.parents is not None
    return {(int(i), int(j)) for i, j in np.argwhere(genome.parents)}


def test_edges_are_added_by_the_dependence_of_the_data() -> None:
    matrix = np.zeros((D, D))
    matrix[5, 2] = matrix[2, 5] = 1.0
    made = children("add_edges", CHAIN, chain(), Context(dependence=matrix), 200)
    first = np.mean([(5, 2) in edges(child) for child in made])
    blind = children("add_edges", CHAIN, chain(), Context(), 200)
    assert first > 0.6
    assert np.mean([(5, 2) in edges(child) for child in blind]) < 0.35
    assert all(edges(child) > edges(chain()) for child in made)


def test_the_least_dependent_edges_are_dropped() -> None:
    matrix = np.eye(D, k=1) + np.eye(D, k=-1)
    matrix[3, 2] = matrix[2, 3] = 0.0
    made = children("remove_edges", CHAIN, chain(), Context(dependence=matrix), 200)
    assert np.mean([(3, 2) not in edges(child) for child in made]) > 0.8
    assert all(edges(child) < edges(chain()) for child in made)


def test_a_redirected_edge_stays_with_its_feature() -> None:
    for child in children("redirect_edges", CHAIN, chain(), Context(), 50):
        assert child.parents is not None
        assert child.parents.sum(axis=1).tolist() == [0, *[1] * (D - 1)]


@pytest.mark.parametrize("name", ["reverse_order", "insert_in_order", "swap_in_order"])
def test_another_order_turns_edges_round_and_loses_none(name: str) -> None:
    made = children(name, CHAIN, chain(), Context(), 60)
    assert len(made) >= 20
    wanted = {frozenset(edge) for edge in edges(chain())}
    for child in made:
        assert {frozenset(edge) for edge in edges(child)} == wanted
        assert edges(child) != edges(chain())


def test_neighbours_without_an_edge_are_not_exchanged() -> None:
    empty = CHAIN.repaired(Genome((), None, np.arange(D), np.zeros((D, D), bool)))
    assert children("swap_in_order", CHAIN, empty, Context(), 10) == []


def test_budgets_keep_the_strongest_parents() -> None:
    layout = Layout((Integer(1, 7),), edges=EdgeBlock(D, orders=True, limit=0))
    full = layout.repaired(Genome((7,), None, np.arange(D), np.tri(D, k=-1, dtype=bool)))
    matrix = np.abs(np.subtract.outer(np.arange(D), np.arange(D))).astype(float)  # far is strong
    for child in children("budgets", layout, full, Context(dependence=matrix), 40):
        assert child.parents is not None
        counts = child.parents.sum(axis=1)
        assert counts.max() <= child.values[0]
        for row in range(D):
            if counts[row] < row:  # trimmed
                assert child.parents[row, : counts[row]].all()


def test_a_held_budget_stays() -> None:
    layout = Layout((Integer(1, 7),), edges=EdgeBlock(D, orders=True, limit=0))
    genome = layout.random(np.random.default_rng(3))
    made = children("budgets", layout, genome, Context(frozenset({0})), 40)
    assert made
    assert {child.values for child in made} == {genome.values}


def test_parent_counts_move_up_and_down_without_a_variable() -> None:
    layout = Layout((), edges=EdgeBlock(D, 5, orders=True))
    parents = np.tri(D, k=-1, dtype=bool) & ~np.tri(D, k=-4, dtype=bool)
    genome = layout.repaired(Genome((), None, np.arange(D), parents))
    counts = {
        int(c.parents.sum(axis=1).max()) for c in children("budgets", layout, genome, Context(), 60)
    }
    assert min(counts) < 3 < max(counts) <= 5


def test_trimmed_keeps_the_strongest() -> None:
    parents = np.array([[1, 1, 1], [0, 1, 0], [1, 0, 1]], dtype=bool)
    weights = np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1.0, 9.0, 2.0]])
    assert trimmed(parents, weights, 1).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert trimmed(parents, weights, np.array([2, 0, 5])).tolist() == [
        [True, False, True],
        [False, False, False],
        [True, False, True],
    ]
