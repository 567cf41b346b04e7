"""A supernet that is small enough to look at every path."""

from __future__ import annotations

import msgspec
import torch
from torch import Tensor

from nfopt.autonf.options import options_of
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet
from nfopt.training import TrainData


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int = 64, features: int = 2, seed: int = 5) -> Tensor:
    x = torch.randn(count, features, generator=seeded(seed))
    x[:, 1] = 0.5 * x[:, 1] + x[:, 0] ** 2 - 1
    return x


def make_net(
    names: str = "types,planar,identity",
    places: int = 2,
    features: int = 2,
    context: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Supernet:
    """Weights far enough from the start that the paths differ."""
    options = options_of(names, features, width=8, hidden_layers=1, bins=4)
    net = Supernet(options, places, features, seeded(1), context_features=context, dtype=dtype)
    with torch.no_grad():
        for theta in net.parameters():
            theta.add_(0.3 * torch.randn(theta.shape, generator=seeded(2), dtype=dtype))
    return net


def make_data(count: int = 600, features: int = 2) -> TrainData:
    """Rows on a noisy parabola; the validation rows are others."""
    x = rows(count + 200, features)
    return TrainData(x=x[:count], val=x[count:])


def settings(**changes: object) -> Settings:
    """A search of a second."""
    return msgspec.structs.replace(
        Settings(
            places=2,
            block=2,
            estimator="exact",
            steps=40,
            batch_size=64,
            learning_rate=1e-2,
            logit_rate=0.15,
        ),
        **changes,
    )
