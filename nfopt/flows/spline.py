"""The monotone rational-quadratic spline (Durkan et al. 2019, section 3.1), derivative included.

Parameters (P, 3K-1, T, B) hold K widths, K heights and K-1 inner slopes, in zuko's parametrisation,
so that weights carry over: softmax of the smoothly clipped widths and heights, exponential of the
smoothly clipped slopes, slope 1 at both ends, identity outside the box. Memory layout decides the
speed: each operation runs over contiguous tensors along the batch. Autograd would keep some sixty
of them; `_Spline.backward` needs nine: y depends on one bin only, and the edges of a bin are sums
of the exponentials below it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nfopt.flows.maps import StackMap
from nfopt.flows.registry import registers
from nfopt.spec import Spline

SIZE_LIMIT = math.log(1e3) / 2  # widths and heights: within a factor 1e3 of each other
SLOPE_LIMIT = math.log(1e3)  # slopes: from 1e-3 to 1e3


def _clip(raw: Tensor, limit: float) -> Tensor:
    """1 + |raw / limit|, in a single new tensor, as allocations cost more than the arithmetic."""
    return raw.abs().mul_(1 / limit).add_(1)


def _raw_sizes(parameters: Tensor, bins: int) -> Tensor:
    """View the raw widths and heights as (P, 2, K, T, B)."""
    members, _, moved, batch = parameters.shape
    return parameters[:, : 2 * bins].view(members, 2, bins, moved, batch)


def _sizes(parameters: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Return the exponentials of widths and heights, and their running sums, both (P, 2, K, T, B).

    The clipped values are at most 3.5, so that no maximum need be subtracted before the
    exponential.
    """
    raw = _raw_sizes(parameters, bins)
    if torch.is_grad_enabled() and parameters.requires_grad:  # autograd keeps what it divides by
        sizes = (raw / _clip(raw, SIZE_LIMIT)).exp()
    else:
        sizes = _clip(raw, SIZE_LIMIT)
        torch.div(raw, sizes, out=sizes).exp_()
    return sizes, sizes.cumsum(2)


def _slopes(parameters: Tensor, bins: int, index: Tensor) -> tuple[Tensor, Tensor]:
    """Pick the raw slopes at both ends of each bin; outermost ones are zero (slope 1)."""
    raw = parameters[:, 2 * bins :]
    left = raw.gather(1, (index - 1).clamp_min(0)) * (index > 0)
    right = raw.gather(1, index.clamp_max(bins - 2)) * (index < bins - 1)
    return left.squeeze(1), right.squeeze(1)


def _slope(raw: Tensor) -> Tensor:
    return (raw / (1 + (raw / SLOPE_LIMIT).abs())).exp()


class _Bin:
    """The one bin in which each value lies: edges, sizes and slopes, each (P, T, B)."""

    def __init__(
        self, value: Tensor, parameters: Tensor, bins: int, bound: float, side: int
    ) -> None:
        """Find the bin by `side` 0 (x, along the widths) or 1 (y, along the heights)."""
        self.sizes, sums = _sizes(parameters, bins)
        self.total = sums[:, :, -1]
        unit = self.total / (2 * bound)  # exponentials a unit of length
        position = (value + bound) * unit[:, side]
        self.index = (position.unsqueeze(1) >= sums[:, side, :-1]).sum(1, keepdim=True)
        pick = self.index.unsqueeze(1).expand(-1, 2, -1, -1, -1)
        size = self.sizes.gather(2, pick).squeeze(2)
        below = sums.gather(2, pick).squeeze(2) - size
        self.unit = unit
        self.width, self.height = (size / unit).unbind(1)
        self.left, self.bottom = (below / unit - bound).unbind(1)
        self.raw_slopes = _slopes(parameters, bins, self.index)
        self.slope_left, self.slope_right = (_slope(raw) for raw in self.raw_slopes)


