"""Small flows and data on which a whole run takes a moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nfopt.flows import Stack, build
from nfopt.spec import LU, Affine, Conditioner, Coupling, Elementwise, FlowSpec, Spline, TrainSpec
from nfopt.training import TrainData, train

CPU = torch.device("cpu")
AFFINE = Affine()
SPEC = TrainSpec(steps=60, batch_size=64, learning_rate=0.01)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coupling_spec(map: Affine | Spline = AFFINE, context: int = 0) -> FlowSpec:
    net = Conditioner(width=8, hidden_layers=1)
    masks = ("CTC", "TCT")
    couplings = tuple(Coupling(mask=mask, map=map, conditioner=net) for mask in masks)
    return FlowSpec(features=3, layers=(LU(), *couplings), context_features=context)


def make_stack(members: int = 3, map: Affine | Spline = AFFINE, context: int = 0) -> Stack:
    (stack,) = build([coupling_spec(map, context)] * members, seeded(0))
    return stack


def make_exact_stack(members: int) -> Stack:
    """Flows without a matrix product, whose rounding may depend on the stack's size.

    Each has 48 weights: the processor takes 4, 8 or 16 at a time, and what is left at the end of an
    odd number may be rounded in another way (PyTorch's fused Adam on AVX2 and AVX-512).
    """
    layers = (Elementwise(map=Affine()), Elementwise(map=Spline(bins=5)))
    (stack,) = build([FlowSpec(features=3, layers=layers)] * members, seeded(0))
    with torch.no_grad():
        stack.theta.add_(0.1 * torch.randn(stack.theta.shape, generator=seeded(1)))
    return stack


def make_data(
    rows: int = 400, val: int = 120, context: bool = False, weights: bool = False
) -> TrainData:
    """Rows on a noisy parabola, standardised."""
    a = torch.randn(rows + val, 3, generator=seeded(7))
    x = torch.stack([a[:, 0], a[:, 0] ** 2 - 1 + 0.3 * a[:, 1], a[:, 2] + 0.5 * a[:, 0]], dim=1)
    seen = a[:, :1].clone() if context else None
    share = torch.rand(rows + val, generator=seeded(8)) if weights else None
    return TrainData(
        x=x[:rows],
        val=x[rows:],
        context=None if seen is None else seen[:rows],
        val_context=None if seen is None else seen[rows:],
        weights=None if share is None else share[:rows],
        val_weights=None if share is None else share[rows:],
    )


class Clock:
    """A clock that moves by itself at every look, and by hand."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = 1000.0
        self.tick = tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def spy(stack: Stack, before: Callable[[int], None]) -> Stack:
    """Call `before` with the number of members ahead of each log_prob, also of selections."""
    log_prob, select = stack.log_prob, stack.select

    def watched(*args: object, **kwargs: object) -> torch.Tensor:
        before(len(stack))
        return log_prob(*args, **kwargs)  # type: ignore[arg-type]

    stack.log_prob = watched  # type: ignore[method-assign,assignment]
    stack.select = lambda rows: spy(select(rows), before)  # type: ignore[method-assign]
    return stack


def run(stack: Stack, specs: Any = SPEC, data: TrainData | None = None, **options: Any) -> Any:
    return train(stack, specs, data or make_data(), generator=seeded(5), **options)


def weights(stack: Stack) -> Tensor:
    return stack.theta.detach().clone()
