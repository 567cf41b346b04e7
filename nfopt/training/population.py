"""Members in training at one time: their stack, optimiser and batches, and one step of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nfopt.spec import TrainSpec
from nfopt.training.average import Average
from nfopt.training.batches import Batches, TrainData
from nfopt.training.muon import PopulationMuon
from nfopt.training.optimiser import PopulationAdam
from nfopt.training.schedule import Plan

if TYPE_CHECKING:
    from nfopt.flows import Stack

Optimiser = PopulationAdam | PopulationMuon


class Population:
    """What changes from step to step; everything else belongs to the run.

    Attributes:
        members: Which members of the run the rows of the stack are.
        step: Steps done.
        plan: When it ends.
        next_rung: The first rung that is still to come.
        check_rows: Validation rows of a check; None until planned.
        checked: Seconds of the run at which the last check ended.
        check_seconds: What the last check took.
    """

    def __init__(
        self,
        stack: Stack,
        members: Sequence[int],
        optimiser: Optimiser,
        average: Average | None,
        batches: Batches,
        dropout: torch.Generator,
        plan: Plan,
    ) -> None:
        self.stack = stack
        self.members = list(members)
        self.optimiser = optimiser
        self.average = average
        self.batches = batches
        self.dropout = dropout
        self.plan = plan
        self.step = 0
        self.next_rung = 0
        self.check_rows: int | None = None
        self.checked = plan.start
        self.check_seconds = 0.0
        self._rates = _dropout(optimiser)
        self._queued: torch.cuda.Event | None = None  # the end of the last step

    @classmethod
    def start(
        cls,
        stack: Stack,
        members: Sequence[int],
        specs: Sequence[TrainSpec],
        rows: int,
        seeds: tuple[int, int],
        plan: Plan,
        *,
        shared: bool | None = None,
    ) -> Population:
        """Begin with fresh moments.

        Args:
            stack: A row a member of `members`.
            members: Numbers in the run.
            specs: One for each of them.
            rows: Training rows.
            seeds: Of the batches and of dropout.
            plan: When it ends.
            shared: As in `PopulationAdam`.
        """
        device = stack.theta.device
        return cls(
            stack,
            members,
            _optimiser(stack, specs, shared),
            Average.start(stack.theta, specs),
            Batches(rows, specs[0].batch_size, seeds[0], device),
            torch.Generator(device).manual_seed(seeds[1]),
            plan,
        )

    def advance(self, progress: float, data: TrainData) -> None:
        """Take one optimiser step with every member on one batch.

        If the device runs out of memory, nothing has changed but the stream of dropout.

        Args:
            progress: Share of the run that is over, for the schedules.
            data: The rows.
        """
        index = self.batches.take()
        try:
            self._backward(index, data.of_members(self.members))
        except torch.OutOfMemoryError:
            self.batches.put_back()
            self.stack.theta.grad = None
            raise
        self.optimiser.step(progress)
        self.step += 1
        if self.average is not None:
            self.average.take_in(self.stack.theta, self.step)
        if self.stack.theta.is_cuda:
            self._pace()

    def _pace(self) -> None:
        """Wait for the step before the last one.

        A GPU's queue takes a thousand kernels. One step of them keeps it busy, and what a clock
        sees of a step is then the time that it takes, not that of queueing it.
        """
        before, self._queued = self._queued, torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._queued.record(torch.cuda.current_stream(self.stack.theta.device))
        if before is not None:
            before.synchronize()

    def wait(self) -> None:
        """Wait until the device has done all steps."""
        if self.stack.theta.is_cuda:
            torch.cuda.synchronize(self.stack.theta.device)

    def _backward(self, index: Tensor, data: TrainData) -> None:
        x, context, weights = data.batch(index)
        scores = self.stack.log_prob(
            x,
            context,
            dropout=self._rates,
            generator=None if self._rates is None else self.dropout,
        )
        if weights is not None:
            scores = scores * weights
        # members share nothing, so the gradient of the sum is each member's own, NaN members
        # included
        scores.mean(dim=1).sum().neg().backward()  # type: ignore[no-untyped-call]

    def scored(self) -> Stack:
        """Give the flows that are validated and kept: with the averaged weights, if any are."""
        return self.stack if self.average is None else self.stack.with_theta(self.average.weights)

    def sound(self) -> list[bool]:
        """Say for each member whether all its weights are finite (waits for the device)."""
        flags: list[bool] = self.stack.theta.detach().isfinite().all(dim=1).tolist()
        return flags

    def keep(self, rows: Sequence[int]) -> None:
        """Compact to some of the rows; the others are out of the program."""
        self.members = [self.members[i] for i in rows]
        self.stack = self.stack.select(rows)
        self.optimiser = self.optimiser.select(self.stack.theta, rows)
        self.average = None if self.average is None else self.average.select(rows)
        self._rates = _dropout(self.optimiser)

    def halve(self, elapsed: float) -> tuple[Population, Population]:
        """Split into two that are to be trained one after the other, on the same batches.

        Args:
            elapsed: Seconds of the run, for the time plans.
        """
        middle = len(self.members) // 2
        rows = list(range(len(self.members)))
        plans = self.plan.halve(self.step, elapsed, (middle, len(rows) - middle))
        first, second = (
            self._part(part, plan)
            for part, plan in zip((rows[:middle], rows[middle:]), plans, strict=True)
        )
        return first, second

    def _part(self, rows: Sequence[int], plan: Plan) -> Population:
        stack = self.stack.select(rows)
        device = stack.theta.device
        part = Population(
            stack,
            [self.members[i] for i in rows],
            self.optimiser.select(stack.theta, rows),
            None if self.average is None else self.average.select(rows),
            self.batches.copy(),
            torch.Generator(device).set_state(self.dropout.get_state()),
            plan,
        )
        part.step, part.next_rung, part.check_rows = self.step, self.next_rung, self.check_rows
        part.check_seconds = self.check_seconds
        return part


def _optimiser(stack: Stack, specs: Sequence[TrainSpec], shared: bool | None) -> Optimiser:
    if specs[0].optimiser == "muon":
        return PopulationMuon(stack.theta, specs, stack.matrices(), stack.active, shared=shared)
    return PopulationAdam(stack.theta, specs, shared=shared)


def _dropout(optimiser: Optimiser) -> Tensor | None:
    rates = [spec.dropout for spec in optimiser.specs]
    return optimiser.theta.detach().new_tensor(rates) if any(rates) else None
