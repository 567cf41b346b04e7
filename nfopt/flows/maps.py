"""Scalar maps: monotone transforms of one feature, given its parameters.

Shapes throughout: `x` and `y` are (P, T, B), parameters (P, K, T, B) with the K of the map's spec,
log-derivatives (P, T, B). Every map is the identity at zero parameters, and has a finite inverse at
any finite parameters: exponents are bounded smoothly (`soft_clip`), to factors from 1e-3 to 1e3 as
in zuko.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from nfopt.flows.registry import registers, torch_class
from nfopt.spec import Additive, Affine, ScalarMap

LOG_LIMIT = math.log(1e3)


def soft_clip(x: Tensor, limit: float) -> Tensor:
    """Bound smoothly to (-limit, limit), with slope 1 at zero."""
    return x / (1 + (x / limit).abs())


class StackMap(ABC):
    """A scalar map of every feature and member at once."""

    def __init__(self, spec: Any) -> None:
        """Take the spec that all members share."""
        self.spec = spec

    @abstractmethod
    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map x; the log-derivative is None where it is zero everywhere."""

    @abstractmethod
    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Undo `forward` for the same parameters."""


def of(spec: ScalarMap) -> StackMap:
    """The map of a spec; ValueError if its kind has no torch class."""
    made: StackMap = torch_class(spec)(spec)
    return made


@registers(Additive)
class AdditiveMap(StackMap):
    """x + shift."""

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Shift."""
        return x + parameters[:, 0], None

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Shift back."""
        return y - parameters[:, 0]


@registers(Affine)
class AffineMap(StackMap):
    """x * scale + shift, the log-scale clipped softly."""

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale and shift."""
        log_scale = soft_clip(parameters[:, 1], LOG_LIMIT)
        return torch.addcmul(parameters[:, 0], x, log_scale.exp()), log_scale

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Shift back and scale back."""
        return (y - parameters[:, 0]) * (-soft_clip(parameters[:, 1], LOG_LIMIT)).exp()
