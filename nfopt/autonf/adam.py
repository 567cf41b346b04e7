"""PyTorch's Adam, with its moments as plain tensors: what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """Follows the gradients of its leaves; a leaf without one stays as it is, its moments too.

    Args:
        leaves: What moves; there may be none.
        rate: Learning rate.
        betas: Of the two moments.
    """

    def __init__(
        self, leaves: Sequence[Tensor], rate: float, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        super().__init__([{"params": list(leaves)}], lr=rate, betas=betas, fused=True)
        for leaf in self.param_groups[0][
            "params"
        ]:  # from the beginning, so that it can be kept before a step
            self.state[leaf] = {
                "step": torch.zeros((), device=leaf.device),
                "exp_avg": torch.zeros_like(leaf, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(leaf, requires_grad=False),
            }

    @property
    def rate(self) -> float:
        """Learning rate; may be changed between steps."""
        return float(self.param_groups[0]["lr"])

    @rate.setter
    def rate(self, rate: float) -> None:
        self.param_groups[0]["lr"] = rate

    def tensors(self) -> dict[str, Tensor]:
        """Return its moments and step counts, as views."""
        return {
            f"{k}.{name}": value
            for k, leaf in enumerate(self.param_groups[0]["params"])
            for name, value in self.state[leaf].items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on where another one of the same leaves was."""
        for name, value in self.tensors().items():
            value.copy_(tensors[name])
