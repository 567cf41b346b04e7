"""Layers: the kinds of bijections that a flow is made of.

A new kind is a class here, listed in `Layer`, and its torch class in `nfopt.flows`.
"""

from __future__ import annotations

from typing import ClassVar, get_args

import msgspec

from nfopt import adjacency as graph
from nfopt.layers.layer import Conditioner, LayerKind
from nfopt.layers.maps import Affine, ScalarMap
from nfopt.layers.plain import Search, indices, kind_of, settle

__all__ = [
    "LAYERS",
    "LU",
    "Autoregressive",
    "Coupling",
    "Elementwise",
    "Identity",
    "Layer",
    "Permutation",
    "Planar",
    "Radial",
    "Reverse",
]

BISECTIONS = 40  # forward passes that invert a planar or radial layer


class Coupling(LayerKind, frozen=True, kw_only=True, tag="coupling"):
    """Features with the letter `T` are mapped, by parameters computed from those with a `C`.

    Attributes:
        mask: One letter a feature: `T` is mapped, `C` is kept and read, `I` is kept and not read.
        map: What each `T` goes through.
        conditioner: Computes the maps' parameters.
    """

    search: ClassVar[Search | None] = Search(default=1)

    mask: str
    map: ScalarMap = Affine()
    conditioner: Conditioner = Conditioner()

    def __post_init__(self) -> None:
        wrong = sorted(set(self.mask) - set("CTI"))
        if wrong:
            raise ValueError(f"`mask` must be of the letters C, T and I, got {self.mask!r}.")
        if "T" not in self.mask or "C" not in self.mask:
            raise ValueError(f"`mask` must have at least one C and one T, got {self.mask!r}.")

    def width(self) -> int | None:
        """Give the number of features that it is made for."""
        return len(self.mask)

    def blank(self) -> LayerKind:
        """Strip the mask."""
        return msgspec.structs.replace(self, mask="CT")

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        fed, moved = self.mask.count("C") + context, self.mask.count("T")
        return self.conditioner.numbers(fed, moved * self.map.parameters())

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density."""
        fed, moved = self.mask.count("C") + context, self.mask.count("T")
        net = self.conditioner.multiply_adds(fed, moved * self.map.parameters())
        return float(net + moved * self.map.multiply_adds())


class Autoregressive(LayerKind, frozen=True, kw_only=True, tag="autoregressive"):
    """Every feature is mapped, by parameters computed from its parents (Papamakarios et al. 2017).

    Give `order` for the full dependence (each feature on all before it), or `parents` for any
    acyclic graph.

    Attributes:
        order: Each feature once, the first one depends on none; None where `parents` are given.
        parents: For each feature those that it depends on.
        map: What each feature goes through.
        conditioner: Computes the maps' parameters.
    """

    search: ClassVar[Search | None] = Search(default=2)

    order: tuple[int, ...] | None = None
    parents: tuple[tuple[int, ...], ...] | None = None
    map: ScalarMap = Affine()
    conditioner: Conditioner = Conditioner()

    def __post_init__(self) -> None:
        if (self.order is None) == (self.parents is None):
            raise ValueError(
                "An autoregressive layer takes either `order` or `parents`, and not both."
            )
        if self.order is not None:
            settle(self, order=indices(self.order))
            graph.check_order(self.order, len(self.order))
        if self.parents is not None:
            settle(self, parents=tuple(indices(sorted(set(row))) for row in self.parents))
            graph.check_parents(self.parents)

    def adjacency(self) -> graph.Adjacency:
        """Return who depends on whom, shape (D, D)."""
        if self.order is not None:
            return graph.from_order(self.order)
        return graph.from_parents(self.parents or ())

    def width(self) -> int | None:
        """Give the number of features that it is made for."""
        return len(self.order if self.order is not None else self.parents or ())

    def blank(self) -> LayerKind:
        """Strip order and parents."""
        return msgspec.structs.replace(self, order=(0,), parents=None)

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        width, each = self.conditioner.width, self.map.parameters()
        wiring = graph.wire(self.adjacency(), width, context=context > 0)
        # a unit that sees nothing feeds nothing, so its bias does not count
        used = width if wiring.inputs.any() or context else 0
        first = int(wiring.inputs.sum()) + used * context + used
        deep = self.conditioner.hidden_layers - 1
        inner = deep * (int(wiring.hidden.sum()) + used) if deep else 0
        return first + inner + (int(wiring.outputs.sum()) + features) * each

    def stored_numbers(self, features: int, context: int) -> int:
        """Count the numbers in its weights: dense matrices, whatever the graph."""
        return self.conditioner.numbers(features + context, features * self.map.parameters())

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density: dense products with a mask."""
        net = self.conditioner.multiply_adds(features + context, features * self.map.parameters())
        return float(net + features * self.map.multiply_adds())

    def passes(self, features: int) -> int:
        """Count the forward passes that its inverse costs: one a feature."""
        return features


