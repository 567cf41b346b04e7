"""The interface of a stack's layers, and the bookkeeping that they share.

A layer works on states (P, D, B): features first, rows last, so that every operation runs over
contiguous memory along the batch. Its weights are views of the stack's one tensor, shaped (P, ...).
Members of a stack may differ in masks and orders. These are data: index tensors and, where the
numbers of features differ, padding. A member's own weights are the leading part of each padded
tensor, so that they do not depend on the other members.

The slots of a state need not be in feature order: a layer that permutes only records it in `order`
and moves nothing; the next layer that indexes rows combines both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Order = NDArray[np.int64]
Weights = Mapping[str, Tensor]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Matrices:
    """The position of one weight's matrices in theta, and in any tensor of the same layout.

    Attributes:
        start: First column.
        size: Columns.
        shape: Of the padded weight: (out, in), or (out, T, in) for a matrix a feature.
        own: The sizes (out, in) of each member's own part, without padding.
    """

    start: int
    size: int
    shape: Shape
    own: tuple[tuple[int, int], ...]

    def view(self, whole: Tensor) -> Tensor:
        """View them in a tensor (P, N) as (P, T, out, in), T = 1 where there is one matrix."""
        part = whole[:, self.start : self.start + self.size].view(len(whole), *self.shape)
        return part.unsqueeze(1) if part.dim() == 3 else part.transpose(1, 2)


class Dropout:
    """Dropout with a rate a member and its own generator."""

    def __init__(self, rates: Tensor, generator: torch.Generator) -> None:
        """Take one rate a member, shape (P,)."""
        self.rates = rates.reshape(-1, 1, 1)
        self.generator = generator

    def __call__(self, hidden: Tensor) -> Tensor:
        """Set each member's share of hidden units (P, H, B) to zero and scale the rest up."""
        noise = torch.rand(
            hidden.shape, generator=self.generator, device=hidden.device, dtype=hidden.dtype
        )
        return hidden * (noise >= self.rates) / (1 - self.rates)


class Rows:
    """A choice of k rows of the state for each member: a permutation, or any subset."""

    def __init__(self, chosen: Order, features: int, device: torch.device) -> None:
        """Take the slots, shape (P, k)."""
        members, self.count = chosen.shape
        self.identity = self.count == features and bool((chosen == np.arange(features)).all())
        offset = np.arange(members)[:, None] * features
        self.flat = torch.from_numpy((chosen + offset).reshape(-1)).to(device)
        self.first = torch.from_numpy(chosen.reshape(-1).copy()).to(device)
        self.back: Tensor | None = None
        if self.count == features and (np.sort(chosen, axis=1) == np.arange(features)).all():
            self.back = torch.from_numpy((np.argsort(chosen, axis=1) + offset).reshape(-1)).to(
                device
            )
        self.members = members

    def __call__(self, state: Tensor) -> Tensor:
        """Look the rows up in (P, D, B), or in a shared (D, B); returns (P, k, B)."""
        batch = state.shape[-1]
        if state.dim() == 2:
            return state.index_select(0, self.first).view(self.members, self.count, batch)
        if self.identity:
            return state
        flat = state.flatten(0, 1)
        if self.back is None:
            rows = flat.index_select(0, self.flat)
        else:
            rows = _Permute.apply(flat, self.flat, self.back)  # type: ignore[no-untyped-call]
        return rows.view(self.members, self.count, batch)


class _Permute(torch.autograd.Function):
    """index_select whose gradient is another one: a permutation accumulates nothing."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, forth: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(forth, back)
        return flat.index_select(0, forth)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        forth, back = ctx.saved_tensors
        out: Tensor = _Permute.apply(grad, back, forth)  # type: ignore[no-untyped-call]
        return out, None, None


Pads = tuple[int, ...]
"""The padded sizes of a layer; what the numbers mean depends on its kind."""


@dataclass(frozen=True)
class Column:
    """The same layer of every member, and the inputs that it is built from.

    Attributes:
        specs: One a member, of one shape.
        order: The incoming slots' features, shape (P, D).
        context: Columns of context, or 0.
        pads: The layer's padded sizes.
        device: Of its tensors.
        dtype: Of its tensors.
    """

    specs: Sequence[Any]
    order: Order
    context: int
    pads: Pads
    device: torch.device
    dtype: torch.dtype


class StackLayer(ABC):
    """One layer of a stack, made from a `Column`.

    Attributes:
        shapes: Name to padded shape of each weight, without the population axis.
        matrices: Names of the weights that are matrices (out, in) of a conditioner, or one matrix
            a feature (out, T, in).
        order: Slot k of the outgoing state holds feature `order[p, k]` of member p, shape (P, D).
    """

    shapes: dict[str, Shape]
    matrices: tuple[str, ...] = ()
    order: Order

    @abstractmethod
    def __init__(self, column: Column) -> None:
        """Lay the layer out for all members at once."""

    @classmethod
    def pads(cls, specs: Sequence[Any]) -> Pads:
        """The padded sizes of a layer of these members."""
        return ()

    @abstractmethod
    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Map the state (P, D, B) towards the base; return it and the log-determinant (P, B)."""

    @abstractmethod
    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Undo `forward`, on states in feature order on both sides."""

    def part(self, name: str, member: int) -> tuple[slice, ...]:
        """The part of a padded weight that is the member's own."""
        return tuple(slice(None) for _ in self.shapes[name])

    def start(self, name: str, member: int, generator: torch.Generator) -> Tensor:
        """Draw the member's own part of a weight before training."""
        return torch.zeros(self.own_shape(name, member))

    def active(self, name: str, member: int) -> Tensor | None:
        """Which of the member's own weights can receive a gradient; None for all of them."""
        return None

    def own_shape(self, name: str, member: int) -> Shape:
        """The shape of the member's own part."""
        return tuple(
            len(range(*part.indices(size)))
            for part, size in zip(self.part(name, member), self.shapes[name], strict=True)
        )


def feature_order(members: int, features: int) -> Order:
    """The features in their own order for every member, shape (P, D)."""
    return np.tile(np.arange(features), (members, 1))


def slots_of(order: Order, wanted: Sequence[Order] | Order) -> Order:
    """The slots of `order` (P, D) that hold the wanted features (P, k), shape (P, k)."""
    return np.take_along_axis(np.argsort(order, axis=1), np.asarray(wanted), axis=1)
