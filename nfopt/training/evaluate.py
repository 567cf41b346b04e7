"""Score a population on many rows, and measure how well it inverts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nfopt.model import log_prob
from nfopt.training.batches import TrainData

if TYPE_CHECKING:
    from nfopt.flows import Stack

ROUND_TRIP_ROWS = 200
FIRST = slice(0, ROUND_TRIP_ROWS)


def in_parts(
    stack: Stack, data: TrainData, measure: Callable[[Stack, TrainData], Tensor]
) -> Tensor:
    """Measure all members at once or, where memory does not allow it, half of them at a time.

    Args:
        stack: Flows of P members.
        data: What they see.
        measure: From a stack and what it sees to a tensor whose last axis is its members.
    """
    try:
        return measure(stack, data)
    except torch.OutOfMemoryError:
        if len(stack.specs) == 1:
            raise
    rows = list(range(len(stack.specs)))
    middle = len(rows) // 2
    parts = [
        in_parts(stack.select(some), data.of_members(some), measure)
        for some in (rows[:middle], rows[middle:])
    ]
    return torch.cat(parts, dim=-1)


def validated(stack: Stack, data: TrainData, rows: int) -> Tensor:
    """Score some of the validation rows: mean NLL and two standard errors, shape (2, P)."""
    index: Tensor | slice = slice(None)
    if rows < data.val_rows:  # evenly spread, so that ordered data is seen as a whole
        spread = torch.linspace(0, data.val_rows - 1, rows, dtype=torch.float64).long()
        index = spread.to(data.val.device)
    return torch.stack(mean_nll(stack, *data.validation(index)))


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
        x: Rows, shape (B, D) or (P, B, D).
        context: Shape (B, C) or (P, B, C), or None.
        weights: Weights of the rows in the mean, shape (B,), or None.
        logdet: Log-determinant of the preprocessing, shape (B,) or (P, B), or None; it is counted
            row by row.

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
        x: Rows, shape (B, D) or (P, B, D); the first ones are used.
        context: Shape (B, C) or (P, B, C), or None.

    Returns:
        Shape (P,); inf where the way back is not finite.
    """
    rows = min(x.shape[-2], ROUND_TRIP_ROWS, max(16, 8192 // stack.features))
    x, context = x[..., :rows, :], None if context is None else context[..., :rows, :]
    z, _ = stack.forward(x, context)
    error = (stack.inverse(z, context) - x).abs().amax(dim=(1, 2))
    return torch.where(error.isfinite(), error, torch.inf)
