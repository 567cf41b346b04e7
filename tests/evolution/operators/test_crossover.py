from __future__ import annotations

import numpy as np
import pytest

from nfopt import masks as m
from nfopt.evolution import Category, EdgeBlock, Genome, Integer, Layout, MaskBlock, Real
from nfopt.evolution.operators.crossover import BEYOND
from nfopt.evolution.operators.table import OPERATORS, Context

A = ["CCCTTT", "TTTCCC", "CTCTCT", "TCTCTC", "CCTTCT", "TTCCTC"]
B = ["CTTCCT", "TCCTTC", "CTTTCC", "TCCCTT", "CTCCTT", "TCTTCC"]
VARIABLES = (Integer(1, 6), Real(0, 1), Category(4))
PAIRS = Layout(VARIABLES, MaskBlock(6, 6, pairs=True, depth=0))
SINGLE = Layout(VARIABLES, MaskBlock(6, 6, depth=0))


def two(layout: Layout, depths: tuple[int, int] = (6, 6)) -> tuple[Genome, Genome]:
    return (
        layout.repaired(Genome((depths[0], 0.25, 1), m.parse(A))),
        layout.repaired(Genome((depths[1], 0.75, 3), m.parse(B))),
    )


def children(
    name: str,
    layout: Layout,
    parents: tuple[Genome, Genome],
    count: int = 40,
    **held: frozenset[int],
) -> list[Genome]:
    context, rng = Context(**held), np.random.default_rng(0)
    made = [OPERATORS[name](layout, parents, rng, context) for _ in range(count)]
    return [child for child in made if child is not None]


def rows(genome: Genome) -> tuple[str, ...]:
    assert genome.masks is not None
    return m.letters(genome.masks)


@pytest.mark.parametrize("layout", [PAIRS, SINGLE])
def test_pairs_of_layers_are_taken_whole(layout: Layout) -> None:
    made = children("cross_layers", layout, two(layout))
    assert len({child.key for child in made}) == 6  # of 8 choices, the two that are a parent aside
    for child in made:
        for pair in range(0, 6, 2):
            assert rows(child)[pair : pair + 2] in {
                tuple(A[pair : pair + 2]),
                tuple(B[pair : pair + 2]),
            }
        assert child.values == (6, 0.25, 1)


def test_layers_that_one_parent_lacks_stay() -> None:
    for child in children("cross_layers", PAIRS, two(PAIRS, (6, 2))):
        assert rows(child) == (*B[:2], *A[2:])
    for name in ("cross_features", "cross_letters"):
        for child in children(name, SINGLE, two(SINGLE, (6, 2))):
            assert rows(child)[2:] == tuple(A[2:])
    for name in ("cross_layers", "cross_features", "cross_letters"):
        for child in children(name, PAIRS, two(PAIRS, (2, 6))):
            assert rows(child)[2:] == ("CCCCCC",) * 4


def test_variables_of_a_layer_come_with_it_unless_held() -> None:
    layout = Layout(
        (Integer(1, 4), *[Category(5)] * 4), MaskBlock(4, 6, depth=0), layer_of=(-1, 0, 1, 2, 3)
    )
    a = layout.repaired(Genome((4, 1, 1, 1, 1), m.parse(A[:4])))
    b = layout.repaired(Genome((4, 3, 3, 3, 3), m.parse(B[:4])))
    for child in children("cross_layers", layout, (a, b)):
        taken = [row == other for row, other in zip(rows(child), B, strict=False)]
        assert child.values[1:] == tuple(3 if each else 1 for each in taken)
    for child in children("cross_layers", layout, (a, b), held=frozenset({2})):
        assert child.values == a.values


def test_features_are_taken_as_columns() -> None:
    made = children("cross_features", SINGLE, two(SINGLE))
    assert len({child.key for child in made}) > 15
    a, b = two(SINGLE)
    for child in made:
        for feature in range(6):
            column = child.masks[:, feature].tolist()
            assert column in (a.masks[:, feature].tolist(), b.masks[:, feature].tolist())


def test_letters_are_those_of_a_parent_and_few_are_repaired() -> None:
    a, b = two(SINGLE)
    made = children("cross_letters", SINGLE, (a, b), 100)
    for child in made:
        agree = a.masks == b.masks
        assert (child.masks[agree] == a.masks[agree]).mean() > 0.8
    fresh = [((c.masks != a.masks) & (c.masks != b.masks)).sum() for c in made]
    assert np.mean(fresh) < 0.5


def test_values_come_from_either_parent() -> None:
    found = {child.values for child in children("cross_values", PAIRS, two(PAIRS), 100)}
    assert found == {(6, 0.25, 3), (6, 0.75, 1), (6, 0.75, 3)}
    found = {c.values for c in children("cross_values", PAIRS, two(PAIRS), held=frozenset({1}))}
    assert found == {(6, 0.25, 3)}


def test_layers_beyond_the_depth_of_one_parent_come_from_the_other() -> None:
    for name in ("cross_values", "blend_values", "cross_all"):
        made = children(name, PAIRS, two(PAIRS, (2, 6)))
        deeper = [child for child in made if child.values[0] == 6]
        assert deeper
        assert all(rows(child)[2:] == tuple(B[2:]) for child in deeper)


def test_blending_reaches_a_little_beyond() -> None:
    found = [child.values[1] for child in children("blend_values", PAIRS, two(PAIRS), 400)]
    assert min(found) < 0.25 < 0.75 < max(found)
    assert min(found) >= 0.25 - 0.5 * BEYOND
    assert max(found) <= 0.75 + 0.5 * BEYOND
    assert np.mean([0.25 <= value <= 0.75 for value in found]) > 0.5


def test_parents_of_features_are_taken_as_rows() -> None:
    layout = Layout((), edges=EdgeBlock(8, order=tuple(range(8))))
    rng = np.random.default_rng(5)
    a, b = layout.random(rng), layout.random(rng)
    for child in children("cross_parents", layout, (a, b)):
        for row, first, second in zip(child.parents, a.parents, b.parents, strict=True):
            assert row.tolist() in (first.tolist(), second.tolist())


def test_orders_are_averaged() -> None:
    layout = Layout((), edges=EdgeBlock(6, orders=True))
    full = np.ones((6, 6), dtype=bool)
    a = layout.repaired(Genome((), None, np.array([0, 1, 2, 3, 4, 5]), full))
    b = layout.repaired(Genome((), None, np.array([1, 0, 2, 3, 5, 4]), full))
    for child in children("cross_parents", layout, (a, b)):
        assert child.order is not None
        assert set(child.order[:2].tolist()) == {0, 1}
        assert child.order[2:4].tolist() == [2, 3]


def test_all_parts_are_mixed_at_once() -> None:
    layout = Layout(VARIABLES, MaskBlock(6, 6, pairs=True, depth=0), EdgeBlock(6, 3))
    rng = np.random.default_rng(1)
    a, b = layout.random(rng), layout.random(rng)
    made = children("cross_all", layout, (a, b))
    assert any((child.parents != a.parents).any() for child in made)
    assert any(child.values[1] == b.values[1] for child in made)
    assert any((child.masks != a.masks).any() for child in made)
