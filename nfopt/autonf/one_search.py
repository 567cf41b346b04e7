"""One search from one seed: block after block, and what a checkpoint of it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nfopt.autonf.block import BlockSearch, State, below
from nfopt.autonf.checkpoint import Ended, Keeper, Restart
from nfopt.autonf.estimator import is_exact
from nfopt.autonf.history import Record
from nfopt.autonf.objective import entropy
from nfopt.autonf.options import NOTHING, Option, Path
from nfopt.autonf.price import Price, cost_of
from nfopt.autonf.proposals import Proposer
from nfopt.autonf.rows import carve
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet
from nfopt.autonf.updates import Logits
from nfopt.training import TrainData

RECORDS = 40  # of a block
TUNING = 0.3  # of the seconds, where proposals are tuned
FIRM = 2.0  # what a logit begins with where an architecture is given to begin with

OnRecord = Callable[[Record], None]


class OneSearch:
    """One restart.

    Args:
        options: What each layer may be.
        data: Its training rows are used.
        settings: How.
        costs: Relative, one an option.
        price: Of a unit of cost.
        number: Which restart.
        seed: Of all of them.

    Attributes:
        stopped: Whether it was ended from outside.
    """

    def __init__(
        self,
        options: tuple[Option, ...],
        data: TrainData,
        settings: Settings,
        costs: tuple[float, ...],
        price: Price,
        number: int,
        seed: int,
    ) -> None:
        self.options, self.data, self.settings = options, data, settings
        self.costs, self.price, self.number = costs, price, number
        own = np.random.SeedSequence([seed, number]).generate_state(1)
        self.generator = torch.Generator().manual_seed(int(own[0]))
        self.net = Supernet(
            options,
            settings.places,
            data.x.shape[1],
            self.generator,
            context_features=0 if data.context is None else data.context.shape[1],
            device=data.x.device,
        )
        held = settings.holdout if settings.bilevel else 0.0
        self.rows = carve(data, held, settings.batch_size, self.generator)
        self.logits = Logits(torch.zeros(settings.places, len(options)))
        self.path: Path = (NOTHING,) * settings.places
        self.exact = False
        self.records: list[Record] = []
        self.stopped, self._steps = False, 0
        self._tuning: float | None = None  # seconds of it
        self.watch(None, None, time.monotonic)

    def watch(
        self,
        on_record: OnRecord | None,
        should_stop: Callable[[], bool] | None,
        clock: Callable[[], float],
    ) -> None:
        """Take the caller's callbacks."""
        self.on_record, self.should_stop, self.clock = on_record, should_stop, clock

    def begin(self, initial: Path | None) -> None:
        """Let the logits begin with an architecture; Block's blocks know it of each other too."""
        if initial is None:
            return
        if len(initial) != self.settings.places:
            raise ValueError(
                f"`initial` must have {self.settings.places} layers, got {len(initial)}."
            )
        if self.settings.passes > 1:  # Grow puts blocks on what it has, and on nothing else
            self.path = tuple(initial)
        with torch.no_grad():
            for place, k in enumerate(initial):
                if k != NOTHING:
                    self.logits.values[place, k] = FIRM

    # ------------------------------------------------------------------------------------- blocks

    def run(self, seconds: float | None, keeper: Keeper | None = None) -> None:
        """Grow: block after block, frozen. Block: again and again, until nothing changes.

        Args:
            seconds: Or None.
            keeper: Of checkpoints; what it has of a restart is gone on with.
        """
        source = None if keeper is None else keeper.kept.restart
        began = self.clock()
        if source is not None:
            seconds = source.allowed
            if seconds is not None:
                self._tuning = TUNING / (1 - TUNING) * seconds
        elif seconds is not None and self.settings.proposals == "tuned":
            self._tuning, seconds = TUNING * seconds, (1 - TUNING) * seconds
        if source is None:
            self.exact = is_exact(self.net, self.settings, self.rows[0].take())
        elif keeper is not None:
            began -= source.elapsed
            self._load(source, keeper.tensors)
        blocks, passes = self.settings.blocks, self.settings.passes
        phases = len(blocks) * passes
        steps = max(1, self.settings.steps // phases)
        for sweep in range(0 if source is None else source.sweep, passes):
            before = self.path if source is None else source.before
            for number in range(0 if source is None else source.block, len(blocks)):
                left = None
                if source is not None:
                    left = None if source.step is None else source.step.allowed
                elif seconds is not None:
                    over = seconds - (self.clock() - began)
                    left = over / (phases - sweep * len(blocks) - number)
                where = Restart(
                    sweep=sweep,
                    block=number,
                    before=before,
                    path=self.path,
                    exact=self.exact,
                    start=self._steps if source is None else source.start,
                    marks=0 if source is None else source.marks,
                    elapsed=0.0,
                    allowed=seconds,
                    temperature=1.0,
                    price=0.0,
                    positions=(0, 0),
                    records=(),
                    step=None if source is None else source.step,
                )
                self._block(where, steps, left, began, keeper)
                source = None
                if self.stopped:
                    return
            if sweep and self.path == before:
                return

    def _block(
        self,
        where: Restart,
        steps: int,
        seconds: float | None,
        began: float,
        keeper: Keeper | None,
    ) -> None:
        """Search a block, from its beginning or from where a checkpoint was."""
        settings, places = self.settings, self.settings.blocks[where.block]
        if where.step is None:
            self.logits.live[list(places)] = True  # what an earlier pass ruled out may come back
            self.logits.temperature = 1.0
        block = BlockSearch(
            self.net,
            self.logits,
            places,
            self.path,
            exact=self.exact,
            settings=settings,
            costs=torch.tensor(self.costs),
            price=self.price,
            rows=self.rows,
            generator=self.generator,
            freeze=settings.passes == 1,
        )
        if where.step is not None and keeper is not None:
            block.load(where.step, below("block.", keeper.tensors))
            keeper.tensors = {}

        def on_step(state: State) -> bool:
            self._steps += 1
            if int(state.share * RECORDS) > where.marks or state.share >= 1.0:
                where.marks = int(state.share * RECORDS)
                self._record(where.sweep, places, state)
            self.stopped = self.should_stop is not None and self.should_stop()
            if keeper is not None and (self.stopped or keeper.due()):
                where.elapsed, where.step = self.clock() - began, block.kept(seconds)
                self._keep(where, keeper, block.tensors())
            return self.stopped

        block.run(steps, seconds, on_step, self.clock)
        chosen = self.logits.weights().argmax(1).tolist()
        self.path = tuple(
            int(chosen[place]) if place in places else k for place, k in enumerate(self.path)
        )

    def _record(self, sweep: int, places: range, state: State) -> None:
        now = self.logits.now().detach()
        weights = now.softmax(1)
        self.records.append(
            Record(
                search=self.number,
                sweep=sweep,
                places=(places.start, places.stop),
                phase=state.phase,
                step=self._steps,
                weights=_plain(weights),
                entropy=tuple(round(value, 6) for value in entropy(now).tolist()),
                upper_bound=state.upper_bound,
                mixture=state.mixture,
                expected_cost=state.expected_cost,
                price=state.price,
                temperature=self.logits.temperature,
            )
        )
        if self.on_record is not None:
            self.on_record(self.records[-1])

    # --------------------------------------------------------------------------------- checkpoints

    def _keep(self, where: Restart, keeper: Keeper, tensors: Mapping[str, Tensor]) -> None:
        """Write down all that the next step depends on."""
        where.temperature, where.price = self.logits.temperature, self.price.state()
        where.positions = (self.rows[0].position, self.rows[1].position)
        where.records = tuple(self.records)
        keeper.kept.restart = where
        keeper.save(
            {
                "logits": self.logits.values,
                "live": self.logits.live,
                "generator": self.generator.get_state(),
                "rows.0": self.rows[0].state(),
                "rows.1": self.rows[1].state(),
                **{f"theta.{k}": theta for k, theta in enumerate(self.net.parameters())},
                **{f"block.{name}": value for name, value in tensors.items()},
            }
        )

    @torch.no_grad()
    def _load(self, source: Restart, tensors: Mapping[str, Tensor]) -> None:
        for k, theta in enumerate(self.net.parameters()):
            theta.copy_(tensors[f"theta.{k}"])
        self.logits.values.copy_(tensors["logits"])
        self.logits.live = tensors["live"].clone()
        self.logits.temperature = source.temperature
        self.generator.set_state(tensors["generator"])
        for k, rows in enumerate(self.rows):
            rows.load(tensors[f"rows.{k}"], source.positions[k])
        self.price.load(source.price)
        self.path, self.exact = source.path, source.exact
        self.records = list(source.records)
        self._steps = source.start + (0 if source.step is None else source.step.done)

    def proposer(self) -> Proposer:
        """Give what proposes flows from the weights as they are."""
        rate, costs = self.price.rate(self._expected()), self.costs
        return Proposer(
            self.options,
            self.net,
            self.rows,
            self.settings,
            lambda path: self.price.penalty(cost_of(path, costs), rate),
            self.clock,
            self.should_stop,
        )

    def _expected(self) -> float:
        return float((self.logits.weights() @ torch.tensor(self.costs)).sum())

    def ended(self) -> Ended:
        """Return what it has come to."""
        weights, left = self.logits.weights(), self._tuning
        candidates = self.proposer().propose(weights, left)
        if self.should_stop is not None and self.should_stop():
            self.stopped = True
        return Ended(
            candidates=tuple(candidates),
            path=self.path,
            weights=_plain(weights),
            exact=self.exact,
            records=tuple(self.records),
            stopped=self.stopped,
        )


def _plain(table: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 6) for value in row) for row in table.tolist())
