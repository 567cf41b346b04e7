"""From a flow back to parameters: recipes are found, what is outside is named."""

from __future__ import annotations

import pytest

from nfopt import recipes
from nfopt.space import Guide, SearchSpace
from nfopt.spec import (
    LU,
    Autoregressive,
    Conditioner,
    Elementwise,
    FlowSpec,
    Recipe,
    Reverse,
    Spline,
    TrainSpec,
)

from .toys import coupling, data

NET = Conditioner(width=300, hidden_layers=2, activation="tanh")
RECIPE = FlowSpec(
    features=5,
    layers=(
        LU(),
        Autoregressive(order=(0, 1, 2, 3, 4), map=Spline(bins=20, bound=8.0), conditioner=NET),
        LU(),
        Autoregressive(order=(4, 3, 2, 1, 0), map=Spline(bins=20, bound=8.0), conditioner=NET),
    ),
)
FITTING = TrainSpec(batch_size=64)
TRAINING = TrainSpec(learning_rate=2e-2, batch_size=48, steps=777, clip=3.0, dropout=0.4)


def test_a_recipe_widens_the_defaults_and_is_found_again() -> None:
    space = SearchSpace.for_data(data(5), recipes=[Recipe(RECIPE, TRAINING)])
    built = space.build(space.params_of(Recipe(RECIPE, TRAINING)))
    flow, train = built.flow, built.train
    assert flow == RECIPE
    assert train == TrainSpec(
        learning_rate=2e-2, batch_size=48, steps=777, clip=3.0, dropout=0.4, weight_decay=1e-6
    )
    assert space.limits["steps"] == (777, 777)
    assert space.limits["width"] == (16, 300)
    assert space.limits["depth"] == (1, 8)


@pytest.mark.parametrize(("D", "context"), [(1, 0), (1, 2), (2, 0), (3, 2), (10, 0), (64, 0)])
def test_first_trials_are_in_every_space_that_has_their_layers(D: int, context: int) -> None:
    for rows in (50, 500, 1_000_000):
        tried = recipes.portfolio(D, rows, context_features=context)
        pairs = recipes.couplings(D, context_features=context) if D > 1 else None
        guide = Guide.measure(data(D), 8)
        for kind in ("full", "adjacency", "layers", "coupling"):
            if kind == "coupling" and D == 1:
                continue
            space = SearchSpace.create(
                D, rows, kind=kind, context_features=context, recipes=tried, guide=guide
            )
            flows = [each.flow for each in tried if kind != "coupling" or each.flow == pairs]
            if kind == "adjacency":
                flows = [flow for flow in flows if flow != pairs]
            for flow in flows:
                built = space.build(space.params_of(Recipe(flow, tried[0].train)))
                found, train = built.flow, built.train
                assert found == flow
                assert train.steps == tried[0].train.steps
                assert train.batch_size == tried[0].train.batch_size


def test_a_users_limit_is_not_widened() -> None:
    limits = {"width": [16, 64]}
    space = SearchSpace.for_data(data(5), limits=limits, recipes=[Recipe(RECIPE, TRAINING)])
    assert space.limits["width"] == (16, 64)
    with pytest.raises(
        ValueError, match="`flow` is outside the space: width is 300, the space has 16"
    ):
        space.params_of(Recipe(RECIPE, TRAINING))


def test_what_is_fixed_of_the_training_is_not_looked_at() -> None:
    space = SearchSpace.for_data(data(5), limits={"steps": 50}, recipes=[Recipe(RECIPE, TRAINING)])
    assert space.build(space.params_of(Recipe(RECIPE, TRAINING))).train.steps == 50


