"""Updates of weights and logits, and the options that each layer still has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """PyTorch's Adam, fused, with a learning rate that changes between steps.

    Args:
        leaves: Tensors to train; may be empty.
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
    """Logits of all layers, the options not ruled out, and the temperature.

    Attributes:
        values: Shape (n, m); a leaf that requires a gradient.
        live: Options that are not ruled out, shape (n, m).
        temperature: Divisor of the logits.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values.detach().clone().requires_grad_()
        self.live = torch.ones(values.shape, dtype=torch.bool)
        self.temperature = 1.0

    def now(self) -> Tensor:
        """The logits over the temperature, -inf where an option is ruled out."""
        return torch.where(self.live, self.values / self.temperature, -torch.inf)

    def weights(self) -> Tensor:
        """Each layer's weights, the softmax of `now`, shape (n, m), without a gradient."""
        return self.now().detach().softmax(1)

    def choices(self, place: int) -> list[int]:
        """The options of a layer that are not ruled out."""
        return self.live[place].nonzero().flatten().tolist()

    def drop(self, places: range, below: float) -> None:
        """Rule out options of small weight in some layers, but never the one of most weight."""
        weights = self.weights()
        for place in places:
            self.live[place] &= (weights[place] >= below) | (weights[place] == weights[place].max())


class LogitUpdate:
    """Adam on the logits, with DARTS's momentum of 0.5.

    Args:
        logits: To train.
        rate: Learning rate.
    """

    def __init__(self, logits: Logits, rate: float) -> None:
        self.logits = logits
        self._adam = Adam([logits.values], rate, betas=(0.5, 0.999))

    def step(self, loss: Tensor) -> None:
        """Take a step along the gradient of a loss."""
        (gradient,) = torch.autograd.grad(loss, [self.logits.values])
        if bool(gradient.isfinite().all()):
            self.logits.values.grad = gradient
            self._adam.step()
