"""A whole flow, and how to train it, as plain data: validated, hashable, JSON both ways.

    spec = FlowSpec(
        features=4,
        layers=(
            LU(),
            Coupling(mask="CTCT", map=Spline(bins=8), conditioner=Conditioner(width=64)),
            Coupling(mask="TCTC", map=Spline(bins=8)),
        ),
    )
    FlowSpec.from_json(spec.to_json()) == spec
    spec.parameter_count()

Layers are applied from the data to the base, in the order of the tuple. A mask has one letter a feature:
`C` conditions, `T` is transformed, `I` is idle. Nothing here knows of torch or of training data.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeVar

import msgspec

from nfopt import adjacency as graph

VERSION = 1
MAX_BINS = 32

Activation = Literal["relu", "elu", "silu", "gelu", "tanh"]
T = TypeVar("T", "FlowSpec", "TrainSpec")


def _range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be from {low} to {high}, got {value}.")


def _version(version: object) -> None:
    if version != VERSION:
        raise ValueError(
            f"`version` {version!r} of a FlowSpec is not known; this nfopt reads {VERSION}."
        )


class _Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, hashable plain data; a field that it does not know is an error."""


class _Tagged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Plain data with a `kind` in its JSON."""

    @property
    def kind(self) -> str:
        """The name of this kind, as in the JSON."""
        return str(self.__struct_config__.tag)


# ---------------------------------------------------------------------------------------------- scalar maps


class Additive(_Tagged, frozen=True, tag="additive"):
    """y = x + shift (NICE, Dinh et al. 2014)."""

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        return 1


class Affine(_Tagged, frozen=True, tag="affine"):
    """y = x * scale + shift (RealNVP, Dinh et al. 2016); the log-scale is bounded smoothly."""

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        return 2


class Spline(_Tagged, frozen=True, tag="spline"):
    """Monotone rational-quadratic spline on [-bound, bound], identity outside (Durkan et al. 2019)."""

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        _range("bins", self.bins, 2, MAX_BINS)
        if not 0 < self.bound < float("inf"):
            raise ValueError(f"`bound` must be positive and finite, got {self.bound}.")

    def parameters(self) -> int:
        """Count the parameters of one feature: widths, heights, inner slopes."""
        return 3 * self.bins - 1


ScalarMap = Additive | Affine | Spline


class Conditioner(_Plain, frozen=True):
    """The network that turns what a feature depends on into the parameters of its map."""

    width: int = 64
    hidden_layers: int = 2
    activation: Activation = "relu"
    residual: bool = False

    def __post_init__(self) -> None:
        _range("width", self.width, 1, 65536)
        _range("hidden_layers", self.hidden_layers, 1, 64)


# --------------------------------------------------------------------------------------------------- layers


class Coupling(_Tagged, frozen=True, kw_only=True, tag="coupling"):
    """Features with the letter `T` are mapped, with parameters computed from those with the letter `C`."""

    mask: str
    map: ScalarMap = Affine()
    conditioner: Conditioner = Conditioner()

    def __post_init__(self) -> None:
        wrong = sorted(set(self.mask) - set("CTI"))
        if wrong:
            raise ValueError(f"`mask` must be of the letters C, T and I, got {self.mask!r}.")
        if "T" not in self.mask or "C" not in self.mask:
            raise ValueError(f"`mask` must have at least one C and one T, got {self.mask!r}.")


class Autoregressive(_Tagged, frozen=True, kw_only=True, tag="autoregressive"):
    """Every feature is mapped, with parameters computed from its parents (MAF, Papamakarios et al. 2017).

    Give `order` for the full dependence (each feature on all before it), or `parents` for any acyclic graph.
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
        self.adjacency()

    def adjacency(self) -> graph.Adjacency:
        """Return who depends on whom, shape (D, D)."""
        if self.order is not None:
            return graph.from_order(self.order)
        return graph.from_parents(self.parents or ())


class Planar(_Tagged, frozen=True, tag="planar"):
    """x + u tanh(w.x + b) (Rezende and Mohamed 2015, equation 10)."""


class Radial(_Tagged, frozen=True, tag="radial"):
    """x + beta (x - x0) / (alpha + |x - x0|) (Rezende and Mohamed 2015, equation 14)."""


class Permutation(_Tagged, frozen=True, tag="permutation"):
    """Output k is input `order[k]`."""

    order: tuple[int, ...]

    def __post_init__(self) -> None:
        graph.check_order(self.order, len(self.order))


class Reverse(_Tagged, frozen=True, tag="reverse"):
    """The features in reverse order."""


class LU(_Tagged, frozen=True, tag="lu"):
    """x -> L U x + bias, with a unit lower and a positive upper triangle (after Oliva et al. 2018)."""


class Elementwise(_Tagged, frozen=True, kw_only=True, tag="elementwise"):
    """A map of its own for each feature, seeing no other feature (and no context)."""

    map: ScalarMap = Affine()


class Identity(_Tagged, frozen=True, tag="identity"):
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


class Normal(_Tagged, frozen=True, tag="normal"):
    """The standard normal in D dimensions."""