class _Spline(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, parameters: Tensor, bins: int, bound: float
    ) -> tuple[Tensor, Tensor]:
        inside = x.abs() < bound
        clamped = x.clamp(-bound, bound)
        at = _Bin(clamped, parameters, bins, bound, side=0)
        d0, d1 = at.slope_left, at.slope_right
        xi = ((clamped - at.left) / at.width).clamp(0, 1)
        s = at.height / at.width
        q = xi * (1 - xi)
        den = s + (d0 + d1 - 2 * s) * q
        ratio = (s * xi * xi + d0 * q) / den
        mid = d1 * xi * xi + 2 * s * q + d0 * (1 - xi) ** 2
        y = torch.where(inside, at.bottom + at.height * ratio, x)
        log_derivative = torch.where(inside, (s * s * mid / (den * den)).log(), 0)
        ctx.save_for_backward(
            parameters, at.sizes, at.unit, at.index, inside, xi, s, den, ratio, mid,
            at.width, at.height, at.left, at.bottom, d0, d1, *at.raw_slopes,
        )  # fmt: skip
        ctx.bins, ctx.bound = bins, bound
        return y, log_derivative

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, gl: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (parameters, sizes, unit, index, inside, xi, s, den, ratio, mid,
         width, height, left, bottom, d0, d1, raw0, raw1) = ctx.saved_tensors  # fmt: skip
        bins, bound = ctx.bins, ctx.bound
        outside = gy
        gy, gl = gy * inside, gl * inside
        q = xi * (1 - xi)
        # derivatives of ratio and of the log-derivative by xi, s, d0, d1
        gr = gy * height
        over, lm, ld = gr / den, gl / mid, 2 * gl / den
        turn = 1 - 2 * q
        by_xi = (
            over * s * mid / den
            + lm * 2 * (d1 * xi + s * (1 - 2 * xi) - d0 * (1 - xi))
            - ld * (d0 + d1 - 2 * s) * (1 - 2 * xi)
        )
        by_s = over * (xi * xi - ratio * turn) + 2 * gl / s + 2 * q * lm - ld * turn
        by_d0 = q * (over * (1 - ratio) - ld) + lm * (1 - xi) ** 2
        by_d1 = lm * xi * xi - q * (over * ratio + ld)
        # through xi = (x - left) / width and s = height / width, to edges and sizes
        gx = by_xi / width
        by_width = -(by_xi * xi + by_s * s) / width
        by_height = gy * ratio + by_s / width
        edge = torch.stack((-gx, gy), 1)
        size = torch.stack((by_width, by_height), 1)
        # to the exponentials: all by the total, those below by the edge, the own one by its size
        base = -(
            edge * torch.stack((left + bound, bottom + bound), 1)
            + size * torch.stack((width, height), 1)
        ) / (unit * 2 * bound)
        edge, size = edge / unit, size / unit
        grad = torch.empty_like(parameters)
        by_sizes = _raw_sizes(grad, bins)
        knots = torch.arange(bins, device=index.device).view(1, bins, 1, 1)
        by_sizes.copy_(base.unsqueeze(2).expand_as(by_sizes))
        by_sizes.addcmul_((knots < index).unsqueeze(1).to(edge.dtype), edge.unsqueeze(2))
        pick = index.unsqueeze(1).expand(-1, 2, -1, -1, -1)
        by_sizes.scatter_add_(2, pick, size.unsqueeze(2))
        clip = _clip(_raw_sizes(parameters, bins), SIZE_LIMIT)
        by_sizes.mul_(sizes).div_(clip).div_(clip)
        # to the slopes at both ends of the bin
        left_inner, right_inner = (index > 0).squeeze(1), (index < bins - 1).squeeze(1)
        by0 = by_d0 * d0 / (1 + (raw0 / SLOPE_LIMIT).abs()) ** 2
        by1 = by_d1 * d1 / (1 + (raw1 / SLOPE_LIMIT).abs()) ** 2
        by_slopes = grad[:, 2 * bins :].zero_()
        by_slopes.scatter_add_(1, (index - 1).clamp_min(0), (by0 * left_inner).unsqueeze(1))
        by_slopes.scatter_add_(1, index.clamp_max(bins - 2), (by1 * right_inner).unsqueeze(1))
        return torch.where(inside, gx, outside), grad, None, None


def forward(x: Tensor, parameters: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """Map x (P, T, B); return y and the log-derivative. Gradients are of first order only."""
    y, log_derivative = _Spline.apply(x, parameters, bins, bound)  # type: ignore[no-untyped-call]
    return y, log_derivative


def inverse(y: Tensor, parameters: Tensor, bins: int, bound: float) -> Tensor:
    """Undo `forward` (Durkan et al. 2019, equations 6 to 8), differentiable by autograd.

    As a + b = s, discriminant and root have a form without subtraction; the usual form cancels at
    steep slopes, with errors of 0.1 in float32. Floor and clamp keep the result within the bin.
    """
    inside = y.abs() < bound
    clamped = y.clamp(-bound, bound)
    at = _Bin(clamped, parameters, bins, bound, side=1)
    d0, d1 = at.slope_left, at.slope_right
    s = at.height / at.width
    rise = (clamped - at.bottom) / at.height
    a = s * (1 - 2 * rise) - d0 * (1 - rise) + d1 * rise
    b = s - a
    falls = a < 0
    square = torch.where(falls, s + a, b) ** 2
    square = square + 4 * a * s * torch.where(falls, rise - 1, rise)
    root = square.clamp_min(torch.finfo(y.dtype).tiny).sqrt()
    turned = b < 0
    above = torch.where(turned, root - b, 2 * s * rise)
    xi = (above / torch.where(turned, 2 * a, b + root)).clamp(0, 1)
    return torch.where(inside, at.left + xi * at.width, y)


@registers(Spline)
class SplineMap(StackMap):
    """The spline of a spec's bins, in its box."""

    def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map x, and give the log-derivative."""
        return forward(x, parameters, self.spec.bins, self.spec.bound)

    def inverse(self, y: Tensor, parameters: Tensor) -> Tensor:
        """Undo `forward`."""
        return inverse(y, parameters, self.spec.bins, self.spec.bound)
