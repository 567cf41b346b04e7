"""Adam (Kingma and Ba 2015) on many leaves, of which a step may leave some out.

Its state is a few plain tensors, which is what a checkpoint holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EPSILON = 1e-8


class Adam:
    """Follows the gradients of its leaves; a leaf without one stays as it is, its moments too.

    Args:
        leaves: What moves.
        rate: Learning rate.
        betas: Of the two moments.

    Attributes:
        rate: May be changed between steps.
    """

    def __init__(
        self, leaves: Sequence[Tensor], rate: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.leaves, self.rate, self.betas = list(leaves), rate, betas
        self._counts = [0] * len(self.leaves)
        self._means = [torch.zeros_like(leaf, requires_grad=False) for leaf in self.leaves]
        self._squares = [torch.zeros_like(leaf, requires_grad=False) for leaf in self.leaves]

    def zero_grad(self) -> None:
        """Take the gradients away."""
        for leaf in self.leaves:
            leaf.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Follow the gradients."""
        first, second = self.betas
        for k, leaf in enumerate(self.leaves):
            if leaf.grad is None:
                continue
            self._counts[k] += 1
            mean, square, count = self._means[k], self._squares[k], self._counts[k]
            mean.lerp_(leaf.grad, 1 - first)
            square.mul_(second).addcmul_(leaf.grad, leaf.grad, value=1 - second)
            root = (square / (1 - second**count)).sqrt_().add_(EPSILON)
            leaf.addcdiv_(mean, root, value=-self.rate / (1 - first**count))

    def tensors(self) -> dict[str, Tensor]:
        """Return its moments, for a checkpoint."""
        found = {"counts": torch.tensor(self._counts)}
        for k, (mean, square) in enumerate(zip(self._means, self._squares, strict=True)):
            found |= {f"{k}.mean": mean, f"{k}.square": square}
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on where another one of the same leaves was."""
        self._counts = [int(count) for count in tensors["counts"].tolist()]
        for k in range(len(self.leaves)):
            self._means[k].copy_(tensors[f"{k}.mean"])
            self._squares[k].copy_(tensors[f"{k}.square"])
