"""Muon for a population: the conditioners' weight matrices move along orthogonalised momentum.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by nearly the closest orthogonal matrix,
found by Newton-Schulz iterations; times 0.2 sqrt(max(m, n)) its entries are as large as those of an
AdamW step (Liu et al. 2025). All matrices of one shape, of every layer and member, are one batched
product. Output weights are one matrix for each feature that they map. Everything else (biases,
linear layers) is moved by AdamW.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import torch
from torch import Tensor

from nfopt.flows import Matrices
from nfopt.spec import TrainSpec
from nfopt.training.optimiser import PopulationAdam, clip_rows, column
from nfopt.training.schedule import SCHEDULES

MOMENTUM = 0.95  # Nesterov's
ITERATIONS = 3  # five cost more and bring nothing here
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
SCALE = 0.2  # root mean square of an update's entries, about that of AdamW's
SMALLEST_NORM = 1e-7  # momentum below it is noise: the update shrinks with it
ADAM_RATE = 2e-3  # of all that is no matrix


class NewtonSchulz:
    """Nearly orthogonal matrices from a batch of any, in buffers that are kept from call to call.

    An iteration is X <- (a + b A + c A A) X with A = X X'. As c (A + b / (2c))^2 + a - b^2 / (4c)
    the polynomial is one product and two diagonals, without a pass over whole matrices. Where one
    side is much the shorter one, the iterations run on the products A alone, and X is multiplied
    once, at the end.
    """

    def __init__(self, count: int, rows: int, columns: int, like: Tensor) -> None:
        """Take the number of matrices and their shape; `like` says device and precision."""
        short, long = min(rows, columns), max(rows, columns)
        self._turned = rows > columns  # iterate in the smaller dimension
        self._lean = 2 * long > 3 * short  # where this takes fewer multiplications
        squares, wide = (4, 1) if self._lean else (2, 2)
        self._squares = [like.new_empty((count, short, short)) for _ in range(squares)]
        self._long = [like.new_empty((count, short, long)) for _ in range(wide)]

    def __call__(self, x: Tensor) -> Tensor:
        """Iterate from x, shape (count, rows, columns), whose norms are at most 1."""
        short = x.mT if self._turned else x
        result = self._on_products(short) if self._lean else self._plain(short)
        return result.mT if self._turned else result

    @staticmethod
    def _polynomial(product: Tensor, out: Tensor) -> Tensor:
        """Compute a + b A + c A A from A, which is changed."""
        a, b, c = COEFFICIENTS
        product.diagonal(dim1=1, dim2=2).add_(b / (2 * c))
        out.baddbmm_(product, product, beta=0, alpha=c)
        out.diagonal(dim1=1, dim2=2).add_(a - b * b / (4 * c))
        return out

    def _plain(self, x: Tensor) -> Tensor:
        product, polynomial = self._squares
        for number in range(ITERATIONS):
            torch.bmm(x, x.mT, out=product)
            self._polynomial(product, polynomial)
            x = torch.bmm(polynomial, x, out=self._long[number % 2])
        return x

    def _on_products(self, x: Tensor) -> Tensor:
        product, polynomial, all_of_them, spare = self._squares
        torch.bmm(x, x.mT, out=product)
        for left in reversed(range(ITERATIONS)):
            if left:
                spare.copy_(product)
            self._polynomial(product, polynomial)
            if left == ITERATIONS - 1:
                all_of_them.copy_(polynomial)
            else:
                torch.bmm(polynomial, all_of_them, out=product)
                product, all_of_them = all_of_them, product
            if left:  # the next A is p A p
                torch.bmm(polynomial, spare, out=product)
                torch.bmm(product, polynomial, out=spare)
                product, spare = spare, product
        return torch.bmm(all_of_them, x, out=self._long[0])


class _Group:
    """All matrices of one padded shape: (P, S, m, n), S over weights and their features."""

    def __init__(self, weights: Sequence[Matrices], theta: Tensor, active: Tensor) -> None:
        self.weights = list(weights)
        views = [weight.view(theta.detach()) for weight in weights]
        ends = torch.tensor([view.shape[1] for view in views]).cumsum(0).tolist()
        self.slots = [slice(e - view.shape[1], e) for e, view in zip(ends, views, strict=True)]
        shape = (len(theta), ends[-1], *views[0].shape[2:])
        self.momentum = theta.new_zeros(shape)
        self._update = theta.new_empty(shape)
        self._iterate = NewtonSchulz(shape[0] * shape[1], shape[2], shape[3], theta)
        scales = [
            torch.tensor([SCALE * max(own) ** 0.5 for own in weight.own])[:, None].expand(
                -1, view.shape[1]
            )
            for weight, view in zip(weights, views, strict=True)
        ]
        self.scales = torch.cat(scales, 1).to(theta)[..., None, None]  # (P, S, 1, 1)
        exists = torch.cat([weight.view(active) for weight in weights], 1)
        # rows and columns of zeros stay zero in the iterations, other zeros do not
        whole = exists.any(3, keepdim=True) & exists.any(2, keepdim=True)
        self._mask = None if torch.equal(whole, exists) else exists.to(theta)

    def direction(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Take in a gradient (P, N).

        Returns:
            The direction (P, S, m, n) to go against, and the norm of what it was made from (P, S,
            1, 1): where that is zero, so is the direction.
        """
        for weight, slot in zip(self.weights, self.slots, strict=True):
            seen, momentum = weight.view(gradient), self.momentum[:, slot]
            momentum.lerp_(seen, 1 - MOMENTUM)
            torch.lerp(seen, momentum, MOMENTUM, out=self._update[:, slot])
        norms = torch.linalg.vector_norm(self._update, dim=(2, 3), keepdim=True)
        self._update.mul_(1 / norms.clamp(min=SMALLEST_NORM))
        direction = self._iterate(self._update.flatten(0, 1)).view(self.momentum.shape)
        if self._mask is not None:
            direction.mul_(self._mask)
        return direction, norms


