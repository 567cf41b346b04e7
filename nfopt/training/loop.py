"""Train a population of flows in one loop.

    while progress < 1:
        step all members on one batch          (one backward, one optimiser step)
        now and then, validate:
            keep each member's best weights
            at rungs, ask which members to prune
            drop those that are pruned, NaN or out of patience, and compact the stack

Members share the batches and nothing else. What a run has to remember is in `Population` (from step
to step) and `Record` (a member's story); both go into the checkpoint, and a restored run goes on
bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nfopt.spec import TrainSpec
from nfopt.training.batches import TrainData
from nfopt.training.population import Population
from nfopt.training.results import MemberResult, Progress, Rung
from nfopt.training.run import Run
from nfopt.training.schedule import Plan

if TYPE_CHECKING:
    from nfopt.flows import Stack

SOUND_EVERY = 64  # steps between two looks for NaN weights (a look waits for a GPU)

OnRung = Callable[[Rung], Iterable[int]]
OnProgress = Callable[[Progress], None]


def train(
    stack: Stack,
    specs: TrainSpec | Sequence[TrainSpec],
    data: TrainData,
    *,
    generator: torch.Generator,
    steps: int | None = None,
    seconds: float | None = None,
    left: float | None = None,
    least: int = 0,
    rungs: Sequence[float] = (0.25, 0.5, 1.0),
    on_rung: OnRung | None = None,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_seconds: float = 30.0,
    on_checkpoint: Callable[[Exception | None], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[MemberResult]:
    """Fit all members of a stack; afterwards the stack holds the best weights of each.

    With `steps` alone (or neither limit) a run is a function of its arguments, whatever the
    machine's speed.

    Args:
        stack: P flows; changed in place.
        specs: One for all members, or one a member; batch size and steps must agree.
        data: Rows on the stack's device.
        generator: Seeds batches and dropout; any device. Weights are the stack's.
        steps: Optimiser steps; None: those of `specs`, or as many as fit if `seconds` is given.
        seconds: Budget by `clock`, validation included. With `steps` too, whichever ends first. The
            schedule reaches its end on time.
        left: Seconds from now at most, where a run that goes on has less time than it was begun
            with: its schedule then ends earlier.
        least: Steps that are taken at least, of those asked for, though the time may be over.
        rungs: Shares of the run at which all members are validated and `on_rung` is called.
        on_rung: Returns the members to prune; at the end of the run its answer is not used.
        on_progress: Called about five times a second, and after each check.
        should_stop: Asked about five times a second; True ends the run with a checkpoint.
        checkpoint: File to write, and to go on from if it exists. It is left in place at the end,
            and then gives the same results again at once; the caller removes it when they are safe.
        checkpoint_seconds: Time between two checkpoints.
        on_checkpoint: Called after each checkpoint of an unfinished run with None, or with the
            error that kept it from being written; then no more are. Without this it is raised.
        clock: Seconds; `time.process_time` where other work on the machine must not count.

    Returns:
        One result a member, in the order of the stack.

    Raises:
        ValueError: If the arguments do not fit together.
        CheckpointError: If the checkpoint can't be read or is of another run.
        torch.OutOfMemoryError: If a single member does not fit.
    """
    members = [specs] * len(stack.specs) if isinstance(specs, TrainSpec) else list(specs)
    _check(stack, members, data, steps, seconds, rungs)
    if steps is None and seconds is None:
        steps = members[0].steps
    path = None if checkpoint is None else Path(checkpoint)
    plan = Plan(steps, 0.0, seconds, least=least)
    run = Run(stack, members, data, generator, plan, tuple(rungs), path, clock)
    run.on_rung, run.on_progress, run.should_stop = on_rung, on_progress, should_stop
    run.on_checkpoint, run.checkpoint_seconds = on_checkpoint, checkpoint_seconds
    if left is not None:
        _hasten(run, left)
    while run.parts:
        part, memory = run.parts[0], True
        try:
            finished = _train(run, part)
        except torch.OutOfMemoryError:
            if len(part.members) == 1:
                raise
            memory = (
                False  # split after this block: the exception holds the tensors of the failed step
            )
        if not memory:
            run.halve(part)
        elif finished:
            run.next_part()
        else:
            break
    run.save()
    return run.finish()


def _train(run: Run, part: Population) -> bool:
    """Train a population to its end; False if it was interrupted."""
    while part.members:
        progress = run.progress(part)
        if progress < 1.0:
            if run.tick(part, progress):
                return False
            part.advance(progress, run.data)
            progress = run.stepped(part)
        if progress >= 1.0 or run.rung_reached(part, progress) or run.check_due(part):
            run.check(part, progress)
        elif part.step % SOUND_EVERY == 0:
            run.drop_unsound(part)
        if progress >= 1.0:
            run.complete(part)
            return True
    return True


def _hasten(run: Run, left: float) -> None:
    """Let whatever would end later end in so many seconds, each population in its share of them."""
    for number, part in enumerate(run.parts):
        start, end = (run.elapsed() + left * n / len(run.parts) for n in (number, number + 1))
        if part.plan.end is None or part.plan.end > end:
            plan = part.plan
            part.plan = Plan(plan.steps, start, end, run.progress(part), plan.least)


def _check(
    stack: Stack,
    specs: Sequence[TrainSpec],
    data: TrainData,
    steps: int | None,
    seconds: float | None,
    rungs: Sequence[float],
) -> None:
    if len(specs) != len(stack.specs):
        raise ValueError(
            f"`specs` must be one, or one a member: {len(specs)} for {len(stack.specs)} members."
        )
    for name in ("batch_size", "steps"):
        if len({getattr(spec, name) for spec in specs}) > 1:
            raise ValueError(f"`specs` of a population must agree in {name}.")
    if len({spec.optimiser == "muon" for spec in specs}) > 1:
        raise ValueError("`specs` of a population must all have `optimiser` muon, or none.")
    if data.features != stack.features:
        raise ValueError(
            f"`data` must have {stack.features} columns for this stack, got {data.features}."
        )
    if data.maps is not None and len(data.maps) != len(stack.specs):
        raise ValueError(
            f"`data` must have maps for each of {len(stack.specs)} members, got {len(data.maps)}."
        )
    seen = 0 if data.context is None else data.context.shape[-1]
    if seen != stack.context_features:
        raise ValueError(
            f"`data` must have {stack.context_features} context columns for this stack, got {seen}."
        )
    if data.x.device != stack.theta.device:
        raise ValueError(
            f"`data` must be on the stack's device {stack.theta.device}, got {data.x.device}."
        )
    if steps is not None and steps < 0:
        raise ValueError(f"`steps` must be at least 0, got {steps}.")
    if seconds is not None and not seconds > 0:
        raise ValueError(f"`seconds` must be positive, got {seconds}.")
    if any(not 0 < rung <= 1 for rung in rungs) or list(rungs) != sorted(set(rungs)):
        raise ValueError(f"`rungs` must rise and be above 0 and at most 1, got {tuple(rungs)}.")
