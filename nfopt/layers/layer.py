"""What every kind of layer says of itself, and the conditioner that several have."""

from __future__ import annotations

from typing import ClassVar

from nfopt.layers.maps import ScalarMap
from nfopt.layers.plain import Activation, Plain, Search, Tagged, check_choice, check_range


class Conditioner(Plain, frozen=True):
    """The network that turns what a feature depends on into the parameters of its map.

    Attributes:
        width: Units of a hidden layer.
        hidden_layers: At least 1.
        activation: "relu", "elu", "silu", "gelu" or "tanh".
        residual: Whether each hidden layer but the first adds to the one below.
    """

    width: int = 64
    hidden_layers: int = 2
    activation: Activation = "relu"
    residual: bool = False

    def __post_init__(self) -> None:
        check_range("width", self.width, 1, 65536)
        check_range("hidden_layers", self.hidden_layers, 1, 64)
        check_choice("activation", self.activation, Activation)

    def numbers(self, fed: int, outputs: int) -> int:
        """Count the numbers in its weights."""
        inner = (self.hidden_layers - 1) * (self.width + 1) * self.width
        return (fed + 1) * self.width + inner + (self.width + 1) * outputs

    def multiply_adds(self, fed: int, outputs: int) -> int:
        """Count the multiply-adds of one row."""
        inner = (self.hidden_layers - 1) * self.width * self.width
        return fed * self.width + inner + self.width * outputs


class LayerKind(Tagged, frozen=True):
    """What every kind of layer says of itself; D features, X columns of context.

    A field `map` or `conditioner` means the same in every kind: a search space fills it, and the
    counts below see it.

    Attributes:
        search: How a search space has it; None: not at all.
        mixing: Whether it is linear and stands before another layer, as a part of it.
        calls: 1 if calling its kernels has a cost of its own, however small it is.
    """

    search: ClassVar[Search | None] = None
    mixing: ClassVar[bool] = False
    calls: ClassVar[int] = 1

    def width(self) -> int | None:
        """Give the number of features that it is made for, if it says."""
        return None

    def blank(self) -> LayerKind:
        """Strip what may differ between members of a stack: masks, orders, parents."""
        return self

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        self.refuse("number of parameters")

    def stored_numbers(self, features: int, context: int) -> int:
        """Count the numbers in its weights on disk; more where some of them are masked."""
        return self.parameters(features, context)

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density."""
        self.refuse("cost")

    def passes(self, features: int) -> int:
        """Count the forward passes that its inverse costs; 1 is a fast inverse."""
        return 1

    def widest(self, features: int) -> int:
        """Count the numbers a row in its widest intermediate result."""
        scalar_map, net = map_of(self), conditioner_of(self)
        mapped = features * scalar_map.parameters() if scalar_map is not None else features
        return max(mapped, net.width if net is not None else 0)

    def words(self) -> str:
        """Say what it is."""
        scalar_map, net = map_of(self), conditioner_of(self)
        said = self.kind if scalar_map is None else f"{scalar_map.kind} {self.kind}"
        if net is None:
            return said
        return f"{said} ({'residual ' if net.residual else ''}{net.hidden_layers}x{net.width})"


def map_of(layer: LayerKind) -> ScalarMap | None:
    """Give a layer's scalar map, if it has one."""
    return getattr(layer, "map", None)


def conditioner_of(layer: LayerKind) -> Conditioner | None:
    """Give a layer's conditioner, if it has one."""
    return getattr(layer, "conditioner", None)
