"""Which trained flows to mix: greedy forward selection on validation data.

A mixture's log-likelihood is at least the mean of its members' (Jensen), and flows that overfit do
so in different places, so a mixture of a few good flows is as a rule better than the best of them.
Members are added one at a time, the one that helps most first, with equal weights (after Caruana
et al. 2004, there with repetition): few choices, so that little is learnt of the validation rows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_GAIN = 0.005  # nats a row on validation data that another member must bring


def choose_members(
    scores: Tensor, most: int, weights: Tensor | None = None, *, least_gain: float = LEAST_GAIN
) -> list[int]:
    """Choose flows whose mixture with equal weights has the lowest validation NLL.

    Args:
        scores: Log-density of M validation rows under K flows, shape (K, M), finite mean.
        most: Members at most, at least 1.
        weights: Of the rows, shape (M,), or None.
        least_gain: Nats a row that each further member must bring.

    Returns:
        Rows of `scores`, the best alone first, then in the order in which they were added.
    """
    scores = scores.double()
    share = torch.ones(scores.shape[1], dtype=torch.float64) if weights is None else weights
    share = (share / share.sum()).double().to(scores.device)
    chosen = [int((scores @ share).argmax())]
    total = scores[chosen[0]]  # log of the sum of the members' densities
    value = float(total @ share)
    while len(chosen) < min(most, len(scores)):
        sums = torch.logaddexp(total, scores)
        values = sums @ share - math.log(len(chosen) + 1)
        values[chosen] = -math.inf
        best = int(values.argmax())
        if not float(values[best]) > value + least_gain:
            break
        chosen.append(best)
        total, value = sums[best], float(values[best])
    return chosen
