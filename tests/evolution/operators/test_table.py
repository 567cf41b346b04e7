"""The contract of every operator in the table, on every layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evolution.layouts import LAYOUTS, features, same, strengths
from nfopt.evolution import Genome, Layout
from nfopt.evolution.mating import Mating
from nfopt.evolution.operators import table as operators
from nfopt.evolution.operators.context import pick, power_law, several, weighted
from nfopt.evolution.operators.table import OPERATORS, Context, applicable
from nfopt.evolution.settings import Settings


@st.composite
def any_call(draw: st.DrawFn) -> tuple[str, Layout, tuple[Genome, ...], Context, int]:
    layout = LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    count = len(layout.variables)
    held = frozenset(draw(st.sets(st.integers(0, count - 1)))) if count else frozenset()
    matrix = strengths(layout, rng)
    context = Context(
        held,
        dependence=draw(st.sampled_from([None, matrix, np.zeros_like(matrix)])),
        scale=draw(st.sampled_from([0.01, 1.0, 10.0])),
    )
    names = sorted(name for name, o in OPERATORS.items() if o.needs(layout, context))
    name = draw(st.sampled_from(names or ["step"]))
    parents = tuple([layout.random(rng) for _ in range(OPERATORS[name].parents)])
    return name, layout, parents, context, draw(st.integers(0, 10_000))


@settings(max_examples=300)
@given(any_call())
def test_a_child_is_feasible_new_and_keeps_what_is_held(
    call: tuple[str, Layout, tuple[Genome, ...], Context, int],
) -> None:
    name, layout, parents, context, seed = call
    operator = OPERATORS[name]
    before = [_copied(parent) for parent in parents]
    child = operator(layout, parents, np.random.default_rng(seed), context)
    again = operator(layout, parents, np.random.default_rng(seed), context)
    assert all(same(old, now) for old, now in zip(before, parents, strict=True))
    if child is None:
        assert again is None
        return
    assert again is not None
    assert same(child, again)
    assert same(layout.repaired(child), child)
    assert child.key not in {parent.key for parent in parents}
    assert all(child.values[index] == parents[0].values[index] for index in context.held)


def _copied(genome: Genome) -> Genome:
    arrays = [_copy(array) for array in (genome.masks, genome.order, genome.parents)]
    return Genome(genome.values, *arrays, tuple(map(_copied, genome.parts)))


def _copy(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None else array.copy()


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_makes_children_somewhere(name: str) -> None:
    operator, rng = OPERATORS[name], np.random.default_rng(0)
    made = 0
    for layout in LAYOUTS.values():
        matrix = strengths(layout, rng)
        context = Context(dependence=matrix)
        if operator.needs(layout, context):
            parents = [[layout.random(rng) for _ in range(operator.parents)] for _ in range(10)]
            children = [operator(layout, tuple(each), rng, context) for each in parents]
            made += sum(child is not None for child in children)
    assert made >= 5


def test_only_what_a_genome_has_is_worked_on() -> None:
    assert applicable(LAYOUTS["one category"], Context()) == ("category",)
    assert applicable(LAYOUTS["one category"], Context(frozenset({0}))) == ()
    assert applicable(LAYOUTS["edges"], Context()) == (
        "add_edges",
        "remove_edges",
        "redirect_edges",
        "budgets",
    )
    held = Context(frozenset(range(8)))
    assert applicable(LAYOUTS["pairs"], held) == (
        "flips",
        "swap",
        "columns",
        "complement",
        "redraw",
        "exchange_layers",
    )
    assert applicable(LAYOUTS["values"], Context(), parents=2) == (
        "cross_values",
        "blend_values",
        "cross_all",
    )
    for layout in LAYOUTS.values():
        names = applicable(layout, Context())
        assert not any(OPERATORS[name].plain for name in names)


def test_what_rests_is_not_worked_on() -> None:
    """No operator on edges is drawn for a parent whose layers do not go by them."""
    layout, rng = LAYOUTS["kinds, masks and edges"], np.random.default_rng(0)
    mating = Mating(layout, Settings(), None)
    edges = {name for name, operator in OPERATORS.items() if operator.needs is operators._edges}
    masks = {name for name, operator in OPERATORS.items() if operator.needs is operators._masks}
    tried: list[tuple[set[str], bool, bool]] = []
    for _ in range(200):
        parent = layout.random(rng)
        child = mating.child([parent], rng, tournament=1, crossover=0.0, held={})
        if child is not None:
            found = layout.used(parent.values)
            tried.append(({child.operators[0]}, found.edges, any(found.layers)))
    assert {used for _, used, _ in tried} == {used for _, _, used in tried} == {True, False}
    assert not any(names & edges for names, used, _ in tried if not used)
    assert not any(names & masks for names, _, used in tried if not used)
    assert any(names & edges for names, used, _ in tried if used)
    assert not edges & {*applicable(layout, Context(edges=False))}
    assert not masks & {*applicable(layout, Context(masks=False))}


def test_the_table_is_keyed_by_name() -> None:
    assert all(name == operator.name for name, operator in OPERATORS.items())
    assert all(operator.weight > 0 for operator in OPERATORS.values())


def test_power_law_halves_from_one_to_two() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([power_law(50, rng) for _ in range(20_000)])
    assert drawn.min() == 1
    assert drawn.max() <= 50
    assert (drawn >= 2).mean() == pytest.approx(0.5, abs=0.03)
    assert (drawn >= 10).mean() == pytest.approx(0.0965, abs=0.01)
    assert {power_law(1, rng) for _ in range(20)} == {1}


def test_weighted_draws_in_proportion_and_never_a_zero() -> None:
    rng = np.random.default_rng(0)
    drawn = [weighted(np.array([0.0, 1.0, 0.0, 3.0, 0.0]), rng) for _ in range(4000)]
    assert set(drawn) == {1, 3}
    assert drawn.count(3) == pytest.approx(3000, abs=120)
    assert weighted(np.zeros(3), rng) is None
    assert weighted(np.zeros(0), rng) is None


def test_several_are_different_and_within() -> None:
    rng = np.random.default_rng(0)
    for wanted in (1, 2, 7):
        found = several(7, wanted, rng)
        assert 1 <= len(found) <= wanted
        assert len(set(found)) == len(found)
        assert found.max() < 7
    assert {pick(3, rng) for _ in range(100)} == {0, 1, 2}


def test_features_of_layouts_without_any() -> None:
    assert features(LAYOUTS["values"]) == 2
