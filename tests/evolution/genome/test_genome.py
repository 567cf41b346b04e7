from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evolution.layouts import LAYOUTS, MIXED, same
from nfopt import masks as m
from nfopt.adjacency import topological_order
from nfopt.evolution import Category, EdgeBlock, Genome, Integer, Layout, MaskBlock, Real, Usage


def masks_of(*rows: str) -> m.Masks:
    return m.parse(rows)


def rows_of(genome: Genome) -> tuple[str, ...]:
    assert genome.masks is not None
    return m.letters(genome.masks)


@pytest.mark.parametrize("name", LAYOUTS)
def test_random_genomes_are_feasible_and_repair_is_idempotent(name: str) -> None:
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    for _ in range(30):
        genome = layout.random(rng)
        assert layout.feasible(genome)
        assert same(layout.repaired(genome), genome)
        assert layout.distance(genome, genome) == 0.0


@st.composite
def any_genome(draw: st.DrawFn) -> tuple[Layout, Genome]:
    """Any values and arrays, however wrong, of the right shapes."""
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    number = st.integers(-5, 400) | st.floats(-2, 2)
    values = tuple([draw(number) for _ in layout.variables])
    masks = order = parents = None
    if layout.masks is not None:
        size = (layout.masks.layers, layout.masks.features)
        masks = draw(hnp.arrays("<U1", size, elements=st.sampled_from("CTI")))
    if layout.edges is not None:
        d = layout.edges.features
        order = draw(hnp.arrays(np.intp, d, elements=st.integers(-2, d + 2)))
        parents = draw(hnp.arrays(bool, (d, d)))
    return layout, Genome(values, masks, order, parents)


@given(any_genome())
def test_repair_makes_anything_feasible_and_canonical(given: tuple[Layout, Genome]) -> None:
    layout, genome = given
    found = layout.repaired(genome)
    assert same(layout.repaired(found), found)
    assert same(layout.repaired(genome), found)  # deterministic
    for variable, value in zip(layout.variables, found.values, strict=True):
        assert variable.nearest(value) == value
    if found.masks is not None and layout.masks is not None:
        usage = layout.used(found.values)
        used = np.array(usage.layers)
        assert m.is_valid(found.masks[used], cover=usage.cover)
        if not layout.masks.idle:
            assert not (found.masks == "I").any()
        if layout.masks.pairs:
            for first in range(0, len(found.masks) - 1, 2):
                if used[first : first + 2].any():
                    pair = found.masks[first : first + 2]
                    assert (pair[0] != pair[1]).all()
                else:
                    assert (found.masks[first : first + 2] == "C").all()
        else:
            assert (found.masks[~used] == "C").all()
    if found.parents is not None and layout.edges is not None:
        assert found.parents.sum(axis=1).max(initial=0) <= layout.budget(found.values)
        assert not found.parents.diagonal().any()
        order = found.order if layout.edges.orders else layout.edges.order
        assert (found.order is not None) == layout.edges.orders
        if order is not None:
            place = np.argsort(np.asarray(order))
            assert all(place[j] < place[i] for i, j in np.argwhere(found.parents))
            topological_order(found.parents)


def test_masks_are_repaired_as_a_search_space_builds_them() -> None:
    # Each layer alone, then its complement, then those in use together.
    layout = Layout((Integer(1, 4),), MaskBlock(4, 4, pairs=True, depth=0))
    genome = Genome((3,), masks_of("TTTT", "CCCC", "CCTT", "CCCC"))
    assert rows_of(layout.repaired(genome)) == ("CTTT", "TCCC", "CCTT", "TTCC")
    assert rows_of(layout.repaired(replace(genome, values=(2,)))) == ("CTTT", "TCCC", *["CCCC"] * 2)


def test_what_is_not_in_use_is_not_in_the_key() -> None:
    layout = Layout((Integer(1, 4), Category(2)), MaskBlock(4, 3, depth=0))
    a = layout.repaired(Genome((2, 1), masks_of("CTT", "TCC", "TTC", "CTC")))
    b = layout.repaired(Genome((2, 1), masks_of("CTT", "TCC", "CTC", "TTC")))
    c = layout.repaired(Genome((2, 0), masks_of("CTT", "TCC", "CTC", "TTC")))
    assert a == b
    assert a.key == b.key
    assert len({a, b, c}) == 2


def test_a_usage_puts_variables_to_rest() -> None:
    layout = Layout(
        (Category(2), Integer(2, 6)), usage=lambda values: Usage((True, values[0] == 1))
    )
    assert layout.repaired(Genome((0, 6))).values == (0, 4)
    assert layout.repaired(Genome((1, 6))).values == (1, 6)


def test_edges_that_no_layer_goes_by_rest_and_are_drawn_when_one_does() -> None:
    layout, rng = LAYOUTS["kinds, masks and edges"], np.random.default_rng(0)
    kinds = slice(len(MIXED), None, 2)
    genomes = [layout.random(rng) for _ in range(60)]
    without = [g for g in genomes if not any(g.values[kinds][: int(g.values[0])])]
    assert 0 < len(without) < 60
    assert not any(g.parents.any() for g in without if g.parents is not None)
    one = without[0]
    other = Genome(one.values, one.masks, one.order, rng.random((7, 7)) < 0.5)
    assert layout.repaired(other) == one
    grown = layout.with_values(one, {len(MIXED): 1}, rng)
    assert grown.parents is not None
    assert grown.parents.any()


