"""A kind that says nothing of itself: it runs, and whoever needs more refuses it by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import msgspec
import optuna
import pytest
import torch
from torch import Tensor

from nfopt.autonf import CostTable, Option, options_of
from nfopt.export import to_zuko
from nfopt.flows import build, registry
from nfopt.flows.cost import inverse_cost, log_prob_cost, step_cost, train_cost
from nfopt.flows.layer import Column, Dropout, StackLayer, Weights
from nfopt.flows.maps import StackMap
from nfopt.layers import LAYERS, MAPS, Base, LayerKind, MapKind, Tagged
from nfopt.space import KEYS, SearchSpace
from nfopt.spec import Elementwise, FlowSpec, Layer, Recipe, ScalarMap, TrainSpec


class Double(LayerKind, frozen=True, tag="double"):
    """y = 2 x, and no word of its weights, its cost, search or export."""


class Flip(MapKind, frozen=True, tag="flip"):
    """y = -x, likewise; one parameter that does nothing."""


class DoubleLayer(StackLayer):
    def __init__(self, column: Column) -> None:
        self.shapes, self.order = {}, column.order

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        return 2 * state, self.order.shape[1] * float(torch.tensor(2.0).log())

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        return state / 2


class FlipMap(StackMap):
    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        return -x, None

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        return -y


class Sphere(Tagged, frozen=True, tag="sphere"):
    """A base that nothing knows."""


DOUBLE = FlowSpec(features=2, layers=(cast(Layer, Double()),))
FLIP = FlowSpec(features=2, layers=(Elementwise(map=cast(ScalarMap, Flip())),))
both = pytest.mark.parametrize(("spec", "kind"), [(DOUBLE, "double"), (FLIP, "flip")])


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register into a copy, so that no other test sees the two."""
    monkeypatch.setattr(registry, "KINDS", dict(registry.KINDS))
    registry.registers(Double)(DoubleLayer)
    registry.registers(Flip)(FlipMap)
    yield
    monkeypatch.undo()
    assert not {Double, Flip} & registry.KINDS.keys()


def refused(act: Callable[[], Any], kind: str) -> str:
    with pytest.raises(Exception, match=repr(kind) + "|" + kind) as error:
        act()
    assert isinstance(error.value, ValueError) or "zuko has no" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.usefixtures("registered")
def test_a_registered_kind_runs() -> None:
    (stack,) = build([DOUBLE] * 2, torch.Generator())
    x = torch.tensor([[1.0, -3.0]])
    z, _ = stack.forward(x)
    assert torch.equal(z[1], 2 * x)
    assert torch.equal(stack.inverse(z)[0], x)
    assert DOUBLE.summary() == "double on 2 features"


@both
def test_without_a_torch_class_it_is_refused(spec: FlowSpec, kind: str) -> None:
    refused(lambda: build([spec], torch.Generator()), kind)


def test_a_base_that_nothing_knows_is_refused() -> None:
    spec = FlowSpec(features=2, base=cast(Base, Sphere()))
    (stack,) = build([spec], torch.Generator())
    refused(lambda: stack.log_prob(torch.zeros(1, 2)), "sphere")
    refused(lambda: stack.sample(1, torch.Generator()), "sphere")
    refused(lambda: to_zuko(spec, {}), "sphere")


@pytest.mark.usefixtures("registered")
def test_a_second_torch_class_is_refused() -> None:
    refused(lambda: registry.registers(Double)(FlipMap), "double")


@pytest.mark.usefixtures("registered")
@both
def test_without_a_cost_nothing_is_counted(spec: FlowSpec, kind: str) -> None:
    refused(spec.parameter_count, kind)
    for cost in (log_prob_cost, train_cost, step_cost, inverse_cost):
        assert "cost" in refused(lambda cost=cost: cost(spec), kind)
    option = Option("mine", (spec.layers,))
    refused(lambda: CostTable().costs("parameters", [option], 2), kind)
    refused(lambda: CostTable().costs("train_multiply_adds", [option], 2), kind)


@pytest.mark.usefixtures("registered")
@both
def test_without_search_no_space_has_it(spec: FlowSpec, kind: str) -> None:
    key = "layers" if kind == "double" else "maps"
    limits = {"layers": ["elementwise", "coupling"], "depth": 1, "mixing": "none"}
    space = SearchSpace.create(2, 500, kind="layers", limits=limits)
    assert kind in refused(lambda: space.params_of(Recipe(spec, TrainSpec())), kind)
    assert f"`{key}`" in refused(lambda: SearchSpace.create(2, 500, limits={key: kind}), kind)
    # a recipe does not bring it in
    wide = SearchSpace.create(2, 500, kind="layers", recipes=[Recipe(spec, TrainSpec())])
    assert kind not in wide.limits[key]
    # nor a space that another nfopt wrote
    text = space.to_json().replace(f'"{space.limits[key][0]}"', f'"{kind}"', 1)
    refused(lambda: SearchSpace.from_json(text), kind)
    odd = msgspec.structs.replace(space, limits=space.limits | {key: (kind,)})
    assert f"`{key}`" in refused(lambda: odd.suggest(optuna.create_study().ask()), kind)
    refused(lambda: options_of(kind, 2), kind)
    refused(lambda: options_of(f"{kind}-coupling", 2), kind)


@pytest.mark.usefixtures("registered")
@both
def test_without_a_counterpart_it_is_not_exported(spec: FlowSpec, kind: str) -> None:
    assert "`layers` 0" in refused(lambda: to_zuko(spec, {}), kind)


@both
def test_json_that_names_it_is_refused(spec: FlowSpec, kind: str) -> None:
    refused(lambda: FlowSpec.from_json(spec.to_json()), kind)


def test_every_kind_has_a_torch_class_a_cost_and_keys_that_a_space_has() -> None:
    for spec in (*LAYERS.values(), *MAPS.values()):
        assert spec in registry.KINDS
    for layer in LAYERS.values():
        assert layer.parameters is not LayerKind.parameters
        assert layer.multiply_adds is not LayerKind.multiply_adds
        if layer.search is not None:
            assert set(layer.__struct_fields__) <= {
                "map",
                "conditioner",
                "mask",
                "order",
                "parents",
            }
    for scalar in MAPS.values():
        assert scalar.parameters is not MapKind.parameters
        assert scalar.multiply_adds is not MapKind.multiply_adds
        if scalar.search is not None:
            assert set(scalar.__struct_fields__) <= set(KEYS)
