"""A whole flow, and how to train it, as plain data: validated, hashable, JSON both ways.

    >>> spec = FlowSpec(
    ...     features=4,
    ...     layers=(
    ...         LU(),
    ...         Coupling(mask="CTCT", map=Spline(bins=8), conditioner=Conditioner(width=64)),
    ...         Coupling(mask="TCTC", map=Spline(bins=8)),
    ...     ),
    ... )
    >>> FlowSpec.from_json(spec.to_json()) == spec
    True
    >>> spec.summary(), spec.parameter_count()
    ('lu, 2 x spline coupling (2x64) on 4 features', 14704)

Layers are applied from the data to the base, in the order of the tuple. A mask has one letter a
feature: `C` conditions, `T` is transformed, `I` is idle. Nothing here knows of torch or of training
data.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal, TypeVar

import msgspec

from nfopt import layers as parts
from nfopt.layers import Activation as Activation
from nfopt.layers import Base as Base
from nfopt.layers import Conditioner as Conditioner
from nfopt.layers import Layer as Layer
from nfopt.layers import Normal as Normal
from nfopt.layers import StudentT as StudentT
from nfopt.layers.kinds import *  # noqa: F403  every kind by its name
from nfopt.layers.maps import *  # noqa: F403

VERSION = 1
MAX_LAYERS = 512  # a larger spec is taken for an attack on whoever reads it

Optimiser = Literal["adam", "adamw", "muon"]
Schedule = Literal["cosine", "one_cycle", "constant", "trapezoid"]
T = TypeVar("T", "FlowSpec", "TrainSpec", "Recipe")
MARGINALS = re.compile(r"[a-z_]+(,[a-z_]+)*")


def _version(version: object) -> None:
    if version != VERSION:
        raise ValueError(
            f"`version` {version!r} of a FlowSpec is not known; this nfopt reads {VERSION}."
        )


class FlowSpec(parts.Plain, frozen=True):
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
        parts.settle(self, layers=tuple(self.layers))
        _version(self.version)
        parts.check_range("features", self.features, 1, 1024)
        parts.check_range("context_features", self.context_features, 0, 65536)
        parts.check_range("layers", len(self.layers), 0, MAX_LAYERS)
        for number, layer in enumerate(self.layers):
            seen = layer.width()
            if seen is not None and seen != self.features:
                raise ValueError(
                    f"`layers` {number} ({layer.kind}) is for {seen} features, not {self.features}."
                )

    def to_json(self) -> str:
        """Write the canonical JSON: the same spec gives the same bytes."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> FlowSpec:
        """Read the JSON of `to_json`; ValueError names an unknown version, field or kind."""
        return _from_json(text, cls)

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON, in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def shape_key(self) -> str:
        """A key of the tensor shapes: specs of equal keys train as one stack."""
        shapes = [
            self.features,
            self.context_features,
            self.base,
            [x.blank() for x in self.layers],
        ]
        return msgspec.json.encode(shapes, order="deterministic").decode()

    def parameter_count(self) -> int:
        """Count the weights that can receive a gradient, from the spec alone."""
        return sum(x.parameters(self.features, self.context_features) for x in self.layers)

    def summary(self) -> str:
        """The structure in a few words, repetitions counted: 6 x (lu, spline coupling)."""
        inner = _grouped([layer.words() for layer in self.layers])
        return f"{inner or 'no layers'} on {self.features} features"


