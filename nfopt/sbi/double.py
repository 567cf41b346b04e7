"""A zuko flow in float64 that takes and gives float32, as sbi's data are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from zuko.distributions import NormalizingFlow
from zuko.transforms import ComposedTransform


class Double(nn.Module):
    """A conditional zuko flow whose splines are inverted in double precision.

    Args:
        flow: A `zuko.flows.Flow` in float64.
    """

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, context: Tensor) -> NormalizingFlow:
        """Give the density of float32 rows under float32 context."""
        inside = self.flow(context.double())
        return NormalizingFlow(ComposedTransform(Widen(), inside.transform), inside.base)


class Widen(Transform):
    """float32 to float64, and back."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return x.double()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.float()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Zeros: no row changes its place."""
        return torch.zeros(x.shape[:-1], dtype=torch.float64, device=x.device)
