"""Which parameters a space has, what they are called, and what they may be."""

from __future__ import annotations

import pytest

from nfopt.space import Integer, SearchSpace
from nfopt.spec import Affine, Autoregressive, Coupling

from .toys import SPACES, data, make, trials


def test_parameters_read_well() -> None:
    space = make("full", 3)
    named = list(SearchSpace.for_data(data(3), limits={"depth": [1, 2]}).parameters)
    assert named == [
        "depth", "mixing",
        "layer_1.kind", "layer_1.map", "layer_1.order",
        "layer_2.kind", "layer_2.map", "layer_2.order",
        "parents", "measure", "bins", "width", "hidden_layers", "activation", "residual",
        "marginals", "layer_1.mask",
        "learning_rate", "batch_size", "weight_decay", "dropout",
    ]  # fmt: skip
    assert "layer_8.kind" in space.parameters
    assert list(make("coupling, bits", 2).plan.genes) == ["layer_1.mask", "layer_3.mask"]
    assert "layer_3.mask.2" in make("coupling, bits", 2).parameters
    assert "layer_1.mask_2" in make("coupling", 40).parameters
    assert "feature_3.edges" in make("adjacency, edges", 3).parameters


def test_no_integer_has_more_than_32_bits() -> None:
    for name in SPACES:
        for domain in make(name, 33).parameters.values():
            if isinstance(domain, Integer):
                assert domain.high < 2**32


def test_shape_parameters_are_those_that_shapes_follow_from() -> None:
    names = SearchSpace.for_data(data(3), limits={"depth": [1, 2]}).shape_parameters
    assert names == (
        "depth", "mixing", "layer_1.kind", "layer_1.map", "layer_2.kind", "layer_2.map",
        "bins", "width", "hidden_layers", "activation", "residual", "batch_size",
    )  # fmt: skip
    assert {"steps", "base", "bound"} <= set(make("full, training", 3).shape_parameters)


@pytest.mark.parametrize(
    ("name", "D", "bits"),
    [
        ("coupling", 8, 4 * 8),
        ("coupling, each mask its own", 8, 8 * 8),
        ("coupling, idle", 8, 2 * 8 * 8),
        ("layers", 8, 0),
        ("adjacency", 8, 0),
        ("adjacency, edges", 8, 8 * 7),
        ("full", 8, 4 * 8),
    ],
)
def test_mask_bits(name: str, D: int, bits: int) -> None:
    space = make(name, D)
    assert space.mask_bits == bits
    genes = [p for p in space.encoded("bits").parameters if ".mask" in p or ".idle" in p]
    edges = [p for p in space.encoded("bits").parameters if ".edges" in p]
    assert len(genes) + len(edges) == bits
    assert space.encoded("bits").encoded("packed") == space


def test_a_limit_with_one_value_is_no_parameter() -> None:
    limits = {"width": 32, "maps": "affine", "learning_rate": 1e-3, "depth": 2}
    space = SearchSpace.for_data(data(3), limits=limits)
    assert not {"width", "bins", "learning_rate", "depth", "layer_1.map"} & set(space.parameters)
    recipe = space.suggest(trials(space, 1)[0])
    flow, train = recipe.flow, recipe.train
    assert train.learning_rate == 1e-3
    nets = [x for x in flow.layers if isinstance(x, Coupling | Autoregressive)]
    assert {x.conditioner.width for x in nets} == {32}
    assert {x.map for x in nets} == {Affine()}
    assert len(nets) == 2
