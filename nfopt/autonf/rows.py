"""The rows that weights and logits learn from: two parts of the training rows, in minibatches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nfopt.training import TrainData
from nfopt.training.batches import Batches


@dataclass(frozen=True)
class Minibatch:
    """Some rows.

    Attributes:
        x: Shape (B, D).
        context: Shape (B, C), or None.
        weights: Shape (B,), or None.
    """

    x: Tensor
    context: Tensor | None
    weights: Tensor | None


class Rows:
    """An endless stream of minibatches from a part of the training rows.

    Args:
        data: Whose training rows; its validation rows are not looked at.
        index: Which of them.
        size: Rows a batch.
        seed: Of their order.
    """

    def __init__(self, data: TrainData, index: Tensor, size: int, seed: int) -> None:
        self._data, self.index = data, index.to(data.x.device)
        self._batches = Batches(len(index), size, seed, data.x.device)

    @property
    def position(self) -> int:
        """Rows that this epoch has had."""
        return self._batches.position

    def state(self) -> Tensor:
        """Return the generator's state at the start of this epoch."""
        return self._batches.state()

    def load(self, state: Tensor, position: int) -> None:
        """Go on where another stream of the same rows was."""
        self._batches.load_state(state, position)

    def take(self) -> Minibatch:
        """Return the next batch."""
        return self._of(self.index[self._batches.take()])

    def first(self, count: int) -> Minibatch:
        """Return so many rows of the part, or all of it: the same ones each time."""
        return self._of(self.index[:count])

    def _of(self, rows: Tensor) -> Minibatch:
        data = self._data
        return Minibatch(
            x=data.x[rows],
            context=None if data.context is None else data.context[rows],
            weights=None if data.weights is None else data.weights[rows],
        )


def carve(
    data: TrainData, holdout: float, size: int, generator: torch.Generator
) -> tuple[Rows, Rows]:
    """Split the training rows at random into rows for the weights and rows for the logits.

    Args:
        data: Its validation rows stay out of it.
        holdout: Share of the logits' rows, or 0: both get all rows.
        size: Rows a batch.
        generator: On the CPU.

    Raises:
        ValueError: If there are too few rows for two parts.
    """
    count = len(data.x)
    order = torch.randperm(count, generator=generator)
    seeds = torch.randint(1 << 62, (2,), generator=generator).tolist()
    held = round(holdout * count)
    if holdout > 0 and not 0 < held < count:
        raise ValueError(
            f"`holdout` {holdout:g} of {count} training rows leaves a part without rows."
        )
    parts = (order[held:], order[:held]) if held else (order, order)
    first, second = (Rows(data, part, size, seed) for part, seed in zip(parts, seeds, strict=True))
    return first, second
