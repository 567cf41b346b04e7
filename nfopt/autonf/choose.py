"""From options to the architecture that wins: propose, race, and the front over prices.

    choice = choose(options, data, train, Settings(places=4), seed=0)
    choice.best.spec            # train it cold, from a fresh seed, and score it once

`method` says where the candidates come from: "gradient" is the differentiable search, "halving"
draws them at random and lets more of them race for less. Both end in the same kind of race.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import torch

from nfopt.autonf import price as prices
from nfopt.autonf.checkpoint import Keeper, OnCheckpoint
from nfopt.autonf.history import Found
from nfopt.autonf.options import Option, check_searched, layers_of, spec_of
from nfopt.autonf.options import Path as Layers
from nfopt.autonf.price import Fixed, Price, cheap_text, cost_of
from nfopt.autonf.proposals import random_paths
from nfopt.autonf.race import Raced, race
from nfopt.autonf.search import OnRecord, search
from nfopt.autonf.settings import Settings
from nfopt.errors import NfoptError
from nfopt.flows.cost import step_cost
from nfopt.layers import Plain, check_choice
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.training import TrainData
from nfopt.training.checkpoint import identity

Method = Literal["gradient", "halving"]

SEARCH_SHARE = 0.4  # of the seconds; the rest is the race


class RacePlan(Plain, frozen=True):
    """How candidates race.

    Attributes:
        rungs: Shares of the full steps, rising.
        keep: How many are trained at each rung at most.
        work: What all of it may cost, in full trainings of a flow of average cost, or None. Where
            candidates are dear fewer race, where they are cheap more of them are trained in full.
    """

    rungs: tuple[float, ...]
    keep: tuple[int, ...]
    work: float | None = None


RACES: dict[str, RacePlan] = {
    "gradient": RacePlan(rungs=(0.75,), keep=(8,), work=5.0),
    "halving": RacePlan(rungs=(1 / 16, 1 / 4, 1.0), keep=(64, 16, 4)),
}


@dataclass(frozen=True)
class Choice:
    """What a search and its race have found.

    Attributes:
        raced: All candidates, the best first; NLLs are of flows trained alone, on validation data.
        paths: Of the candidates, by `Raced.position`.
        costs: Of the options, relative.
        price: Nats a row and unit of cost, as in the race.
        found: The search, or None for "halving".
        seconds: By the clock that was given.
        warnings: One line each.
    """

    raced: tuple[Raced, ...]
    paths: tuple[Layers, ...]
    costs: tuple[float, ...]
    price: float
    found: Found | None
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def best(self) -> Raced:
        """The winner of the race."""
        return self.raced[0]

    @property
    def path(self) -> Layers:
        """The winner's path."""
        return self.paths[self.best.position]

    @property
    def cost(self) -> float:
        """The winner's cost, relative."""
        return cost_of(self.path, self.costs)


