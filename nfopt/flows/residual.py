"""Planar and radial layers (Rezende and Mohamed 2015): a shift along a direction, or to a centre.

In both the inverse is one scalar equation along a line, which is solved by bisection.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from nfopt.flows import maps
from nfopt.flows.layer import Column, Dropout, Rows, StackLayer, Weights, feature_order, slots_of
from nfopt.flows.loops import repeat
from nfopt.flows.registry import registers
from nfopt.spec import Planar, Radial

SLACK = 1e-3  # how far the planar slope stays above zero
SHIFT = math.log(math.expm1(1 - SLACK))  # softplus(SHIFT) = 1 - SLACK
HALVINGS = 80  # more than float64's 53 bits for any bracket here


class _WholeSpace(StackLayer):
    """A layer that acts on all features of a row together, in feature order."""

    def __init__(self, column: Column) -> None:
        members, features = column.order.shape
        self.features = features
        self.order = feature_order(members, features)
        self.rows = Rows(slots_of(column.order, self.order), features, column.device)

    def start(self, name: str, member: int, generator: torch.Generator) -> Tensor:
        """Draw small weights: at exact zeros half of them would get no gradient."""
        return 0.1 * torch.randn(self.own_shape(name, member), generator=generator)


@registers(Planar)
class PlanarLayer(_WholeSpace):
    """x + u' tanh(w.x + b), where u' is u moved along w until w.u' > -1 (appendix A.1)."""

    def __init__(self, column: Column) -> None:
        """Name the weights."""
        super().__init__(column)
        self.shapes = {"u": (self.features,), "w": (self.features,), "b": (1,)}

    def _direction(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """Return u' (P, D) and w.u' (P, 1); both zero where u is zero."""
        u, w = weights["u"], weights["w"]
        along = (u * w).sum(1, keepdim=True)
        wanted = F.softplus(along + SHIFT) + SLACK - 1
        square = (w * w).sum(1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny ** 0.5)
        moved = u + (wanted - along) * w / square
        # keeps the slope above zero despite the rounding of large weights
        return moved, (moved * w).sum(1, keepdim=True).clamp_min(SLACK - 1)

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Push along one direction."""
        state = self.rows(state)
        u, along = self._direction(weights)
        bend = torch.tanh((weights["w"].unsqueeze(-1) * state).sum(1) + weights["b"])
        state = state + u.unsqueeze(-1) * bend.unsqueeze(1)
        return state, torch.log1p(along * (1 - bend * bend))

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Solve a + w.u' tanh(a + b) = w.y for a = w.x."""
        u, along = self._direction(weights)
        y = (weights["w"].unsqueeze(-1) * state).sum(1)
        b, reach = weights["b"], along.abs()

        def image(a: Tensor) -> Tensor:
            return a + along * torch.tanh(a + b)

        a = _bisect(image, y, y - reach, y + reach)
        return state - u.unsqueeze(-1) * torch.tanh(a + b).unsqueeze(1)


@registers(Radial)
class RadialLayer(_WholeSpace):
    """x + beta (x - x0) / (alpha + |x - x0|), 1 + beta / alpha = exp(bounded) (appendix A.2)."""

    def __init__(self, column: Column) -> None:
        """Name the weights."""
        super().__init__(column)
        self.shapes = {"center": (self.features,), "log_alpha": (1,), "beta": (1,)}

    def _scalars(self, weights: Weights) -> tuple[Tensor, Tensor]:
        """Return alpha and beta, both (P, 1)."""
        alpha = maps.soft_clip(weights["log_alpha"], maps.LOG_LIMIT).exp()
        return alpha, alpha * maps.soft_clip(weights["beta"], maps.LOG_LIMIT).expm1()

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Contract or expand around one point."""
        state = self.rows(state)
        alpha, beta = self._scalars(weights)
        away = state - weights["center"].unsqueeze(-1)
        radius = _norm(away)
        pull = beta / (alpha + radius)
        state = state + away * pull.unsqueeze(1)
        turn = torch.log1p(pull)
        stretch = torch.log1p(alpha * pull / (alpha + radius))
        return state, (self.features - 1) * turn + stretch

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Solve r (1 + beta / (alpha + r)) = |y - x0| for the radius r."""
        alpha, beta = self._scalars(weights)
        away = state - weights["center"].unsqueeze(-1)
        image_radius = _norm(away)

        def image(radius: Tensor) -> Tensor:
            return radius * (1 + beta / (alpha + radius))

        zero = torch.zeros_like(image_radius)
        radius = _bisect(image, image_radius, zero, image_radius + beta.abs())
        pull = beta / (alpha + radius)
        return weights["center"].unsqueeze(-1) + away / (1 + pull).unsqueeze(1)


def _norm(x: Tensor) -> Tensor:
    """Length of each column of (P, D, B), with a finite gradient at zero."""
    return (x * x).sum(1).clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def _bisect(image: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Find where an increasing function reaches the target, within a bracket.

    The halvings carry no gradient; one Newton step at the end gives the root its derivative by
    every input.
    """

    def halve(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        middle = (low + high) / 2
        above = image(middle) > target
        return torch.where(above, low, middle), torch.where(above, middle, high)

    with torch.no_grad():
        low, high = repeat(HALVINGS, halve, low, high)
        root = (low + high) / 2
    if not torch.is_grad_enabled():
        return root
    with torch.enable_grad():
        at = root.detach().requires_grad_()
        (slope,) = torch.autograd.grad(image(at).sum(), at)
    return root - (image(root) - target) / slope.detach()
