"""Adam for a population: a matrix of weights, each row with its own rate, decay and clip.

Adam's step is the learning rate times a direction that does not depend on it. So one fused step
(public `torch.optim`, rate 1) over the whole matrix gives the directions of all members, and each
row is scaled by its own rate. That is two more passes over the weights than the fused step alone,
and no cost a member: on one CPU thread as fast as a parameter group a member, on a GPU one kernel
for hundreds. Where all members share their rate and decay (an ensemble of seeds), the fused step
moves the weights directly.

torch.optim's functions are called, not its classes: to construct one of those imports torch's
compiler, which takes two seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from nfopt.spec import TrainSpec
from nfopt.training.schedule import SCHEDULES

BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, as everywhere


def column(values: Sequence[float], like: Tensor) -> Tensor:
    """One value a row, shape (P, 1)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]


def clip_rows(gradient: Tensor, clips: Tensor) -> None:
    """Scale the rows of (P, N) down to norms of at most `clips` (P, 1), in place."""
    norms = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
    # on a CPU looking is cheaper than a pass over the gradients; on a GPU it would wait for the
    # device
    if gradient.is_cuda or bool((norms > clips).any()):
        gradient.mul_((clips / (norms + 1e-6)).clamp_(max=1.0))


class PopulationAdam:
    """Adam or AdamW on the rows of a matrix of weights.

    Args:
        theta: Weights, a leaf of shape (P, N); changed in place. Its `.grad` is read, clipped in
            place and cleared.
        specs: One for each row: optimiser, schedule, learning rate, weight decay, clip.
        shared: Whether all rows move at one rate in one fused step. None: found from `specs`. A
            selection of rows and a restored run keep what they had, so that their arithmetic stays
            the same bit for bit.
    """

    def __init__(
        self, theta: Tensor, specs: Sequence[TrainSpec], *, shared: bool | None = None
    ) -> None:
        self.theta = theta
        self.specs = tuple(specs)
        first = self.specs[0]
        if shared is None:
            shared = (
                len({(s.optimiser, s.schedule, s.learning_rate, s.weight_decay) for s in specs})
                == 1
            )
        self.shared = shared

        self._rates = column([s.learning_rate for s in specs], theta)
        self._clips = column([s.clip or math.inf for s in specs], theta)
        self._clipped = any(s.clip for s in specs)
        coupled = [s.weight_decay if s.optimiser == "adam" else 0.0 for s in specs]
        decoupled = [s.weight_decay if s.optimiser == "adamw" else 0.0 for s in specs]
        self._coupled = column(coupled, theta) if any(coupled) and not shared else None
        self._decoupled = column(decoupled, theta) if any(decoupled) and not shared else None
        # what the fused step moves: the weights themselves, or a matrix of directions
        moved = theta.detach() if shared else torch.zeros_like(theta).detach()
        self._moved = moved
        self._fused = adamw if shared and first.optimiser == "adamw" else adam
        self._decay = first.weight_decay if shared else 0.0
        self._state = {
            "step": torch.zeros((), device=theta.device),
            "exp_avg": torch.zeros_like(moved),
            "exp_avg_sq": torch.zeros_like(moved),
        }

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
        factors = [SCHEDULES[s.schedule](progress) for s in self.specs]
        if self.shared:
            self._move(gradient, self.specs[0].learning_rate * factors[0])
        else:
            if len(set(factors)) == 1:
                rates = self._rates * factors[0]
            else:
                rates = self._rates * self._rates.new_tensor(factors)[:, None]
            weights, direction = self.theta.detach(), self._moved
            if self._coupled is not None:
                gradient.addcmul_(weights, self._coupled)
            direction.zero_()
            self._move(gradient, 1.0)
            if self._decoupled is not None:
                weights.mul_(1.0 - rates * self._decoupled)
            weights.addcmul_(direction, rates)
        self.theta.grad = None

    def _move(self, gradient: Tensor, rate: float) -> None:
        """Take the fused step."""
        self._fused(
            [self._moved],
            [gradient],
            [self._state["exp_avg"]],
            [self._state["exp_avg_sq"]],
            [],
            [self._state["step"]],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=rate,
            weight_decay=self._decay,
            eps=EPSILON,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """Return the moments, shape (P, N), and the step count, as views of this object's."""
        return dict(self._state)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Copy what `state` returned into this object."""
        for name, value in self.state().items():
            value.copy_(state[name])

    def select(self, theta: Tensor, rows: Sequence[int]) -> PopulationAdam:
        """Go on with some of the rows.

        Args:
            theta: The weights of those rows, a leaf of shape (len(rows), N).
            rows: Which rows of this object they are.
        """
        chosen = PopulationAdam(theta, [self.specs[i] for i in rows], shared=self.shared)
        index = torch.tensor(list(rows), device=theta.device)
        chosen.load_state({k: v[index] if v.dim() else v for k, v in self.state().items()})
        return chosen
