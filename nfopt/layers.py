"""The parts of a flow as plain data: scalar maps, conditioners, layers, bases.

Each knows its fields and what they may be; `parameters`, `blank` and `words` say of any layer how
many weights it has, which shapes, and what it is. `nfopt.spec` puts layers together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import msgspec

from nfopt import adjacency as graph

MAX_BINS = 32

Activation = Literal["relu", "elu", "silu", "gelu", "tanh"]


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be from {low} to {high}, got {value}.")


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise ValueError unless the value is one of a Literal's."""
    if value not in get_args(choices):
        raise ValueError(f"`{name}` must be one of {get_args(choices)}, got {value!r}.")


def settle(struct: msgspec.Struct, **values: Any) -> None:
    """Set fields of a frozen struct while it is made, so that equal specs have equal JSON."""
    for name, value in values.items():
        msgspec.structs.force_setattr(struct, name, value)


def _indices(numbers: Iterable[int]) -> tuple[int, ...]:
    """Make a tuple of plain integers, also from NumPy's."""
    return tuple(int(number) for number in numbers)


class Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, hashable plain data; a field that it does not know is an error."""


class Tagged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Plain data with a `kind` in its JSON."""

    @property
    def kind(self) -> str:
        """The name of this kind, as in the JSON."""
        return str(self.__struct_config__.tag)


# ---------------------------------------------------------------------------------- scalar maps


class Additive(Tagged, frozen=True, tag="additive"):
    """y = x + shift (NICE, Dinh et al. 2014)."""

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        return 1


class Affine(Tagged, frozen=True, tag="affine"):
    """y = x * scale + shift (RealNVP, Dinh et al. 2016); the log-scale is bounded smoothly."""

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        return 2


class Spline(Tagged, frozen=True, tag="spline"):
    """Monotone rational-quadratic spline in a box, identity outside (Durkan et al. 2019)."""

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        check_range("bins", self.bins, 2, MAX_BINS)
        if not 0 < self.bound < float("inf"):
            raise ValueError(f"`bound` must be positive and finite, got {self.bound}.")
        settle(self, bound=float(self.bound))

    def parameters(self) -> int:
        """Count the parameters of one feature: widths, heights, inner slopes."""
        return 3 * self.bins - 1


ScalarMap = Additive | Affine | Spline


class Conditioner(Plain, frozen=True):
    """The network that turns what a feature depends on into the parameters of its map."""

    width: int = 64
    hidden_layers: int = 2
    activation: Activation = "relu"
    residual: bool = False

    def __post_init__(self) -> None:
        check_range("width", self.width, 1, 65536)
        check_range("hidden_layers", self.hidden_layers, 1, 64)
        check_choice("activation", self.activation, Activation)


# --------------------------------------------------------------------------------------- layers


class Coupling(Tagged, frozen=True, kw_only=True, tag="coupling"):
    """Features with the letter `T` are mapped, by parameters computed from those with a `C`."""

    mask: str
    map: ScalarMap = Affine()
    conditioner: Conditioner = Conditioner()

    def __post_init__(self) -> None:
        wrong = sorted(set(self.mask) - set("CTI"))
        if wrong:
            raise ValueError(f"`mask` must be of the letters C, T and I, got {self.mask!r}.")
        if "T" not in self.mask or "C" not in self.mask:
            raise ValueError(f"`mask` must have at least one C and one T, got {self.mask!r}.")


class Autoregressive(Tagged, frozen=True, kw_only=True, tag="autoregressive"):
    """Every feature is mapped, by parameters computed from its parents (Papamakarios et al. 2017).

    Give `order` for the full dependence (each feature on all before it), or `parents` for any
    acyclic graph.
    """

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
            settle(self, order=_indices(self.order))
        if self.parents is not None:
            settle(self, parents=tuple(_indices(sorted(set(row))) for row in self.parents))
        self.adjacency()

    def adjacency(self) -> graph.Adjacency:
        """Return who depends on whom, shape (D, D)."""
        if self.order is not None:
            return graph.from_order(self.order)
        return graph.from_parents(self.parents or ())


