"""How the logits move: Adam on a gradient, or the natural gradient with an adaptive step.

Both hold the same two things: logits (n, m), and which options each layer still has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nfopt.autonf.adam import Adam

FLOOR = 1e-3  # of a weight under the natural gradient, so that no option is lost by chance


class Logits:
    """Logits of all layers, the options that are left, and the temperature.

    Attributes:
        values: Shape (n, m); a leaf that requires a gradient.
        live: Which options are left, shape (n, m).
        temperature: That the logits are divided by.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.detach().clone().requires_grad_()
        self.live = torch.ones(values.shape, dtype=torch.bool)
        self.temperature = 1.0

    def now(self) -> Tensor:
        """Return the logits as the objective sees them: -inf where an option is ruled out."""
        return torch.where(self.live, self.values / self.temperature, -torch.inf)

    def weights(self) -> Tensor:
        """Return each layer's weights, shape (n, m), without a gradient."""
        return self.now().detach().softmax(1)

    def choices(self, place: int) -> list[int]:
        """Return the options that a layer still has."""
        return self.live[place].nonzero().flatten().tolist()

    def drop(self, places: range, below: float) -> None:
        """Rule out the options of some layers whose weight is too small, never the heaviest."""
        weights = self.weights()
        for place in places:
            self.live[place] &= (weights[place] >= below) | (weights[place] == weights[place].max())


class AdamUpdate:
    """Adam on the logits, with DARTS's momentum of 0.5.

    Args:
        logits: What moves.
        rate: Learning rate.
    """

    def __init__(self, logits: Logits, rate: float) -> None:
        self.logits = logits
        self._adam = Adam([logits.values], rate, betas=(0.5, 0.999))

    def step(self, loss: Tensor) -> None:
        """Follow the gradient of a loss by the logits."""
        (gradient,) = torch.autograd.grad(loss, [self.logits.values])
        if bool(gradient.isfinite().all()):
            self.logits.values.grad = gradient
            self._adam.step()

    def numbers(self) -> dict[str, float]:
        """Return what a checkpoint keeps of it, beside its tensors."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Return its moments."""
        return self._adam.tensors()

    def load(self, numbers: Mapping[str, float], tensors: Mapping[str, Tensor]) -> None:
        """Go on where another one was."""
        self._adam.load(tensors)


class NaturalUpdate:
    """Natural gradient of the expected value over the layers' categorical weights.

    The step is adapted by its signal to noise: while successive gradients agree it grows, else it
    shrinks (ASNG, Akimoto et al. 2019, algorithm 1), with two differences: the first step is
    shorter than theirs of 1, and no step is longer than 1. Values are taken as they are, not by
    their ranks; a step's length does not depend on their unit.

    Args:
        logits: What moves.
        places: Whose layers are under search.
        threshold: alpha of the paper: the ratio of signal to noise that is aimed at.
        first: The first step's length in the Fisher norm; no step is longer than 1.
    """

    def __init__(
        self, logits: Logits, places: range, threshold: float = 1.5, first: float = 0.2
    ) -> None:
        self.logits, self.places = logits, places
        self.threshold, self.length = threshold, first
        self._signal, self._power = torch.zeros(0), 0.0

    @torch.no_grad()
    def step(self, paths: Tensor, shares: Tensor, values: Tensor) -> None:
        """Move towards paths of a lower value.

        Args:
            paths: Shape (K, n).
            shares: Of each path in the mean, adding up to 1, shape (K,): W_k for all paths, 1 / K
                for drawn ones.
            values: To minimise, shape (K,).
        """
        rows = list(self.places)
        weights = self.logits.weights()[rows]
        chosen = torch.nn.functional.one_hot(paths[:, rows], weights.shape[1]).to(weights.dtype)
        better = ((shares * values).sum() - values) * shares
        # in the coordinates of the weights the natural gradient of log W is one-hot less weights
        direction = (better[:, None, None] * (chosen - weights)).sum(0)
        # its Fisher norm: squares over the weights
        scaled = direction / weights.clamp_min(FLOOR * FLOOR).sqrt()
        norm = float(scaled.norm())
        if not (math.isfinite(norm) and norm > 0):
            return
        live = self.logits.live[rows]
        weights = weights + self.length * direction / norm
        # a layer of so many options that are left has one number less that can change
        self._adapt((scaled / norm).flatten(), int((live.sum(1) - 1).sum()))
        weights = torch.where(live, weights.clamp_min(FLOOR), 0.0)
        weights = weights / weights.sum(1, keepdim=True)
        temperature = self.logits.temperature
        self.logits.values[rows] = torch.where(
            live, temperature * weights.clamp_min(FLOOR * FLOOR).log(), self.logits.values[rows]
        )

    def numbers(self) -> dict[str, float]:
        """Return what a checkpoint keeps of it, beside its tensors."""
        return {"length": self.length, "power": self._power}

    def tensors(self) -> dict[str, Tensor]:
        """Return the gathered signal."""
        return {"signal": self._signal} if len(self._signal) else {}

    def load(self, numbers: Mapping[str, float], tensors: Mapping[str, Tensor]) -> None:
        """Go on where another one was."""
        self.length, self._power = numbers["length"], numbers["power"]
        self._signal = tensors.get("signal", torch.zeros(0))

    def _adapt(self, unit: Tensor, size: int) -> None:
        """Compare the gathered signal with what pure noise would gather.

        Args:
            unit: The step in the Fisher metric, of norm 1.
            size: Numbers that can change.
        """
        if not len(self._signal):
            self._signal = torch.zeros_like(unit)
        beta = min(1.0, self.length / math.sqrt(max(1, size)))
        gain = beta * (2 - beta)
        self._signal = (1 - beta) * self._signal + math.sqrt(gain) * unit
        self._power = (1 - beta) ** 2 * self._power + gain
        ratio = float(self._signal.square().sum()) / self.threshold - self._power
        self.length = min(1.0, self.length * math.exp(beta * ratio))
