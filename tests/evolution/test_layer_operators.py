from __future__ import annotations

import numpy as np
import pytest

from nfopt import masks as m
from nfopt.evolution import Category, Genome, Integer, Layout, MaskBlock
from nfopt.evolution.operators.table import OPERATORS, Context

ROWS = ["CCCTTT", "TTTCCC", "CTCTCT", "TCTCTC"]
PAIRS = Layout((Integer(1, 8),), MaskBlock(8, 6, pairs=True, depth=0))
SINGLE = Layout((Integer(1, 8),), MaskBlock(8, 6, depth=0))
KINDS = Layout(
    (Integer(1, 6), *[Category(9)] * 6),
    MaskBlock(6, 6, depth=0),
    layer_of=(-1, 0, 1, 2, 3, 4, 5),
)


def children(name: str, layout: Layout, genome: Genome, held: tuple[int, ...] = ()) -> list[Genome]:
    context, rng = Context(frozenset(held)), np.random.default_rng(0)
    made = [OPERATORS[name](layout, (genome,), rng, context) for _ in range(60)]
    return [child for child in made if child is not None]


def rows(genome: Genome) -> tuple[str, ...]:
    """The masks of the layers in use."""
    assert genome.masks is not None
    return m.letters(genome.masks)[: genome.values[0]]


def without(long: tuple[str, ...], short: tuple[str, ...]) -> bool:
    """Whether the shorter is the longer with one stretch taken out."""
    gap = len(long) - len(short)
    return any(long[:k] + long[k + gap :] == short for k in range(len(short) + 1))


@pytest.mark.parametrize("layout", [PAIRS, SINGLE])
def test_layers_are_inserted_and_deleted_and_the_others_stay(layout: Layout) -> None:
    genome = layout.repaired(Genome((4,), m.parse(ROWS)))
    longer = children("insert_layer", layout, genome)
    assert {child.values[0] for child in longer} == {5, 6}
    assert all(without(rows(child), rows(genome)) for child in longer)
    shorter = children("delete_layer", layout, genome)
    assert {child.values[0] for child in shorter} == {2, 3}
    kept = [child for child in shorter if without(rows(genome), rows(child))]
    assert len(kept) >= len(shorter) * (1.0 if layout is PAIRS else 0.5)  # the rest is repaired


def test_new_layers_are_balanced() -> None:
    genome = SINGLE.repaired(Genome((4,), m.parse(ROWS)))
    for child in children("insert_layer", SINGLE, genome):
        assert all(row.count("T") == 3 for row in rows(child))


def test_the_depth_stays_within_its_range_and_its_hold() -> None:
    for layout in (PAIRS, SINGLE):
        deepest = layout.with_values(
            layout.repaired(Genome((4,), m.parse(ROWS))), {0: 8}, np.random.default_rng(0)
        )
        flattest = layout.repaired(Genome((1,), m.parse(ROWS)))
        assert children("insert_layer", layout, deepest) == []
        assert children("delete_layer", layout, flattest) == []
        assert children("insert_layer", layout, flattest, held=(0,)) == []
        assert children("delete_layer", layout, deepest, held=(0,)) == []


def test_an_exchange_moves_whole_pairs() -> None:
    genome = PAIRS.repaired(Genome((4,), m.parse(ROWS)))
    found = {rows(child) for child in children("exchange_layers", PAIRS, genome)}
    assert found == {(*ROWS[2:], *ROWS[:2])}
    single = SINGLE.repaired(Genome((4,), m.parse(ROWS)))
    found = {rows(child) for child in children("exchange_layers", SINGLE, single)}
    assert len(found) == 6
    assert all(sorted(each) == sorted(ROWS) for each in found)


def test_the_variables_of_a_layer_move_with_its_mask() -> None:
    genome = KINDS.repaired(Genome((4, 1, 2, 3, 4, 0, 0), m.parse(ROWS)))
    kind = dict(zip(ROWS, (1, 2, 3, 4), strict=True))
    for child in children("exchange_layers", KINDS, genome):
        assert [kind[row] for row in rows(child)] == list(child.values[1:5])
    for child in children("insert_layer", KINDS, genome):
        old = [(row, value) for row, value in zip(rows(child), child.values[1:], strict=False)]
        assert sum((row, value) in kind.items() for row, value in old) >= 4


def test_held_variables_of_layers_stay_and_masks_move() -> None:
    genome = KINDS.repaired(Genome((4, 1, 2, 3, 4, 0, 0), m.parse(ROWS)))
    for child in children("exchange_layers", KINDS, genome, held=(3,)):
        assert child.values == genome.values
        assert sorted(rows(child)) == sorted(ROWS)


def test_layers_without_masks_are_a_sequence_of_variables() -> None:
    layout = Layout((Integer(1, 4), *[Category(9)] * 4), layer_of=(-1, 0, 1, 2, 3), depth=0)
    genome = layout.repaired(Genome((3, 5, 6, 7, 8)))
    assert genome.values == (3, 5, 6, 7, 0)
    found = {child.values for child in children("delete_layer", layout, genome)}
    one = {(2, 6, 7, 0, 0), (2, 5, 7, 0, 0), (2, 5, 6, 0, 0)}
    assert found == one | {(1, 7, 0, 0, 0), (1, 5, 0, 0, 0)}
    longer = children("insert_layer", layout, genome)
    assert {child.values[0] for child in longer} == {4}
    assert all({5, 6, 7} <= set(child.values[1:]) for child in longer)
