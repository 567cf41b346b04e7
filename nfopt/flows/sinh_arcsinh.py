"""The sinh-arcsinh map: skew and tail weight of one feature (Jones and Pewsey 2009, section 2).

    y = sinh(tail * arcsinh(x) + skew)

A tail weight below 1 draws heavy tails in. Beyond `REACH` sinh and arcsinh go on as straight lines,
so that a flow of many such layers overflows nowhere, and slopes stay within a factor `REACH`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nfopt.flows.maps import StackMap, soft_clip
from nfopt.flows.registry import registers
from nfopt.spec import SinhArcsinh

LOG_TAIL_LIMIT = math.log(4)  # tail weights: from 1/4 to 4
REACH = 1e4  # on standardised data
BEND, STEEP = math.asinh(REACH), math.hypot(1, REACH)  # arcsinh there, and the slope of sinh


def _sinh(u: Tensor) -> Tensor:
    inside = u.clamp(-BEND, BEND)
    return torch.sinh(inside) + (u - inside) * STEEP


def _arcsinh(x: Tensor) -> Tensor:
    inside = x.clamp(-REACH, REACH)
    return torch.asinh(inside) + (x - inside) / STEEP


def _log_slope(u: Tensor) -> Tensor:
    """Give log cosh(u) + log 2, the logarithm of the slope of `_sinh` but for a constant."""
    size = u.abs().clamp_max(BEND)
    return size + torch.log1p((-2 * size).exp())


@registers(SinhArcsinh)
class SinhArcsinhMap(StackMap):
    """Parameters: the skew, and the logarithm of the tail weight, clipped softly."""

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map x, and give the log-derivative."""
        log_tail = soft_clip(parameters[:, 1], LOG_TAIL_LIMIT)
        before = _arcsinh(x)
        after = torch.addcmul(parameters[:, 0], before, log_tail.exp())
        return _sinh(after), log_tail + _log_slope(after) - _log_slope(before)

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Undo `forward`, in closed form."""
        tail = soft_clip(parameters[:, 1], LOG_TAIL_LIMIT).exp()
        return _sinh((_arcsinh(y) - parameters[:, 0]) / tail)