def _grouped(words: list[str]) -> str:
    """Join words, with the repetitions of a run counted."""
    parts, at = [], 0
    while at < len(words):
        best = (1, 1)  # length of the run, repetitions
        for length in range(1, (len(words) - at) // 2 + 1):
            run, times = words[at : at + length], 1
            while words[at + times * length : at + (times + 1) * length] == run:
                times += 1
            if times > 1 and length * times > best[0] * best[1]:
                best = (length, times)
        length, times = best
        inner = ", ".join(words[at : at + length])
        inner = f"({inner})" if length > 1 else inner
        parts.append(inner if times == 1 else f"{times} x {inner}")
        at += length * times
    return ", ".join(parts)


class TrainSpec(parts.Plain, frozen=True):
    """How to train a flow.

    Attributes:
        optimiser: "adam", "adamw", or "muon": Muon on the conditioners' matrices (Jordan et al.
            2024) and AdamW at 2e-3, without decay, on everything else.
        schedule: Of the learning rate; "trapezoid" rises, stays, and falls to zero over the last
            30% (Zhai et al. 2022).
        learning_rate: Of a step; with "muon" that of the matrices.
        batch_size: Rows a step.
        weight_decay: A step's, times the rate; with "muon" that of the matrices.
        steps: Optimiser steps at full length.
        patience: Validation checks without improvement before a member stops; 0 never stops early.
        clip: Greatest gradient norm of a member; 0 switches clipping off.
        dropout: Share of hidden units set to zero in training.
        average: Decay a step of an exponential moving average of the weights; it is what is
            validated and kept. 0: the weights themselves.
    """

    optimiser: Optimiser = "adamw"
    schedule: Schedule = "cosine"
    learning_rate: float = 2e-3
    batch_size: int = 512
    weight_decay: float = 0.0
    dropout: float = 0.0
    steps: int = 4000
    patience: int = 0
    clip: float = 5.0
    average: float = 0.0

    def __post_init__(self) -> None:
        parts.check_choice("optimiser", self.optimiser, Optimiser)
        parts.check_choice("schedule", self.schedule, Schedule)
        parts.check_range("batch_size", self.batch_size, 1, 1 << 24)
        parts.check_range("steps", self.steps, 0, 1 << 31)
        parts.check_range("patience", self.patience, 0, 1 << 31)
        if not 0 < self.learning_rate <= 1:
            raise ValueError(
                f"`learning_rate` must be above 0 and at most 1, got {self.learning_rate}."
            )
        for name in ("dropout", "average"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"`{name}` must be from 0 to below 1, got {value}.")
        for name in ("weight_decay", "clip"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(f"`{name}` must be at least 0 and finite, got {value}.")
        for name in ("learning_rate", "weight_decay", "dropout", "clip", "average"):
            parts.settle(self, **{name: float(getattr(self, name))})

    def to_json(self) -> str:
        """Write the canonical JSON; without an average it is what older versions wrote."""
        fields = msgspec.to_builtins(self)
        if not self.average:
            del fields["average"]
        return msgspec.json.encode(fields, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> TrainSpec:
        """Read what `to_json` wrote."""
        return _from_json(text, cls)


class Recipe(parts.Plain, frozen=True, kw_only=False):
    """A candidate as it is trained: a flow, its training, and the data's marginal maps.

    Attributes:
        flow: The structure.
        train: How it is trained, at full length.
        marginals: The maps before it, by name: one for all columns, or one a column with commas
            between; see `nfopt.data.maps.marginals`.

    Raises:
        ValueError: If `marginals` is no such text.
    """

    flow: FlowSpec
    train: TrainSpec
    marginals: str = "standardise"

    def __post_init__(self) -> None:
        if not isinstance(self.marginals, str) or not MARGINALS.fullmatch(self.marginals):
            raise ValueError(
                f"`marginals` must be names with commas between, got {self.marginals!r}."
            )

    def to_json(self) -> str:
        """Write the canonical JSON: the same recipe gives the same bytes."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Recipe:
        """Read what `to_json` wrote."""
        return _from_json(text, cls)

    def digest(self) -> str:
        """Return a SHA-256 in hex; of standardised data that of the flow and its training alone."""
        more = "" if self.marginals == "standardise" else self.marginals
        text = f"{self.flow.to_json()}{self.train.to_json()}{more}"
        return hashlib.sha256(text.encode()).hexdigest()


msgspec.json.Decoder(Recipe)  # read now: two threads that do it at once crash msgspec


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
