"""The final choice by successive halving: architectures trained alone, the worse ones dropped.

    raced = race(flows, train, data, rungs=(0.5, 1.0), keep=(6, 3), seed=0)
    raced[0]                    # the best: its validation NLL is of its longest training

Successive halving (Jamieson and Talwalkar 2016), where each rung is a training from the start with
a complete schedule of its own: truncated schedules rank worse. Flows of one shape train as a stack.
Over random architectures it is the baseline that a differentiable search has to beat.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import torch

from nfopt.autonf.checkpoint import Keeper, Lap, Runner
from nfopt.autonf.race_budget import affordable, within
from nfopt.flows import build
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.training import TrainData, mean_nll, train

MAX_ROUND_TRIP = 1e-2


@dataclass(frozen=True)
class Raced:
    """An architecture in a race.

    Attributes:
        position: In the list given to `race`.
        spec: Its flow.
        nll: Validation NLL of its longest training, nats a row; inf if it can't be used.
        nll_2se: Two standard errors of it.
        penalty: Of its cost, nats a row.
        share: Of the full steps, in its longest training; 0 before the first.
        seconds: Wall-clock share of all its trainings.
        nlls: Validation NLL of each training, in the order of the rungs.
    """

    position: int
    spec: FlowSpec
    nll: float = math.inf
    nll_2se: float = math.nan
    penalty: float = 0.0
    share: float = 0.0
    seconds: float = 0.0
    nlls: tuple[float, ...] = ()

    @property
    def loss(self) -> float:
        """The criterion: NLL plus penalty."""
        return self.nll + self.penalty

    def runner(self) -> Runner:
        """Its state for a checkpoint."""
        return Runner(
            position=self.position,
            nll=_finite(self.nll),
            nll_2se=_finite(self.nll_2se),
            share=self.share,
            seconds=self.seconds,
            nlls=tuple(_finite(nll) for nll in self.nlls),
        )

    def ran(self, runner: Runner) -> Raced:
        """Restore its state from a checkpoint."""
        return replace(
            self,
            nll=math.inf if runner.nll is None else runner.nll,
            nll_2se=math.nan if runner.nll_2se is None else runner.nll_2se,
            share=runner.share,
            seconds=runner.seconds,
            nlls=tuple(math.inf if nll is None else nll for nll in runner.nlls),
        )


def race(
    specs: Sequence[FlowSpec],
    trains: TrainSpec,
    data: TrainData,
    *,
    rungs: Sequence[float] = (0.75,),
    keep: Sequence[int] = (8,),
    penalties: Sequence[float] | None = None,
    costs: Sequence[float] | None = None,
    work: float = math.inf,
    seed: int = 0,
    seconds: float | None = None,
    on_rung: Callable[[float, Sequence[Raced]], bool] | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
    keeper: Keeper | None = None,
) -> list[Raced]:
    """Train architectures alone, rung by rung fewer of them for longer.

    Args:
        specs: Different flows, at least one.
        trains: Training; its steps are the full length.
        data: Training and validation rows.
        rungs: Shares of the full steps, rising.
        keep: The greatest number of flows trained at each rung, the best so far.
        penalties: Of each flow's cost, in nats a row, or None.
        costs: Of a full training of each flow, or None: 1.
        work: Limit of the race's cost, in the unit of `costs`: fewer flows are trained where they
            are expensive, at least one at each rung.
        seed: Of weights and batches; each rung has its own.
        seconds: Limit by `clock`, or None; shared among the trainings by their steps. Where it is
            short, fewer flows race.
        on_rung: Called with a rung and all flows after it, the best first; True ends the race.
        should_stop: Polled while training; True ends the race with the results so far.
        clock: Seconds; `time.process_time` where other work must not count.
        keeper: Of checkpoints; the race resumes from its state.

    Returns:
        All flows: the longest trained first, and among equals the best.

    Raises:
        ValueError: If there is no flow, or rungs and keep do not fit together.
    """
    if not specs:
        raise ValueError("`specs` must be at least one flow, got none.")
    if len(rungs) != len(keep) or not rungs or min(keep) < 1:
        raise ValueError(f"`keep` must be one number a rung: {tuple(keep)} for {tuple(rungs)}.")
    if list(rungs) != sorted(set(rungs)) or not 0 < rungs[0] <= rungs[-1] <= 1:
        raise ValueError(f"`rungs` must rise and be above 0 and at most 1, got {tuple(rungs)}.")
    lap = None if keeper is None else keeper.kept.race
    began = clock()
    if lap is not None:
        keep = lap.keep
    elif seconds is not None:
        keep = affordable(specs, trains, data, rungs, keep, seconds, clock)
    given = [0.0] * len(specs) if penalties is None else list(penalties)
    price = [1.0] * len(specs) if costs is None else list(costs)
    field = [Raced(k, spec, penalty=given[k]) for k, spec in enumerate(specs)]
    shares = [r * min(k, len(specs)) for r, k in zip(rungs, keep, strict=True)]  # of the seconds
    if lap is not None:
        began -= lap.elapsed
        by_position = {flow.position: flow for flow in field}
        field = [by_position[runner.position].ran(runner) for runner in lap.field]
    for number, (rung, count) in enumerate(zip(rungs, keep, strict=True)):
        if lap is not None and number < lap.rung:
            continue
        time_left = None
        if lap is not None:
            time_left = lap.left
        elif seconds is not None:
            time_left = (seconds - (clock() - began)) * shares[number] / sum(shares[number:])
        chosen = [flow for flow in field[:count] if not flow.share or math.isfinite(flow.loss)]
        if not chosen:
            continue
        spent = sum(price[flow.position] * sum(rungs[: len(flow.nlls)]) for flow in field)
        prices = [price[flow.position] for flow in chosen]
        chosen = chosen[: max(1, within(prices, rung, rungs[number + 1 :], work - spent))]
        now = lap or Lap(number, list(keep), 0.0, [flow.runner() for flow in field], [])
        keeping = None if keeper is None else _Keeping(keeper, now, began, clock)
        lap = None
        trained = _train(
            chosen, rung, trains, data, (seed, number), time_left, should_stop, clock, keeping
        )
        field = sorted(
            [*trained, *[flow for flow in field if flow not in chosen]],
            key=lambda flow: (-flow.share, flow.loss, flow.position),
        )
        if should_stop is not None and should_stop():
            break
        if on_rung is not None and on_rung(rung, field):
            break
    return field


@dataclass
class _Keeping:
    """Writes the checkpoints of a race."""

    keeper: Keeper
    lap: Lap
    began: float
    clock: Callable[[], float]
    ends: float | None = None  # of this rung, by the clock

    def save(self) -> None:
        """Write a checkpoint."""
        now = self.clock()
        self.lap.elapsed = now - self.began
        self.lap.left = None if self.ends is None else self.ends - now
        self.keeper.kept.race = self.lap
        self.keeper.save({})


def _train(
    chosen: Sequence[Raced],
    rung: float,
    trains: TrainSpec,
    data: TrainData,
    path: tuple[int, int],
    seconds: float | None,
    should_stop: Callable[[], bool] | None,
    clock: Callable[[], float],
    keeping: _Keeping | None = None,
) -> list[Raced]:
    """Train flows for a share of the full steps, those of one shape as a stack."""
    steps = max(1, round(rung * trains.steps))
    spec = msgspec.structs.replace(trains, steps=steps)
    groups: dict[str, list[Raced]] = {}
    for flow in chosen:
        groups.setdefault(flow.spec.shape_key(), []).append(flow)
    ends = None if seconds is None else clock() + seconds
    waiting = len(chosen)
    done = {flow.position: flow for flow in chosen}  # replaced once they are trained
    before = {} if keeping is None else {runner.position: runner for runner in keeping.lap.done}
    if keeping is not None:
        keeping.ends = ends
    for group in groups.values():
        share = None
        if ends is not None:
            share = max(1e-3, (ends - clock()) * len(group) / waiting)
        waiting -= len(group)
        if all(flow.position in before for flow in group):
            done |= {flow.position: flow.ran(before[flow.position]) for flow in group}
            continue
        own = [_seed(*path, flow.position) for flow in group]
        generators = [torch.Generator().manual_seed(seed) for seed in own]
        (stack,) = build([flow.spec for flow in group], generators, device=data.x.device)
        if stack.theta.shape[1] == 0:  # a flow without weights is only scored
            (flow,) = group
            began = clock()
            scored = mean_nll(stack, data.val, data.val_context, data.val_weights, data.val_logdet)
            done[flow.position] = _after(
                flow, float(scored[0]), float(scored[1]), rung, clock() - began
            )
            continue
        results = train(
            stack,
            spec,
            data,
            generator=torch.Generator().manual_seed(_seed(*path)),
            steps=steps,
            seconds=share,
            rungs=(1.0,),
            should_stop=should_stop,
            clock=clock,
        )
        if results[0].status == "interrupted":
            break
        for flow, result in zip(group, results, strict=True):
            good = result.status == "complete" and result.round_trip <= MAX_ROUND_TRIP
            nll = result.nll if good else math.inf
            done[flow.position] = _after(flow, nll, result.nll_2se, rung, result.seconds)
        if keeping is not None:
            keeping.lap.done += [done[flow.position].runner() for flow in group]
            keeping.save()
    return list(done.values())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _after(flow: Raced, nll: float, nll_2se: float, rung: float, seconds: float) -> Raced:
    nll = nll if math.isfinite(nll) else math.inf
    return replace(
        flow,
        nll=nll,
        nll_2se=nll_2se,
        share=rung,
        seconds=flow.seconds + seconds,
        nlls=(*flow.nlls, nll),
    )


def _seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1)[0])
