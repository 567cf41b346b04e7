"""Linear layers (permutations, LU), and elementwise maps of each feature alone.

Permutations move no data: they rename the slots of the state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nfopt.flows import maps
from nfopt.flows.layer import Column, Dropout, Rows, StackLayer, Weights, feature_order, slots_of
from nfopt.flows.registry import registers
from nfopt.spec import LU, Elementwise, Identity, Permutation, Reverse


@registers(Permutation, Reverse)
class PermutationLayer(StackLayer):
    """Permutations and reversals: output k is input `order[k]`."""

    def __init__(self, column: Column) -> None:
        """Rename the slots."""
        specs, order = column.specs, column.order
        features = order.shape[1]
        self.shapes = {}
        wanted = np.array(
            [s.order if isinstance(s, Permutation) else range(features)[::-1] for s in specs]
        )
        renamed = np.argsort(wanted, axis=1)
        self.order = np.take_along_axis(renamed, order, axis=1)
        self.back = Rows(renamed, features, column.device)

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Leave the rows where they are."""
        return state, 0.0

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Put the features back."""
        return self.back(state)


@registers(LU)
class LULayer(StackLayer):
    """x -> L U x + bias (after Oliva et al. 2018), off-diagonals and log-diagonal bounded smoothly.

    `matrix` (D, D) holds L below the diagonal, U above it and log U on it. An off-diagonal stays
    below 2 / sqrt(D) (at most 1): without a bound, the inverse of a unit triangle grows like 2**D
    and overflows.
    """

    def __init__(self, column: Column) -> None:
        """Record the incoming order, by which the matrix's columns are permuted."""
        order, device = column.order, column.device
        members, features = order.shape
        self.shapes = {"matrix": (features, features), "bias": (features,)}
        self.order = feature_order(members, features)
        self.bound = min(1.0, 2 / features**0.5)
        self.moved = bool((order != self.order).any())
        self.columns = torch.from_numpy(order).to(device).unsqueeze(1)
        self.eye = torch.eye(features, device=device, dtype=column.dtype)

    def triangles(self, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
        """Return L, U and the logarithm of U's diagonal: (P, D, D), (P, D, D), (P, D)."""
        matrix = weights["matrix"]
        off = maps.soft_clip(matrix, self.bound)
        log_diagonal = maps.soft_clip(matrix.diagonal(dim1=1, dim2=2), maps.LOG_LIMIT)
        lower = off.tril(-1) + self.eye
        upper = (off.triu(1) + self.eye) * log_diagonal.exp().unsqueeze(-1)
        return lower, upper, log_diagonal

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Multiply; an incoming permutation is applied to the matrix's columns, not to the rows."""
        lower, upper, log_diagonal = self.triangles(weights)
        matrix = lower @ upper
        if self.moved:
            matrix = matrix.gather(2, self.columns.expand_as(matrix))
        bias = weights["bias"].unsqueeze(-1)
        if state.dim() == 2:
            state = torch.matmul(matrix, state) + bias
        else:
            state = torch.baddbmm(bias, matrix, state)
        return state, log_diagonal.sum(1, keepdim=True)

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Solve the two triangles."""
        lower, upper, _ = self.triangles(weights)
        state = state - weights["bias"].unsqueeze(-1)
        state = torch.linalg.solve_triangular(lower, state, upper=False, unitriangular=True)
        solved: Tensor = torch.linalg.solve_triangular(upper, state, upper=True)
        return solved


@registers(Elementwise)
class ElementwiseLayer(StackLayer):
    """A scalar map a feature, with parameters of its own (K, D)."""

    def __init__(self, column: Column) -> None:
        """Lay out one row of parameters a feature."""
        spec: Elementwise = column.specs[0]
        self.map = maps.of(spec.map)
        members, features = column.order.shape
        self.shapes = {"parameters": (spec.map.parameters(), features)}
        self.order = feature_order(members, features)
        self.rows = Rows(slots_of(column.order, self.order), features, column.device)

    def _parameters(self, weights: Weights, batch: int) -> Tensor:
        return weights["parameters"].unsqueeze(-1).expand(-1, -1, -1, batch)

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Map each feature."""
        state = self.rows(state)
        parameters = self._parameters(weights, state.shape[-1])
        state, log_derivative = self.map.forward(state, parameters)
        return state, 0.0 if log_derivative is None else log_derivative.sum(1)

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Undo each map."""
        return self.map.inverse(state, self._parameters(weights, state.shape[-1]))


@registers(Identity)
class IdentityLayer(StackLayer):
    """The identity: a layer that only counts in the depth."""

    def __init__(self, column: Column) -> None:
        """Leave the slots as they are."""
        self.shapes = {}
        self.order = column.order

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Do nothing."""
        return state, 0.0

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Do nothing."""
        return state