class PopulationMuon:
    """Muon on the matrices of (P, N), AdamW at 2e-3 on the other weights.

    Args:
        theta: Weights, a leaf of shape (P, N); changed in place. Its `.grad` is read, clipped in
            place and cleared.
        specs: One for each row: schedule, learning rate, weight decay (both of the matrices), clip.
        matrices: Where they lie in theta.
        active: Which weights exist, shape (P, N): the others do not move.
        shared: As in `PopulationAdam`.
    """

    def __init__(
        self,
        theta: Tensor,
        specs: Sequence[TrainSpec],
        matrices: Sequence[Matrices],
        active: Tensor,
        *,
        shared: bool | None = None,
    ) -> None:
        self.theta = theta
        self.specs = tuple(specs)
        self._matrices, self._active = tuple(matrices), active
        self._rates = column([s.learning_rate for s in specs], theta)
        self._clips = column([s.clip or math.inf for s in specs], theta)
        self._clipped = any(s.clip for s in specs)
        decays = [s.weight_decay for s in specs]
        self._decays = column(decays, theta) if any(decays) else None
        shapes: dict[tuple[int, ...], list[Matrices]] = {}
        other = torch.ones(theta.shape[1], dtype=torch.bool)
        for weight in matrices:
            other[weight.start : weight.start + weight.size] = False
            shapes.setdefault((weight.shape[0], weight.shape[-1]), []).append(weight)
        self._groups = [_Group(group, theta, active) for group in shapes.values()]
        self._other = other.nonzero().squeeze(1).to(theta.device)
        self._rest = theta.detach().index_select(1, self._other).requires_grad_()
        rest = [
            msgspec.structs.replace(
                spec, optimiser="adamw", learning_rate=ADAM_RATE, weight_decay=0.0, clip=0.0
            )
            for spec in specs
        ]
        self._adam = PopulationAdam(self._rest, rest, shared=shared)
        self.shared = self._adam.shared

    @torch.no_grad()
    def step(self, progress: float) -> None:
        """Clip the gradients, move the weights, clear the gradients.

        Args:
            progress: Share of the run that is over, 0 to 1, for the schedules.
        """
        gradient = self.theta.grad
        if gradient is None:
            raise ValueError("`theta` has no gradient: call backward() before step().")
        if self._clipped:
            clip_rows(gradient, self._clips)
        theta = self.theta.detach()
        factors = [SCHEDULES[s.schedule](progress) for s in self.specs]
        if len(set(factors)) == 1:
            rates = self._rates * factors[0]
        else:
            rates = self._rates * self._rates.new_tensor(factors)[:, None]
        rates = rates[..., None, None]
        for group in self._groups:
            direction, norms = group.direction(gradient)
            steps = rates * group.scales
            for weight, slot in zip(group.weights, group.slots, strict=True):
                view = weight.view(theta)
                if self._decays is not None:
                    kept = 1 - rates * self._decays[..., None, None] * (norms[:, slot] > 0)
                    view.mul_(kept)
                view.addcmul_(direction[:, slot], steps[:, slot], value=-1)
        torch.index_select(theta, 1, self._other, out=self._rest.detach())
        self._rest.grad = gradient.index_select(1, self._other)
        self._adam.step(progress)
        theta.index_copy_(1, self._other, self._rest.detach())
        self.theta.grad = None

    def state(self) -> dict[str, Tensor]:
        """Return the moments and the step count, as views of this object's."""
        momenta = {f"momentum_{k}": group.momentum for k, group in enumerate(self._groups)}
        return momenta | self._adam.state()

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copy what `state` returned into this object."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def select(self, theta: Tensor, rows: Sequence[int]) -> PopulationMuon:
        """Go on with some of the rows.

        Args:
            theta: The weights of those rows, a leaf of shape (len(rows), N).
            rows: Which rows of this object they are.
        """
        index = torch.tensor(list(rows), device=theta.device)
        matrices = [
            replace(weight, own=tuple(weight.own[i] for i in rows)) for weight in self._matrices
        ]
        specs = [self.specs[i] for i in rows]
        active = self._active[list(rows)]
        chosen = PopulationMuon(theta, specs, matrices, active, shared=self.shared)
        chosen.load_state({k: v[index] if v.dim() else v for k, v in self.state().items()})
        return chosen