OUTSIDE = {
    "features": (FlowSpec(features=3), "it has 3 features and 0 context features, the space 4"),
    "context": (FlowSpec(features=4, context_features=1), "1 context features"),
    "depth": (
        FlowSpec(features=4, layers=(coupling("CTCT"),) * 3),
        "depth is 3, the space has 1 to 2",
    ),
    "no layer": (FlowSpec(features=4), "depth is 0"),
    "kind": (FlowSpec(features=4, layers=(Elementwise(),)), "layer 1 is elementwise"),
    "mixing last": (FlowSpec(features=4, layers=(coupling("CTCT"), LU())), "its last layer is lu"),
    "mixing once": (
        FlowSpec(features=4, layers=(coupling("CTCT"), LU(), coupling("TCTC"))),
        "mixing is lu in one layer and none in another",
    ),
    "mixing": (FlowSpec(features=4, layers=(LU(), LU(), coupling("CTCT"))), "mixing is lu_lu"),
    "width": (
        FlowSpec(features=4, layers=(coupling("CTCT", width=64), coupling("TCTC", width=32))),
        "width is 32 in one layer and 64 in another",
    ),
    "not a pair": (
        FlowSpec(features=4, layers=(coupling("CTCT"), coupling("TTCC"))),
        'layer 1 is {"kind":"coupling","mask":"TTCC"',
    ),
    "idle": (
        FlowSpec(features=4, layers=(coupling("CTCI"),)),
        'layer 0 is {"kind":"coupling","mask":"CTCI"',
    ),
    "map": (
        FlowSpec(features=4, layers=(coupling("CTCT"), coupling("TCTC", map=Spline()))),
        'layer 1 is {"kind":"coupling","mask":"TCTC","map":{"kind":"spline"',
    ),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_what_is_outside_is_named(case: str) -> None:
    flow, says = OUTSIDE[case]
    space = SearchSpace.for_data(data(4), kind="coupling", limits={"depth": [1, 2]})
    with pytest.raises(ValueError, match="`flow` is outside the space: ") as caught:
        space.params_of(Recipe(flow, FITTING))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_training_and_orders_outside_are_named() -> None:
    limits = {"orders": ["given", "reverse"]}
    space = SearchSpace.for_data(data(4), kind="adjacency", limits=limits)
    layer = Autoregressive(order=(2, 0, 3, 1), conditioner=Conditioner())
    with pytest.raises(ValueError, match=r"the order of layer 1, .* are none that the space has"):
        space.params_of(Recipe(FlowSpec(features=4, layers=(layer,)), FITTING))
    layer = Autoregressive(order=(0, 1, 2, 3), conditioner=Conditioner())
    with pytest.raises(ValueError, match=r"`train` is outside the space: learning_rate is 0\.5"):
        space.params_of(Recipe(FlowSpec(features=4, layers=(layer,)), TrainSpec(learning_rate=0.5)))


def test_a_free_order_is_found_from_the_edges() -> None:
    """A chain in an order that has no name, there and back, behind a permutation or not."""
    net = Conditioner(width=32)
    there = Autoregressive(parents=((3,), (), (1, 3), (1,)), conditioner=net)
    back = Autoregressive(parents=((), (2, 3), (), (0, 2)), conditioner=net)
    whole = (
        Autoregressive(order=(1, 3, 0, 2), conditioner=net),
        Autoregressive(order=(2, 0, 3, 1), conditioner=net),
    )
    both = {"orders": ["searched", "searched_reverse"], "mixing": ["none", "reverse"]}
    space = SearchSpace.for_data(data(4), kind="adjacency", limits=both)
    for layers in ((there, back), (back, there), whole, (Reverse(), there)):
        flow = FlowSpec(features=4, layers=layers)
        assert space.build(space.params_of(Recipe(flow, FITTING))).flow == flow
    limits = {"orders": "searched"}
    space = SearchSpace.for_data(data(4), kind="adjacency", limits=limits)
    flow = FlowSpec(features=4, layers=(back, back))
    assert space.build(space.params_of(Recipe(flow, FITTING))).flow == flow
    with pytest.raises(ValueError, match=r"the parents of layer 2, .* are none that the space has"):
        space.params_of(Recipe(FlowSpec(features=4, layers=(there, back)), FITTING))