def choose(
    options: Sequence[Option],
    data: TrainData,
    train: TrainSpec,
    settings: Settings,
    *,
    method: Method = "gradient",
    plan: RacePlan | None = None,
    costs: Sequence[float] | None = None,
    price: Callable[[], Price] = Fixed,
    initial: Layers | None = None,
    seed: int = 0,
    seconds: float | None = None,
    on_record: OnRecord | None = None,
    on_rung: Callable[[float, Sequence[Raced]], bool] | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
    checkpoint: Path | None = None,
    on_checkpoint: OnCheckpoint | None = None,
) -> Choice:
    """Find an architecture.

    Args:
        options: What each layer may be.
        data: The search learns from training rows alone; the race compares on validation rows.
        train: How candidates are trained; its steps are the full length.
        settings: Of the search; "halving" takes the number of layers from it.
        method: Where candidates come from.
        plan: Of the race; None: that of the method.
        costs: One an option, in any unit; None: they cost the same.
        price: Of cost.
        initial: As in `search`.
        seed: Of everything random.
        seconds: By `clock` at most, or None; trainings of the race count by it too.
        on_record: Told of the search's records.
        on_rung: Told of the race's rungs; True ends it.
        should_stop: Asked while it works; True ends it with what it has.
        clock: Seconds; `time.process_time` compares methods in equal processor seconds, also on a
            machine with other work.
        checkpoint: File to write after each block of the search and each training of the race,
            and to go on from if it exists, with the seconds that it was given; the caller removes
            it when the choice is safe.
        on_checkpoint: Called after each one with None, or with the error that kept it from being
            written; then no more are. Without this it is raised.

    Raises:
        ValueError: If an argument can't be used, in one line.
        CheckpointError: If the checkpoint can't be read or is another choice's.
        NfoptError: If no likelihood is finite, or no candidate has a layer.
    """
    check_choice("method", method, Method)
    plan, features, found = plan or RACES[method], data.x.shape[1], None
    context = 0 if data.context is None else data.context.shape[1]
    options = check_searched(options, features, settings)
    units, counted = prices.relative(options, costs), price()
    began, keeper = clock(), None
    if checkpoint is not None:
        told = repr((method, units, initial, seed, features, context, len(data.x), len(data.val)))
        flows = [spec_of(options, (k,), features, context) for k in range(len(options))]
        run = _identity(told, counted, (train, settings, plan), flows)
        keeper = Keeper(checkpoint, run, on_checkpoint=on_checkpoint)
        began -= keeper.kept.elapsed
        keeper.timed(lambda: clock() - began)
        if keeper.restored:
            seconds = keeper.kept.seconds
        keeper.kept.seconds = seconds
    if method == "gradient":
        found = search(
            options,
            data,
            settings,
            seed=seed,
            costs=units,
            price=price,
            initial=initial,
            seconds=None if seconds is None else SEARCH_SHARE * seconds,
            on_record=on_record,
            should_stop=should_stop,
            clock=clock,
            keeper=keeper,
        )
        paths = list(found.candidates)
        nats = found.history.records[-1].price if found.history.records else 0.0
    else:
        paths = _drawn(options, settings.places, plan.keep[0], units, counted, seed)
        nats = counted.rate(0.0)
    paths = [path for path in paths if layers_of(options, path)]
    if not paths:
        raise NfoptError("The search proposes no layer at all: try a lower `price`.")
    specs = [spec_of(options, path, features, context) for path in paths]
    average = _average(options, settings.places, features, context)
    raced = race(
        specs,
        train,
        data,
        rungs=plan.rungs,
        keep=plan.keep,
        penalties=[counted.penalty(cost_of(path, units), nats) for path in paths],
        costs=[step_cost(spec) / average for spec in specs],
        work=math.inf if plan.work is None else plan.work,
        seed=seed,
        seconds=None if seconds is None else seconds - (clock() - began),
        on_rung=on_rung,
        should_stop=should_stop,
        clock=clock,
        # a search that was stopped is gone on with, not its race
        keeper=None if found is not None and found.stopped else keeper,
    )
    best = paths[raced[0].position]
    said = (cheap_text(options, best, units), counted.excess(cost_of(best, units)))
    return Choice(
        raced=tuple(raced),
        paths=tuple(paths),
        costs=units,
        price=nats,
        found=found,
        seconds=clock() - began,
        warnings=tuple(text for text in said if text is not None),
    )


def _identity(
    told: str, price: Price, structs: Sequence[msgspec.Struct], flows: Sequence[FlowSpec]
) -> str:
    """Name a choice, so that another one's checkpoint is not taken for its own."""
    plain = [msgspec.json.encode(struct).decode() for struct in structs]
    return identity(told, repr(vars(price)), *plain, *(flow.to_json() for flow in flows))


def _drawn(
    options: Sequence[Option],
    places: int,
    count: int,
    costs: Sequence[float],
    price: Price,
    seed: int,
) -> list[Layers]:
    """Draw random paths; those over a target cost are the last."""
    generator = torch.Generator().manual_seed(seed)
    paths = random_paths(options, places, count, generator)
    return sorted(paths, key=lambda path: price.penalty(cost_of(path, costs), 0.0))


def _average(options: Sequence[Option], places: int, features: int, context: int) -> float:
    """Cost of a training step, averaged over all flows: layers add up, each type is as frequent."""
    same = [spec_of(options, (k,) * places, features, context) for k in range(len(options))]
    return max(sum(step_cost(spec) for spec in same) / len(same), 1e-9)
