"""Base distributions: independent and identical in all features, so slots may have any order."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from nfopt.spec import Base, Normal, StudentT


def log_prob(base: Base, z: Tensor) -> Tensor:
    """Sum the log-densities of the features: (P, D, B) to (P, B), in nats."""
    features = z.shape[1]
    if isinstance(base, Normal):
        return -0.5 * (z * z).sum(1) - 0.5 * features * math.log(2 * math.pi)
    df = _student_t(base).df
    constant = (
        math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi)
    ) * features
    return constant - (df + 1) / 2 * torch.log1p(z * z / df).sum(1)


def sample(
    base: Base,
    shape: tuple[int, ...],
    generator: torch.Generator | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Draw from the base; Student t by the polar method of Bailey (1994).

    Without a generator it is torch's own, in a program that is exported: of the process it runs in.
    """
    kind: dict[str, Any] = {"device": device, "dtype": dtype}
    if generator is not None:  # None as an argument is another operator, which can't be exported
        kind["generator"] = generator
    if isinstance(base, Normal):
        return torch.randn(shape, **kind)
    df = _student_t(base).df
    u, v = torch.rand((2, *shape), **kind)
    u = u.clamp_min(torch.finfo(dtype).tiny ** 0.25)
    return (df * torch.expm1(-2 / df * u.log())).sqrt() * torch.cos(2 * math.pi * v)


def _student_t(base: Base) -> StudentT:
    if not isinstance(base, StudentT):
        raise ValueError(f"Kind {base.kind!r} of a base has no density: {__name__} must know it.")
    return base
