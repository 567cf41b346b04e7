"""The rows that a population is trained on, and the minibatches drawn from them on their device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nfopt.data import Prepared


@dataclass(frozen=True)
class TrainData:
    """Training and validation rows, all on one device, under K choices of marginal maps.

    With K = 1 the rows may come without the leading axis, and all members see them.

    Attributes:
        x: Training rows, shape (K, N, D) or (N, D).
        val: Validation rows, shape (K, M, D) or (M, D).
        context: Context of the training rows, shape (K, N, C) or (N, C), or None.
        val_context: Context of the validation rows, shape (K, M, C) or (M, C), or None.
        weights: Non-negative weights of the training rows, shape (N,), or None.
        val_weights: Weights of the validation rows, shape (M,), or None.
        val_logdet: Log-determinant of the preprocessing at the validation rows, shape (K, M) or
            (M,), or None. With it every NLL that training reports is on the data's own scale;
            without it, on the scale of `val`.
        maps: Which of the K each member of a stack sees, shape (P,); None without a leading axis.

    Raises:
        ValueError: If shapes do not fit together, a part has no rows, or a context or weights part
            is missing.
    """

    x: Tensor
    val: Tensor
    context: Tensor | None = None
    val_context: Tensor | None = None
    weights: Tensor | None = None
    val_weights: Tensor | None = None
    val_logdet: Tensor | None = None
    maps: Tensor | None = None

    def __post_init__(self) -> None:
        for name, table in (("x", self.x), ("val", self.val)):
            if table.dim() != (2 if self.maps is None else 3) or table.shape[-2] == 0:
                raise ValueError(
                    f"`{name}` must have rows and columns, got shape {tuple(table.shape)}."
                )
        if self.x.shape[-1] != self.val.shape[-1]:
            raise ValueError(
                f"`val` must have {self.x.shape[-1]} columns as `x`, got {self.val.shape[-1]}."
            )
        pairs = (
            ("context", self.context, self.val_context),
            ("weights", self.weights, self.val_weights),
        )
        for name, of_train, of_val in pairs:
            if (of_train is None) != (of_val is None):
                raise ValueError(f"`{name}` and `val_{name}` must be given together.")
        for name, part, axis, rows in (
            ("context", self.context, -2, self.rows),
            ("weights", self.weights, -1, self.rows),
            ("val_context", self.val_context, -2, self.val_rows),
            ("val_weights", self.val_weights, -1, self.val_rows),
            ("val_logdet", self.val_logdet, -1, self.val_rows),
        ):
            if part is not None and part.shape[axis] != rows:
                raise ValueError(f"`{name}` must have {rows} rows, got {part.shape[axis]}.")
        for name, weights in (("weights", self.weights), ("val_weights", self.val_weights)):
            if weights is not None and not float(weights.sum()) > 0:
                raise ValueError(f"`{name}` must have a positive sum, got {float(weights.sum())}.")

    @classmethod
    def of(cls, prepared: Prepared, device: torch.device | str = "cpu") -> TrainData:
        """Take the training and validation parts of a prepared table, log-determinants included."""
        train, val, _ = prepared.parts

        def tensor(part: Any) -> Tensor | None:
            return None if part is None else torch.from_numpy(part).to(device)

        return cls(
            x=torch.from_numpy(train.z).to(device),
            val=torch.from_numpy(val.z).to(device),
            context=tensor(train.context),
            val_context=tensor(val.context),
            weights=tensor(train.weights),
            val_weights=tensor(val.weights),
            val_logdet=tensor(val.logdet),
        )

    @classmethod
    def mixed(cls, tables: Sequence[TrainData], which: Sequence[int]) -> TrainData:
        """Put one table under several marginal maps together, for the members of a stack.

        Args:
            tables: The table under each map, without leading axes.
            which: Of `tables`, one a member.
        """
        used = sorted(set(which))
        if len(used) == 1:
            return tables[used[0]]

        def stacked(name: str) -> Any:
            parts = [getattr(tables[number], name) for number in used]
            return None if parts[0] is None else torch.stack(parts)

        names = ("x", "val", "context", "val_context", "val_logdet")
        maps = torch.tensor([used.index(one) for one in which], device=tables[0].x.device)
        return replace(tables[0], **{name: stacked(name) for name in names}, maps=maps)

    @property
    def rows(self) -> int:
        """N."""
        return int(self.x.shape[-2])

    @property
    def val_rows(self) -> int:
        """M."""
        return int(self.val.shape[-2])

    @property
    def features(self) -> int:
        """D."""
        return int(self.x.shape[-1])

    def of_members(self, members: Sequence[int]) -> TrainData:
        """Take what some members of the stack see."""
        if self.maps is None:
            return self
        return replace(self, maps=self.maps[list(members)])

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Take training rows by number, shape (B,): rows, context and weights as a stack wants."""
        x, context = self._seen(self.x, index), self._seen(self.context, index)
        assert x is not None
        return x, context, None if self.weights is None else self.weights[index]

    def validation(
        self, index: Tensor | slice = slice(None)
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Take validation rows: rows, context, weights, log-determinants, as a stack wants them."""
        x, context = self._seen(self.val, index), self._seen(self.val_context, index)
        assert x is not None
        logdet = self.val_logdet
        if logdet is not None:
            logdet = logdet[index] if self.maps is None else logdet[:, index][self.maps]
        return x, context, None if self.val_weights is None else self.val_weights[index], logdet

    def _seen(self, part: Tensor | None, index: Tensor | slice) -> Tensor | None:
        if part is None:
            return None
        return part[index] if self.maps is None else part[:, index][self.maps]

    def to(self, device: torch.device | str) -> TrainData:
        """Copy all parts to a device."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


class Batches:
    """Minibatches of row numbers: a fresh permutation an epoch, drawn on the device of the data.

    A batch is never larger than the data, and all batches have the same size: the rows that are
    left over at the end of an epoch wait for the next permutation.

    Args:
        rows: Rows of the data.
        size: Rows a batch.
        seed: Seed of the permutations.
        device: Where the row numbers are needed.
    """

    def __init__(self, rows: int, size: int, seed: int, device: torch.device) -> None:
        self.rows = rows
        self.size = min(size, rows)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._shuffle(0)

    def _shuffle(self, position: int) -> None:
        # the state before the draw, so that a restored run draws this very permutation again
        self._epoch = self._generator.get_state()
        device = self._generator.device
        self._order = torch.randperm(self.rows, generator=self._generator, device=device)
        self.position = position

    def take(self) -> Tensor:
        """Return the row numbers of the next batch, shape (size,)."""
        if self.position + self.size > self.rows:
            self._shuffle(0)
        batch = self._order[self.position : self.position + self.size]
        self.position += self.size
        return batch

    def put_back(self) -> None:
        """Return the last batch: the next `take` gives it again."""
        self.position -= self.size

    def state(self) -> Tensor:
        """Return the generator's state at the start of this epoch."""
        return self._epoch

    def load_state(self, state: Tensor, position: int) -> None:
        """Go on where another object was: draw its permutation again and skip what it had taken."""
        self._generator.set_state(state)
        self._shuffle(position)

    def copy(self) -> Batches:
        """Return a second stream that goes on with the same batches."""
        other = Batches(self.rows, self.size, 0, self._generator.device)
        other.load_state(self._epoch, self.position)
        return other
