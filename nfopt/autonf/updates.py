"""How weights and logits move, and which options each layer still has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """PyTorch's Adam, fused, with a learning rate that changes between steps.

    Args:
        leaves: What moves; there may be none.
        rate: Learning rate.
        betas: Of the two moments.
    """

    def __init__(
        self, leaves: Sequence[Tensor], rate: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__([{"params": list(leaves)}], lr=rate, betas=betas, fused=True)

    @property
    def rate(self) -> float:
        """Learning rate; may be changed between steps."""
        return float(self.param_groups[0]["lr"])

    @rate.setter
    def rate(self, rate: float) -> None:
        self.param_groups[0]["lr"] = rate


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


class LogitUpdate:
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