class Planar(Tagged, frozen=True, tag="planar"):
    """x + u tanh(w.x + b) (Rezende and Mohamed 2015, equation 10)."""


class Radial(Tagged, frozen=True, tag="radial"):
    """x + beta (x - x0) / (alpha + |x - x0|) (Rezende and Mohamed 2015, equation 14)."""


class Permutation(Tagged, frozen=True, tag="permutation"):
    """Output k is input `order[k]`."""

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        settle(self, order=_indices(self.order))
        graph.check_order(self.order, len(self.order))


class Reverse(Tagged, frozen=True, tag="reverse"):
    """The features in reverse order."""


class LU(Tagged, frozen=True, tag="lu"):
    """x -> L U x + bias, with a unit lower and a positive upper triangle (Oliva et al. 2018)."""


class Elementwise(Tagged, frozen=True, kw_only=True, tag="elementwise"):
    """A map of its own for each feature, seeing no other feature (and no context)."""

    map: ScalarMap = Affine()


class Identity(Tagged, frozen=True, tag="identity"):
    """Does nothing; pads depth."""


Layer = (
    Coupling
    | Autoregressive
    | Planar
    | Radial
    | Permutation
    | Reverse
    | LU
    | Elementwise
    | Identity
)


class Normal(Tagged, frozen=True, tag="normal"):
    """The standard normal in D dimensions."""


class StudentT(Tagged, frozen=True, tag="student_t"):
    """Independent standard Student t variables, for heavy tails."""

    df: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.df < float("inf"):
            raise ValueError(f"`df` must be positive and finite, got {self.df}.")
        settle(self, df=float(self.df))


Base = Normal | StudentT


def width_of(layer: Layer) -> int | None:
    """Give the number of features that a layer is made for, if it says."""
    match layer:
        case Coupling():
            return len(layer.mask)
        case Autoregressive():
            return len(layer.order if layer.order is not None else layer.parents or ())
        case Permutation():
            return len(layer.order)
        case _:
            return None


def blank(layer: Layer) -> Layer:
    """Strip what may differ between members of a stack: masks, orders, parents."""
    match layer:
        case Coupling():
            return msgspec.structs.replace(layer, mask="CT")
        case Autoregressive():
            return msgspec.structs.replace(layer, order=(0,), parents=None)
        case Permutation() | Reverse():
            return Permutation(order=())  # both are an order given as data
        case _:
            return layer


def parameters(layer: Layer, features: int, context: int) -> int:
    """Count the weights of a layer that can receive a gradient."""
    match layer:
        case Coupling():
            fed, moved = layer.mask.count("C") + context, layer.mask.count("T")
            width, outputs = layer.conditioner.width, moved * layer.map.parameters()
            inner = (layer.conditioner.hidden_layers - 1) * (width + 1) * width
            return (fed + 1) * width + inner + (width + 1) * outputs
        case Autoregressive():
            width, each = layer.conditioner.width, layer.map.parameters()
            wiring = graph.wire(layer.adjacency(), width, context=context > 0)
            # a unit that sees nothing feeds nothing, so its bias does not count
            used = width if wiring.inputs.any() or context else 0
            first = int(wiring.inputs.sum()) + used * context + used
            inner = (layer.conditioner.hidden_layers - 1) * (int(wiring.hidden.sum()) + used)
            return first + inner + (int(wiring.outputs.sum()) + features) * each
        case Planar():
            return 2 * features + 1
        case Radial():
            return features + 2
        case LU():
            return features * features + features
        case Elementwise():
            return features * layer.map.parameters()
        case _:
            return 0


def words(layer: Layer) -> str:
    """Say what a layer is."""
    match layer:
        case Coupling() | Autoregressive():
            net = layer.conditioner
            kind = "residual " if net.residual else ""
            return f"{layer.map.kind} {layer.kind} ({kind}{net.hidden_layers}x{net.width})"
        case Elementwise():
            return f"{layer.map.kind} elementwise"
        case _:
            return layer.kind
