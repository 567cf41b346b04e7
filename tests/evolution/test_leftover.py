from __future__ import annotations

import numpy as np
import pytest

from nfopt import masks as m
from nfopt.evolution import EdgeBlock, Genome, Integer, Layout, MaskBlock
from nfopt.evolution.genome.repair import T
from nfopt.evolution.leftover import cut
from nfopt.evolution.operators.table import OPERATORS, Context

D = 12


def leftover(*pairs: tuple[int, int], features: int = D) -> np.ndarray:
    matrix = np.zeros((features, features))
    for i, j in pairs:
        matrix[i, j] = matrix[j, i] = 1.0
    return matrix


def same_side(pairs: bool) -> tuple[Layout, Genome]:
    """Halves in all layers: neither 0 and 1 nor 10 and 11 are ever parted."""
    layout = Layout((Integer(2, 8),), MaskBlock(8, D, pairs=pairs, depth=0))
    rows = ["CCCCCCTTTTTT", "TTTTTTCCCCCC"] * 2
    return layout, layout.repaired(Genome((4,), m.parse(rows)))


def parted(genome: Genome, i: int, j: int) -> bool:
    """Whether some layer has one of the two condition the other."""
    assert genome.masks is not None
    coverage = m.pair_coverage(genome.masks[: genome.values[0]])
    return bool(coverage[i, j] + coverage[j, i])


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("name", ["condition", "recut", "insert_cut"])
def test_the_worst_pair_is_parted_far_more_often_than_by_chance(name: str, pairs: bool) -> None:
    layout, genome = same_side(pairs)
    context = Context(leftover=leftover((0, 1)))
    made = [
        [OPERATORS[each](layout, (genome,), np.random.default_rng(s), context) for s in range(40)]
        for each in (name, "swap")
    ]
    directed, blind = ([parted(c, 0, 1) for c in found if c is not None] for found in made)
    assert len(directed) >= 38
    assert np.mean(directed) >= 0.95
    assert np.mean(blind) <= 0.6


def test_with_pairs_both_directions_are_seen_to() -> None:
    layout, genome = same_side(pairs=True)
    context = Context(leftover=leftover((0, 1)))
    child = OPERATORS["condition"](layout, (genome,), np.random.default_rng(0), context)
    assert child is not None
    assert child.masks is not None
    coverage = m.pair_coverage(child.masks[:4])
    assert coverage[0, 1] == coverage[1, 0] >= 1


def test_an_exchange_keeps_the_balance_and_what_the_data_need() -> None:
    layout, genome = same_side(pairs=True)
    # 0 depends on 6 and 1 on 7, and only these layers part them: others must move.
    data = leftover((0, 6), (0, 7), (0, 8), (0, 9))
    context = Context(dependence=40 * data, leftover=leftover((0, 1)))
    for seed in range(20):
        child = OPERATORS["condition"](layout, (genome,), np.random.default_rng(seed), context)
        assert child is not None
        assert child.masks is not None
        assert (child.masks == "T").sum() == (genome.masks == "T").sum()
        changed = (child.masks != genome.masks).any(axis=0)
        assert changed[1]
        assert not changed[0]


def test_an_idle_feature_of_the_worst_pair_is_put_to_use() -> None:
    layout = Layout((), MaskBlock(2, 4, idle=True))
    genome = layout.repaired(Genome((), m.parse(["ICTT", "TTCC"])))
    context = Context(leftover=leftover((0, 1), features=4))
    child = OPERATORS["condition"](layout, (genome,), np.random.default_rng(0), context)
    assert child is not None
    assert child.masks is not None
    assert child.masks[0, 0] == "T"
    assert child.masks[0, 1] == "C"


def test_a_pair_that_all_layers_part_already_is_left() -> None:
    layout, genome = same_side(pairs=True)
    context = Context(leftover=leftover((0, 11)))
    assert OPERATORS["condition"](layout, (genome,), np.random.default_rng(0), context) is None


def test_nothing_left_gives_no_child() -> None:
    layout, genome = same_side(pairs=True)
    context = Context(leftover=np.full((D, D), np.nan))
    assert OPERATORS["condition"](layout, (genome,), np.random.default_rng(0), context) is None


@pytest.mark.parametrize("features", [7, 16, 64])
def test_a_cut_is_balanced_and_finds_two_blocks(features: int) -> None:
    rng = np.random.default_rng(0)
    side = rng.permutation(features) < features // 2
    weights = (side[:, None] != side[None, :]) * 1.0
    found = cut(weights, rng) == T
    assert found.sum() in {features // 2, (features + 1) // 2}
    assert weights[np.ix_(found, ~found)].sum() >= 0.9 * weights[np.ix_(side, ~side)].sum()


def test_the_worst_pair_gets_an_edge_and_the_weakest_goes() -> None:
    layout = Layout((), edges=EdgeBlock(5, 2, orders=True))
    parents = np.zeros((5, 5), dtype=bool)
    parents[4, [0, 1]] = True
    genome = layout.repaired(Genome((), None, np.arange(5), parents))
    data = leftover((4, 1), features=5)
    context = Context(dependence=data, leftover=leftover((4, 3), features=5))
    child = OPERATORS["link"](layout, (genome,), np.random.default_rng(0), context)
    assert child is not None
    assert child.parents is not None
    assert list(np.flatnonzero(child.parents[4])) == [1, 3]


def test_an_edge_against_the_order_is_not_added() -> None:
    layout = Layout((), edges=EdgeBlock(3, order=(0, 1, 2)))
    parents = np.zeros((3, 3), dtype=bool)
    parents[2, 0] = True
    genome = layout.repaired(Genome((), None, None, parents))
    context = Context(leftover=leftover((0, 2), features=3))
    assert OPERATORS["link"](layout, (genome,), np.random.default_rng(0), context) is None
