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
    generator: torch.Generator,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Draw from the base; Student t by the polar method of Bailey (1994)."""
    kind: dict[str, Any] = {"generator": generator, "device": device, "dtype": dtype}
    if isinstance(base, Normal):
        return torch.randn(shape, **kind)
    df = _student_t(base).df
    u, v = torch.rand((2, *shape), **kind)
    u = u.clamp_min(torch.finfo(dtype).tiny ** 0.25)
    return (df * torch.expm1(-2 / df * u.log())).sqrt() * torch.cos(2 * math.pi * v)


def normals(base: Base) -> int:
    """Say from how many standard normals a number of the base is made, see `of_normals`."""
    return 1 if isinstance(base, Normal) else 2


def of_normals(base: Base, noise: Tensor, features: int) -> Tensor:
    """Turn standard normals into draws from the base.

    Of Student t as Bailey (1994) does: two normals in polar form are his two uniform numbers.

    Args:
        base: Of the flow.
        noise: Shape (n, D), or with the second ones behind the first, (n, 2 D).
        features: D.

    Returns:
        Shape (n, D).
    """
    first = noise[:, :features]
    if isinstance(base, Normal):
        return first
    df, second = _student_t(base).df, noise[:, features:]
    square = (first * first + second * second).clamp_min(torch.finfo(noise.dtype).tiny)
    return (df * torch.expm1(square / df) / square).sqrt() * first


def _student_t(base: Base) -> StudentT:
    if not isinstance(base, StudentT):
        raise ValueError(f"Kind {base.kind!r} of a base has no density: {__name__} must know it.")
    return base
