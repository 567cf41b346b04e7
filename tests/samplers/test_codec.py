"""Parameters to genomes and back: the same flow, and equal flows are equal genomes."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nfopt.samplers.codec import Codec
from nfopt.space import SearchSpace
from nfopt.spec import Recipe

from .spaces import SPACES, drawn, masks_only, space_of

optuna.logging.set_verbosity(optuna.logging.WARNING)

ORDINARY = {
    "c": CategoricalDistribution(("a", None, 2.5)),
    "i": IntDistribution(-3, 9, step=3),
    "j": IntDistribution(1, 1000, log=True),
    "f": FloatDistribution(1e-6, 1.0, log=True),
    "g": FloatDistribution(-1.0, 1.0, step=0.25),
    "one": IntDistribution(4, 4),
}


def codec_of(space: SearchSpace) -> Codec:
    return Codec(space.distributions(), space)


def built(space: SearchSpace, params: dict[str, Any]) -> Recipe:
    """A recipe; dropout is of no use to a flow without networks."""
    recipe = space.build(params)
    if any(hasattr(layer, "conditioner") for layer in recipe.flow.layers):
        return recipe
    return msgspec.structs.replace(recipe, train=msgspec.structs.replace(recipe.train, dropout=0.0))


@pytest.mark.parametrize("features", [2, 5, 40])
@pytest.mark.parametrize("name", SPACES)
def test_a_genome_is_the_flow(name: str, features: int) -> None:
    space = space_of(name, features)
    codec = codec_of(space)
    for seed in range(6):
        params = drawn(space, seed)
        genome = codec.encode(params)
        assert genome is not None
        assert codec.layout.feasible(genome)
        back = codec.decode(genome)
        assert back.keys() == space.parameters.keys()
        assert built(space, back) == built(space, params)
        assert codec.encode(back) == genome


@pytest.mark.parametrize("name", SPACES)
def test_every_genome_has_parameters(name: str) -> None:
    space = space_of(name)
    codec = codec_of(space)
    rng = np.random.default_rng(0)
    for _ in range(8):
        genome = codec.layout.random(rng)
        params = codec.decode(genome)
        assert all(space.parameters[key].holds(value) for key, value in params.items())
        assert codec.encode(params) == genome


@pytest.mark.parametrize("name", ["coupling", "full", "layers, all kinds"])
def test_what_a_flow_does_not_use_tells_no_genomes_apart(name: str) -> None:
    space = space_of(name)
    codec = codec_of(space)
    flows: dict[bytes, set[str]] = {}
    for seed in range(6):
        params = drawn(space, seed)
        for key, value in drawn(space, seed + 100).items():
            other = {**params, key: value}
            one, two = (space.build(p).flow.to_json() for p in (params, other))
            genomes = [codec.encode(p) for p in (params, other)]
            # two rankings, or two budgets, may choose the same parents by chance
            chance = key.endswith(("order", "measure", "parents"))
            if built(space, params) == built(space, other) and not chance:
                assert genomes[0] == genomes[1], key
            for genome, flow in zip(genomes, (one, two), strict=True):
                assert genome is not None
                flows.setdefault(genome.key, set()).add(flow)
    assert max(len(found) for found in flows.values()) == 1


def test_edges_of_a_flow_without_autoregressive_layers_tell_no_genomes_apart() -> None:
    space = space_of("full, idle and edges")
    codec = codec_of(space)
    params = drawn(space, 0)
    kinds = {key: "coupling" for key in params if key.endswith(".kind")}
    rows = [key for key in params if ".edges" in key]
    assert rows
    for kind, same in (("coupling", True), ("autoregressive", False)):
        base = {**params, **kinds, "layer_1.kind": kind}
        other = {**base, **dict.fromkeys(rows, 0)}
        one, two = codec.encode(base), codec.encode(other)
        assert (one == two) is same
        assert one is not None
        assert codec.encode(codec.decode(one)) == one


def test_a_recipe_is_itself() -> None:
    """What the space gives for a flow is its genome's parameters, up to what rests."""
    space = masks_only(6, 4)
    params = drawn(space, 3)
    canonical = space.params_of(space.build(params))
    codec = codec_of(space)
    genome = codec.encode(canonical)
    assert genome is not None
    assert codec.decode(genome) == canonical


def test_ordinary_parameters() -> None:
    codec = Codec(ORDINARY)
    assert codec.names == ("c", "i", "j", "f", "g")
    params = {"c": None, "i": 6, "j": 17, "f": 3e-4, "g": -0.5}
    genome = codec.encode(params)
    assert genome is not None
    assert codec.decode(genome) == params
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = codec.decode(codec.layout.random(rng))
        for key, value in found.items():
            kind = ORDINARY[key]
            assert kind._contains(kind.to_internal_repr(value)), (key, value)
            assert type(value) in {int, float, str, type(None)}


@pytest.mark.parametrize(
    "change", [{"c": "z"}, {"i": 10}, {"f": 2.0}, {"f": "much"}, {"g": float("nan")}]
)
def test_what_the_space_has_no_longer_is_no_genome(change: dict[str, Any]) -> None:
    params = {"c": "a", "i": 0, "j": 1, "f": 0.5, "g": 0.0}
    assert Codec(ORDINARY).encode(params | change) is None
    assert Codec(ORDINARY).encode({k: v for k, v in params.items() if k not in change}) is None


def test_held_are_only_those_that_the_flow_uses() -> None:
    space = space_of("full, idle and edges", 4)
    codec = codec_of(space)
    held = codec.held({"depth": 1, "layer_1.kind": "coupling", "layer_3.kind": "coupling"})
    assert {codec.names[index] for index in held} == {"depth", "layer_1.kind"}
