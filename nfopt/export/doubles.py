"""Operators that onnxruntime has in float32 alone, written in those that it has in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

FAR = 6.0  # from which on erf is 1, to the last digit
DEGREE = 24  # of the series of erfc(x) exp(x^2), which leaves 1e-16


def asinh(x: Tensor) -> Tensor:
    """Write arcsinh by a logarithm, of |x| so that nothing cancels."""
    size = x.abs()
    return x.sign() * (size + (size * size + 1).sqrt()).log()


def sinh(x: Tensor) -> Tensor:
    """Write sinh by exponentials."""
    return 0.5 * (x.exp() - (-x).exp())


def softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    """Write log(1 + exp(beta x)) / beta, without overflow."""
    scaled = beta * x
    return (scaled.clamp_min(0) + (1 + (-scaled.abs()).exp()).log()) / beta


def elu(x: Tensor, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Tensor:
    """Write the exponential linear unit."""
    below = alpha * ((x * input_scale).clamp_max(0).exp() - 1)
    return scale * torch.where(x > 0, x, below)


def gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Write x times the normal distribution function."""
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


def erf(x: Tensor) -> Tensor:
    """Write erf as 1 - exp(-x^2) times a Chebyshev series in 1 / (1 + |x| / 2)."""
    size = x.abs().clamp_max(FAR)
    at: Tensor = _scaled(1 / (1 + size / 2))
    # Clenshaw's recurrence
    series = _series()
    later, found = torch.zeros_like(at), torch.zeros_like(at)
    for coefficient in series[:0:-1]:
        later, found = found, 2 * at * found - later + coefficient
    value = at * found - later + series[0]
    return x.sign() * (1 - value * (-size * size).exp())


def _scaled(part: Any) -> Any:
    """Move 1 / (1 + FAR / 2) .. 1 to -1 .. 1."""
    least = 1 / (1 + FAR / 2)
    return (2 * part - (1 + least)) / (1 - least)


@lru_cache(maxsize=1)
def _series() -> list[float]:
    """Interpolate erfc(x) exp(x^2), which is smooth, at Chebyshev's nodes."""
    nodes = chebyshev.chebpts1(DEGREE + 1)
    least = 1 / (1 + FAR / 2)
    sizes = 2 * (2 / (nodes * (1 - least) + (1 + least)) - 1)
    values = [math.erfc(size) * math.exp(size * size) for size in sizes]
    found: list[float] = chebyshev.chebfit(nodes, np.array(values), DEGREE).tolist()
    return found


_aten = torch.ops.aten
DOUBLES: dict[Any, Callable[..., Tensor]] = {
    _aten.asinh.default: asinh,
    _aten.sinh.default: sinh,
    _aten.softplus.default: softplus,
    _aten.elu.default: elu,
    _aten.gelu.default: gelu,
    _aten.erf.default: erf,
}
