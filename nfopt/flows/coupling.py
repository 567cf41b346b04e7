"""Coupling layers: features with the letter T are transformed, conditioned on those with a C.

After Dinh et al. (2016). The rows are permuted once a layer: kept features first, then a block of
as many rows as the member with most T's transforms. In members with fewer, the block ends with kept
features, which pass unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nfopt.flows import conditioner, maps
from nfopt.flows.layer import (
    Column,
    Dropout,
    Pads,
    Rows,
    Shape,
    StackLayer,
    Weights,
    feature_order,
    slots_of,
)
from nfopt.flows.registry import registers
from nfopt.spec import Coupling


@registers(Coupling)
class CouplingLayer(StackLayer):
    """A coupling layer for a population of masks."""

    def __init__(self, column: Column) -> None:
        """Lay out the masks; padded are the numbers of C's and of T's."""
        specs, order, device, dtype = column.specs, column.order, column.device, column.dtype
        self.spec: Coupling = specs[0]
        self.map = maps.of(self.spec.map)
        self.context = context = column.context
        members, features = order.shape
        letters = np.array([list(spec.mask) for spec in specs])
        self.fed, self.moved = (letters == "C").sum(1), (letters == "T").sum(1)
        most_fed, most_moved = column.pads
        names = feature_order(members, features)
        # a stable sort by letter keeps features ascending: first the C's, or first the T's
        conditions = np.argsort(letters != "C", axis=1, kind="stable")[:, :most_fed]
        block = np.argsort(letters != "T", axis=1, kind="stable")[:, :most_moved]
        in_block = np.zeros((members, features), dtype=np.bool_)
        np.put_along_axis(in_block, block, True, axis=1)
        kept = np.argsort(in_block, axis=1, kind="stable")[:, : features - most_moved]
        self.order = np.concatenate([kept, block], axis=1)
        self.kept = features - most_moved
        self.rows = Rows(slots_of(order, self.order), features, device)
        # usually the kept rows are those that condition, and one permutation serves both purposes
        self.plain = most_fed == self.kept and bool((kept == conditions).all())
        self.seen = None if self.plain else Rows(slots_of(self.order, conditions), features, device)
        self.back = Rows(slots_of(self.order, names), features, device)
        self.forth = Rows(self.order, features, device)
        width = self.spec.conditioner.width
        self.masks = conditioner.Masks()
        if (self.fed != most_fed).any():
            exists = np.arange(most_fed)[None, :] < self.fed[:, None]
            self.masks.input = torch.from_numpy(exists).to(device, dtype).unsqueeze(1)
        self.valid: Tensor | None = None
        if (self.moved != most_moved).any():
            moves = np.arange(most_moved)[None, :] < self.moved[:, None]
            self.valid = torch.from_numpy(moves).to(device).unsqueeze(-1)
        outputs = (self.spec.map.parameters(), most_moved)
        self.shapes = conditioner.shapes(self.spec.conditioner, most_fed, context, outputs)
        self.matrices = conditioner.matrices(self.shapes)
        self.width = width

    @classmethod
    def pads(cls, specs: Sequence[Coupling]) -> Pads:
        """The greatest numbers of C's and of T's in any member."""
        return max(s.mask.count("C") for s in specs), max(s.mask.count("T") for s in specs)

    def _parameters(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> Tensor:
        seen = state[:, : self.kept] if self.seen is None else self.seen(state)
        return conditioner.run(self.spec.conditioner, seen, weights, self.masks, context, dropout)

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Map the block of moved rows."""
        state = self.rows(state)
        parameters = self._parameters(state, weights, context, dropout)
        x = state[:, self.kept :]
        y, log_derivative = self.map.forward(x, parameters)
        if self.valid is not None:
            y = torch.where(self.valid, y, x)
            if log_derivative is not None:
                log_derivative = torch.where(self.valid, log_derivative, 0)
        state = torch.cat((state[:, : self.kept], y), 1)
        return state, 0.0 if log_derivative is None else log_derivative.sum(1)

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Undo `forward`: the conditioning rows are the same on both sides."""
        state = self.forth(state)
        parameters = self._parameters(state, weights, context, None)
        y = state[:, self.kept :]
        x = self.map.inverse(y, parameters)
        if self.valid is not None:
            x = torch.where(self.valid, x, y)
        return self.back(torch.cat((state[:, : self.kept], x), 1))

    def part(self, name: str, member: int) -> tuple[slice, ...]:
        """The part of a padded weight that is the member's own."""
        fed, moved = slice(int(self.fed[member])), slice(int(self.moved[member]))
        whole = slice(None)
        if name == "input":
            return whole, fed
        if name == "output":
            return whole, moved, whole
        if name == "output_bias":
            return whole, moved
        return super().part(name, member)

    def start(self, name: str, member: int, generator: torch.Generator) -> Tensor:
        """Draw weights by fan in."""
        shape: Shape = self.own_shape(name, member)
        first = name in ("input", "context", "bias")
        fan_in = int(self.fed[member]) + self.context if first else self.width
        return conditioner.start(name, shape, fan_in, generator)