class StudentT(_Tagged, frozen=True, tag="student_t"):
    """Independent standard Student t variables, for heavy tails."""

    df: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.df < float("inf"):
            raise ValueError(f"`df` must be positive and finite, got {self.df}.")


Base = Normal | StudentT


# ---------------------------------------------------------------------------------------------- whole specs


class FlowSpec(_Plain, frozen=True):
    """A whole flow as plain data.

    Attributes:
        features: D, at least 1.
        layers: Applied from the data to the base.
        context_features: Columns that every conditioner also sees (a conditional density), or 0.
        base: The distribution at the end.

    Raises:
        ValueError: If a layer does not fit the number of features.
    """

    features: int
    layers: tuple[Layer, ...] = ()
    context_features: int = 0
    base: Base = Normal()
    version: int = VERSION

    def __post_init__(self) -> None:
        _version(self.version)
        _range("features", self.features, 1, 1024)
        _range("context_features", self.context_features, 0, 65536)
        for number, layer in enumerate(self.layers):
            seen = _width_of(layer)
            if seen is not None and seen != self.features:
                raise ValueError(
                    f"Layer {number} ({layer.kind}) is for {seen} features, `features` is {self.features}."
                )

    def to_json(self) -> str:
        """Write the canonical JSON: the same spec gives the same bytes."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> FlowSpec:
        """Read what `to_json` wrote; ValueError names an unknown version, field or kind."""
        return _from_json(text, cls)

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def shape_key(self) -> str:
        """Name the tensor shapes: specs with equal keys train as one stack, whatever their masks and orders."""
        shapes = [self.features, self.context_features, self.base, [_blank(x) for x in self.layers]]
        return msgspec.json.encode(shapes, order="deterministic").decode()

    def parameter_count(self) -> int:
        """Count the weights that can receive a gradient, from the spec alone."""
        return sum(
            _parameters(layer, self.features, self.context_features) for layer in self.layers
        )

    def summary(self) -> str:
        """Say the structure in a few words, equal neighbours counted."""
        words: list[tuple[str, int]] = []
        for layer in self.layers:
            word = _words(layer)
            if words and words[-1][0] == word:
                words[-1] = (word, words[-1][1] + 1)
            else:
                words.append((word, 1))
        inner = ", ".join(word if count == 1 else f"{count} x {word}" for word, count in words)
        return f"{inner or 'no layers'} on {self.features} features"


class TrainSpec(_Plain, frozen=True):
    """How to train a flow.

    Attributes:
        steps: Optimiser steps at full length.
        patience: Validation checks without improvement before a member stops; 0 never stops early.
        clip: Greatest gradient norm of a member; 0 switches clipping off.
        dropout: Share of hidden units set to zero in training.
    """

    optimiser: Literal["adam", "adamw"] = "adamw"
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    learning_rate: float = 2e-3
    batch_size: int = 512
    weight_decay: float = 0.0
    dropout: float = 0.0
    steps: int = 4000
    patience: int = 0
    clip: float = 5.0

    def __post_init__(self) -> None:
        _range("batch_size", self.batch_size, 1, 1 << 24)
        _range("steps", self.steps, 0, 1 << 31)
        _range("patience", self.patience, 0, 1 << 31)
        if not 0 < self.learning_rate <= 1:
            raise ValueError(
                f"`learning_rate` must be above 0 and at most 1, got {self.learning_rate}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` must be from 0 to below 1, got {self.dropout}.")
        for name in ("weight_decay", "clip"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"`{name}` must be at least 0 and finite, got {value}.")

    def to_json(self) -> str:
        """Write the canonical JSON."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> TrainSpec:
        """Read what `to_json` wrote."""
        return _from_json(text, cls)


# -------------------------------------------------------------------------------------------------- helpers


def _from_json(text: str | bytes, kind: type[T]) -> T:
    name = kind.__name__
    try:
        raw: Any = msgspec.json.decode(text)
        if kind is FlowSpec and isinstance(raw, dict):
            _version(
                raw.get("version", VERSION)
            )  # first: a newer version may have fields unknown here
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name} JSON: {error}") from None
    except msgspec.DecodeError as error:
        raise ValueError(f"{name} JSON can't be read: {error}") from None


def _width_of(layer: Layer) -> int | None:
    match layer:
        case Coupling():
            return len(layer.mask)
        case Autoregressive():
            return len(layer.order if layer.order is not None else layer.parents or ())
        case Permutation():
            return len(layer.order)
        case _:
            return None


def _blank(layer: Layer) -> Layer:
    match layer:
        case Coupling():
            return msgspec.structs.replace(layer, mask="CT")
        case Autoregressive():
            return msgspec.structs.replace(layer, order=(0,), parents=None)
        case Permutation() | Reverse():
            return Permutation(order=())  # both are an order given as data
        case _:
            return layer


def _parameters(layer: Layer, features: int, context: int) -> int:
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


def _words(layer: Layer) -> str:
    match layer:
        case Coupling() | Autoregressive():
            net = layer.conditioner
            kind = "residual " if net.residual else ""
            return f"{layer.map.kind} {layer.kind} ({kind}{net.hidden_layers}x{net.width})"
        case Elementwise():
            return f"{layer.map.kind} elementwise"
        case _:
            return layer.kind
