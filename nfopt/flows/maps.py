"""Scalar maps: what happens to one feature, given its parameters.

Shapes throughout: `x` and `y` are (P, T, B), parameters (P, K, T, B) with K as the map's spec says,
log-derivatives (P, T, B). Every map is the identity at zero parameters, and has a finite inverse at
any finite parameters, because what is exponentiated is bounded smoothly first (`soft_clip`), to
factors from 1e-3 to 1e3 as in zuko.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nfopt.flows import spline
from nfopt.spec import Additive, Affine, ScalarMap

LOG_LIMIT = math.log(1e3)


def soft_clip(x: Tensor, limit: float) -> Tensor:
    """Bound smoothly to (-limit, limit), with slope 1 at zero."""
    return x / (1 + (x / limit).abs())


def forward(scalar_map: ScalarMap, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
    """Map x; the log-derivative is None where it is zero everywhere."""
    match scalar_map:
        case Additive():
            return x + parameters[:, 0], None
        case Affine():
            log_scale = soft_clip(parameters[:, 1], LOG_LIMIT)
            return torch.addcmul(parameters[:, 0], x, log_scale.exp()), log_scale
        case _:
            return spline.forward(x, parameters, scalar_map.bins, scalar_map.bound)


def inverse(scalar_map: ScalarMap, y: Tensor, parameters: Tensor) -> Tensor:
    """Undo `forward` for the same parameters."""
    match scalar_map:
        case Additive():
            return y - parameters[:, 0]
        case Affine():
            return (y - parameters[:, 0]) * (-soft_clip(parameters[:, 1], LOG_LIMIT)).exp()
        case _:
            return spline.inverse(y, parameters, scalar_map.bins, scalar_map.bound)
