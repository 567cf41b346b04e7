"""Score many rows in chunks, and measure how well a flow inverts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nfopt.spec import Autoregressive, Coupling, Elementwise

if TYPE_CHECKING:
    from nfopt.flows import Stack

CPU_ELEMENTS = (
    1 << 21
)  # numbers in a chunk's widest tensor: small enough to stay in or near the cache
GPU_ELEMENTS = 1 << 26
ROUND_TRIP_ROWS = 200


def chunk_rows(stack: Stack) -> int:
    """Say how many rows a chunk may have so that its widest intermediate result stays small."""
    widest = stack.features
    for layer in stack.specs[0].layers:
        match layer:
            case Coupling() | Autoregressive():
                widest = max(
                    widest, layer.conditioner.width, stack.features * layer.map.parameters()
                )
            case Elementwise():
                widest = max(widest, stack.features * layer.map.parameters())
            case _:
                pass
    budget = GPU_ELEMENTS if stack.theta.is_cuda else CPU_ELEMENTS
    return max(64, budget // (len(stack.specs) * widest))


def _chunks(rows: int, size: int) -> Iterator[slice]:
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


@torch.no_grad()
def log_prob(stack: Stack, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Score rows with every member, in chunks, without gradients.

    Args:
        stack: Flows of P members.
        x: Rows, shape (B, D).
        context: Shape (B, C), or None.

    Returns:
        Log-density in nats, shape (P, B).
    """
    parts = [
        stack.log_prob(x[rows], None if context is None else context[rows])
        for rows in _chunks(len(x), chunk_rows(stack))
    ]
    return torch.cat(parts, dim=1) if parts else x.new_empty(len(stack.specs), 0)


def mean_nll(
    stack: Stack,
    x: Tensor,
    context: Tensor | None = None,
    weights: Tensor | None = None,
    logdet: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Average the negative log-likelihood of each member over rows.

    Args:
        stack: Flows of P members.
        x: Rows, shape (B, D).
        context: Shape (B, C), or None.
        weights: Weights of the rows in the mean, shape (B,), or None.
        logdet: Log-determinant of the preprocessing, shape (B,), or None; it is counted row by row.

    Returns:
        Mean in nats a row and two standard errors of it, each of shape (P,) in float64. One row has
        no standard
        error: nan.
    """
    scores = log_prob(stack, x, context).double()
    if logdet is not None:
        scores += logdet
    if weights is None:
        spread = (
            scores.std(dim=1) if scores.shape[1] > 1 else torch.full_like(scores[:, 0], torch.nan)
        )
        return -scores.mean(dim=1), 2 * spread / scores.shape[1] ** 0.5
    share = (weights / weights.sum()).double()
    mean = scores @ share
    return -mean, 2 * ((scores - mean[:, None]) * share).square().sum(dim=1).sqrt()


@torch.no_grad()
def round_trip_error(stack: Stack, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Measure the largest absolute difference between rows and their way to the base and back.

    An autoregressive layer inverts feature by feature, so the rows are few: at most 200, fewer
    where D is large.

    Args:
        stack: Flows of P members.
        x: Rows, shape (B, D); the first ones are used.
        context: Shape (B, C), or None.

    Returns:
        Shape (P,); inf where the way back is not finite.
    """
    rows = min(len(x), ROUND_TRIP_ROWS, max(16, 8192 // stack.features))
    x, context = x[:rows], None if context is None else context[:rows]
    z, _ = stack.forward(x, context)
    error = (stack.inverse(z, context) - x).abs().amax(dim=(1, 2))
    return torch.where(error.isfinite(), error, torch.inf)
