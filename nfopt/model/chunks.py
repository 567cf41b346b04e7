"""Score any number of rows in chunks that stay small in memory and near the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from nfopt.flows import Stack

CPU_ELEMENTS = 1 << 21  # numbers in a chunk's widest tensor
GPU_ELEMENTS = 1 << 24


def chunk_rows(stack: Stack) -> int:
    """Say how many rows a chunk may have so that its widest intermediate result stays small."""
    widest = max((x.widest(stack.features) for x in stack.specs[0].layers), default=stack.features)
    budget = GPU_ELEMENTS if stack.theta.is_cuda else CPU_ELEMENTS
    return max(64, budget // (len(stack.specs) * widest))


def drawn_rows(stack: Stack) -> int:
    """Say how many rows may be drawn at a time: a layer that takes many passes is narrow in each.

    A pass costs nearly the same for few rows and for many, so more rows at a time are faster.
    """
    features = stack.features
    layers = stack.specs[0].layers
    widest = max((x.widest(features) // x.passes(features) for x in layers), default=features)
    budget = GPU_ELEMENTS if stack.theta.is_cuda else CPU_ELEMENTS
    return max(64, budget // (len(stack.specs) * max(features, widest)))


@torch.no_grad()
def log_prob(stack: Stack, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Score rows with every member of a stack, in chunks, without gradients.

    Args:
        stack: Flows of P members.
        x: Rows, shape (B, D) or (P, B, D).
        context: Shape (B, C) or (P, B, C), or None.

    Returns:
        Log-density in nats, shape (P, B).
    """
    parts = [
        stack.log_prob(x[..., rows, :], None if context is None else context[..., rows, :])
        for rows in chunks(x.shape[-2], chunk_rows(stack))
    ]
    return torch.cat(parts, dim=1) if parts else x.new_empty(len(stack.specs), 0)


def chunks(rows: int, size: int) -> Iterator[slice]:
    """Cut `rows` rows into slices of at most `size`."""
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))
