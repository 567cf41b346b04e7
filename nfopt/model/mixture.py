"""Which trained flows to mix, and with which weights: greedy forward selection on validation rows.

A mixture's log-likelihood is at least the mean of its members' (Jensen), and flows that overfit do
so in different places, so a mixture of good flows is as a rule better than the best of them. Flows
are picked one at a time, the one that helps most, and may be picked again: how often is a flow's
weight (Caruana et al. 2004). Few choices are made, so that little is learnt of the validation rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nfopt.model.flow import Flow

PICKS = 5  # picks at most, times the number of distinct flows
LEAST_GAIN = 1e-3  # nats a row on validation data that another pick must bring


def choose_mixture(
    scores: Tensor, most: int, weights: Tensor | None = None, *, least_gain: float = LEAST_GAIN
) -> dict[int, int]:
    """Choose the flows of a mixture, and how often each counts.

    Args:
        scores: Log-density of M validation rows under K flows, shape (K, M).
        most: Distinct flows at most, at least 1.
        weights: Of the rows, shape (M,), or None.
        least_gain: Nats a row that each further pick must bring.

    Returns:
        Row of `scores` -> times picked; the best alone first, then in the order of the first pick.
    """
    scores = scores.double()
    share = torch.ones(scores.shape[1], dtype=torch.float64) if weights is None else weights
    share = (share / share.sum()).double().to(scores.device)
    first = int(_mean(scores, share).argmax())
    picked = {first: 1}
    total = scores[first]  # log of the sum of the densities picked
    value = float(_mean(total, share))
    for count in range(2, PICKS * most + 1):
        sums = torch.logaddexp(total, scores)
        values = _mean(sums, share) - math.log(count)
        if len(picked) == most:
            closed = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
            closed[list(picked)] = False
            values[closed] = -math.inf
        best = int(values.argmax())
        if not float(values[best]) > value + least_gain:
            break
        picked[best] = picked.get(best, 0) + 1
        total, value = sums[best], float(values[best])
    return picked


def _mean(scores: Tensor, share: Tensor) -> Tensor:
    """Weighted mean over rows; a row without weight does not count, whatever its density."""
    return torch.where(share > 0, scores * share, 0.0).sum(dim=-1)


def merge(flows: Sequence[Flow], times: Sequence[int], device: torch.device | str) -> Flow:
    """Make one mixture of several flows.

    Args:
        flows: For the same columns.
        times: How often each counts.
        device: Where it computes.
    """
    shares: list[float] = []
    for flow, count in zip(flows, times, strict=True):
        own = flow.shares or [1 / len(flow)] * len(flow)
        shares += [count * share for share in own]
    return Flow(
        [spec for flow in flows for spec in flow.specs],
        [flow.weights(member) for flow in flows for member in range(len(flow))],
        [maps for flow in flows for maps in flow.preprocessings],
        shares=shares,
        device=device,
    )


def flow_shares(picked: dict[int, int]) -> list[float]:
    """Shares of what was picked, in the order of the picks."""
    return [times / sum(picked.values()) for times in picked.values()]
