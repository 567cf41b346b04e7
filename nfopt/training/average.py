"""An average of the weights of a population, along its training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nfopt.spec import TrainSpec
from nfopt.training.optimiser import column

START = 10.0  # the average reaches back over at most about a tenth of the steps so far


class Average:
    """An exponential moving average of the rows of (P, N), each with its own decay a step.

    At step t the decay is at most (1 + t) / (10 + t), so that what the average began with does not
    stay in it, and short trainings have a short one.

    Attributes:
        weights: The average, shape (P, N).
    """

    def __init__(self, weights: Tensor, decays: Sequence[float]) -> None:
        """Take what it begins with, which is changed from here on, and one decay a row."""
        self.weights = weights
        self._decays = list(decays)

    @classmethod
    def start(cls, theta: Tensor, specs: Sequence[TrainSpec]) -> Average | None:
        """Begin with the weights as they are; None if no member wants an average."""
        decays = [spec.average for spec in specs]
        return cls(theta.detach().clone(), decays) if any(decays) else None

    @torch.no_grad()
    def take_in(self, theta: Tensor, step: int) -> None:
        """Move towards the weights after `step` steps."""
        shares = [1.0 - min(decay, (1.0 + step) / (START + step)) for decay in self._decays]
        share = shares[0] if len(set(shares)) == 1 else column(shares, theta)
        self.weights.lerp_(theta.detach(), share)

    def select(self, rows: Sequence[int]) -> Average:
        """Go on with some of the rows."""
        return Average(self.weights[list(rows)].clone(), [self._decays[i] for i in rows])