def test_layers_that_commute_have_one_order() -> None:
    block = MaskBlock(2, 4, idle=True, cover=False, commute=True)
    rows = masks_of("IITC", "TCII")
    assert rows_of(Layout((), block).repaired(Genome((), rows))) == ("IITC", "TCII")
    assert rows_of(Layout((), block).repaired(Genome((), rows[::-1]))) == ("IITC", "TCII")
    still = Layout((), replace(block, commute=False))
    assert rows_of(still.repaired(Genome((), rows[::-1]))) == ("TCII", "IITC")


def test_edges_beyond_order_and_budget_are_dropped() -> None:
    layout = Layout((), edges=EdgeBlock(4, 2, orders=True))
    genome = Genome((), None, np.array([2, 0, 3, 1]), np.ones((4, 4), dtype=bool))
    parents = layout.repaired(genome).parents
    assert parents is not None
    # The two nearest before each in the order.
    assert [list(np.flatnonzero(row)) for row in parents] == [[2], [0, 3], [], [0, 2]]


def test_the_order_is_made_whole() -> None:
    layout = Layout((), edges=EdgeBlock(4, orders=True))
    genome = layout.repaired(Genome((), None, np.array([2, 9, 2, 0]), None))
    assert genome.order is not None
    assert list(genome.order) == [2, 0, 1, 3]


def test_a_held_depth_draws_the_new_layers() -> None:
    layout = Layout((Integer(1, 6), Real(0, 1)), MaskBlock(6, 8, pairs=True, depth=0))
    genome = layout.repaired(Genome((2, 0.5), masks_of("CCCCTTTT", *["C" * 8] * 5)))
    deeper = layout.with_values(genome, {0: 6}, np.random.default_rng(0))
    assert deeper.values == (6, 0.5)
    assert rows_of(deeper)[:2] == rows_of(genome)[:2]
    assert all(row.count("T") == 4 for row in rows_of(deeper))
    assert layout.with_values(genome, {0: 2}, np.random.default_rng(0)) is genome


def test_what_is_held_is_not_drawn() -> None:
    layout = Layout((Integer(1, 3), *[Category(50)] * 3), layer_of=(-1, 0, 1, 2), depth=0)
    genome = layout.repaired(Genome((1, 7, 0, 0)))
    for seed in range(20):
        found = layout.with_values(genome, {0: 3, 2: 0}, np.random.default_rng(seed))
        assert found.values[:3] == (3, 7, 0)
    assert found.values[3] > 0


def test_arrays_are_read_only_and_genomes_hash_by_key() -> None:
    genome = LAYOUTS["all"].random(np.random.default_rng(0))
    for array in (genome.masks, genome.order, genome.parents):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    assert genome != genome.values
    assert len(genome.key) == 20


def test_distance_counts_each_part() -> None:
    layout = Layout((Real(0, 1), Category(3)), MaskBlock(2, 4), EdgeBlock(4))
    none = np.zeros((4, 4), dtype=bool)
    one = none.copy()
    one[0, 1] = True
    a = Genome((0.25, 0), masks_of("CCTT", "TTCC"), None, none)
    b = Genome((0.75, 2), masks_of("CTTT", "TTCC"), None, one)
    assert layout.distance(a, b) == layout.distance(b, a) == pytest.approx(0.5 + 1 + 0.25 + 0.25)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: MaskBlock(0, 3), r"`layers` must be at least 1 and `features` at least 2"),
        (lambda: MaskBlock(3, 1), r"not 3 and 1\."),
        (lambda: MaskBlock(3, 3, idle=True, pairs=True), r"`pairs` can't be true"),
        (lambda: EdgeBlock(0), r"`features` must be at least 1, not 0\."),
        (lambda: EdgeBlock(3, -1), r"`budget` must be 0 or more, not -1\."),
        (lambda: EdgeBlock(3, order=(0, 1, 1)), r"`order` must name each feature"),
        (lambda: Layout(MIXED, MaskBlock(3, 3, depth=1)), r"must have an Integer at 1"),
        (lambda: Layout(MIXED, layer_of=(0,)), r"`layer_of` must have one entry a variable"),
        (lambda: Layout((Category(2),) * 3, layer_of=(0, 0, 1)), r"each layer equally often"),
        (
            lambda: Layout((), MaskBlock(2, 3)).repaired(Genome((), masks_of("CT", "TC"))),
            r"`masks` must have 3 features, not 2\.",
        ),
        (
            lambda: Layout((), edges=EdgeBlock(2)).repaired(
                Genome((), parents=np.zeros((3, 3), bool))
            ),
            r"`parents` must have shape \(2, 2\), not \(3, 3\)\.",
        ),
    ],
)
def test_what_does_not_fit_is_named(make: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()  # type: ignore[operator]