class Elementwise(LayerKind, frozen=True, kw_only=True, tag="elementwise"):
    """A map of its own for each feature, seeing no other feature (and no context).

    Attributes:
        map: What each feature goes through.
    """

    search: ClassVar[Search | None] = Search()
    calls: ClassVar[int] = 0

    map: ScalarMap = Affine()

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        return features * self.map.parameters()

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density."""
        return float(features * self.map.multiply_adds())


class Planar(LayerKind, frozen=True, tag="planar"):
    """x + u tanh(w.x + b) (Rezende and Mohamed 2015, equation 10)."""

    search: ClassVar[Search | None] = Search()

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        return 2 * features + 1

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density."""
        return 2.0 * features

    def passes(self, features: int) -> int:
        """Count the forward passes that its inverse costs."""
        return BISECTIONS


class Radial(LayerKind, frozen=True, tag="radial"):
    """x + beta (x - x0) / (alpha + |x - x0|) (Rezende and Mohamed 2015, equation 14)."""

    search: ClassVar[Search | None] = Search()

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        return features + 2

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density."""
        return 2.0 * features

    def passes(self, features: int) -> int:
        """Count the forward passes that its inverse costs."""
        return BISECTIONS


class _Free(LayerKind, frozen=True):
    """A layer without weights and without arithmetic."""

    calls: ClassVar[int] = 0

    def parameters(self, features: int, context: int) -> int:
        """Count the weights: none."""
        return 0

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds: none."""
        return 0.0


class Permutation(_Free, frozen=True, tag="permutation"):
    """Output k is input `order[k]`.

    Attributes:
        order: Each feature once.
    """

    mixing: ClassVar[bool] = True

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        settle(self, order=indices(self.order))
        graph.check_order(self.order, len(self.order))

    def width(self) -> int | None:
        """Give the number of features that it is made for."""
        return len(self.order)

    def blank(self) -> LayerKind:
        """Strip the order."""
        return Permutation(order=())


class Reverse(_Free, frozen=True, tag="reverse"):
    """The features in reverse order."""

    mixing: ClassVar[bool] = True

    def blank(self) -> LayerKind:
        """Stack with any permutation: both are an order given as data."""
        return Permutation(order=())


class LU(LayerKind, frozen=True, tag="lu"):
    """x -> L U x + bias, with a unit lower and a positive upper triangle (Oliva et al. 2018)."""

    mixing: ClassVar[bool] = True
    calls: ClassVar[int] = 0

    def parameters(self, features: int, context: int) -> int:
        """Count the weights that can receive a gradient."""
        return features * features + features

    def multiply_adds(self, features: int, context: int) -> float:
        """Count the multiply-adds of one row's log-density."""
        return float(features * features)


class Identity(_Free, frozen=True, tag="identity"):
    """Does nothing; pads depth."""

    search: ClassVar[Search | None] = Search()


Layer = (
    Coupling
    | Autoregressive
    | Elementwise
    | Planar
    | Radial
    | Permutation
    | Reverse
    | LU
    | Identity
)

LAYERS: dict[str, type[LayerKind]] = {kind_of(spec): spec for spec in get_args(Layer)}
"""Every kind of layer by its name."""
