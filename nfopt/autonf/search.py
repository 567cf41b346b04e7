"""The differentiable search: block after block, pass after pass, and the flows that it proposes.

    found = search(options, data, Settings(), seed=0)
    found.candidates            # paths, the most promising first: what `race` trains alone
    found.history               # weights, entropy, L_O, L_U, cost over the steps

What it finds is a proposal. Shared weights rank architectures badly, so the candidates race, each
trained alone, and no likelihood of the search itself is a result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nfopt.autonf import price as prices
from nfopt.autonf.block import BlockSearch, State
from nfopt.autonf.checkpoint import Ended, Keeper, Underway
from nfopt.autonf.history import Found, History, Record
from nfopt.autonf.objective import entropy
from nfopt.autonf.options import NOTHING, Option, Path, check_searched
from nfopt.autonf.price import Fixed, Price, cost_of
from nfopt.autonf.proposals import Proposer
from nfopt.autonf.rows import carve
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet, is_exact
from nfopt.autonf.updates import Logits
from nfopt.training import TrainData

RECORDS = 40  # of a block
TUNING = 0.3  # of the seconds, where proposals are tuned
FIRM = 2.0  # what a logit begins with where an architecture is given to begin with

OnRecord = Callable[[Record], None]


def search(
    options: Sequence[Option],
    data: TrainData,
    settings: Settings,
    *,
    seed: int = 0,
    costs: Sequence[float] | None = None,
    price: Callable[[], Price] = Fixed,
    initial: Path | None = None,
    seconds: float | None = None,
    on_record: OnRecord | None = None,
    should_stop: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
    keeper: Keeper | None = None,
) -> Found:
    """Search the options of every layer.

    With steps alone, and an estimator that is not "auto", a search is a function of its arguments.

    Args:
        options: What each layer may be.
        data: Its training rows are used; its validation rows are not looked at.
        settings: How.
        seed: Of everything random.
        costs: One an option, in any unit; None: they cost the same.
        price: Makes the price of cost.
        initial: An architecture that the logits begin with; the others begin with equal weights.
        seconds: By `clock` at most, or None. Each block gets an equal share of what is left.
        on_record: Told of each record of the history.
        should_stop: Asked after each step; True ends the search with what it has.
        clock: Seconds.
        keeper: Of checkpoints; what it has is gone on with.

    Raises:
        ValueError: If options, costs or settings can't be used, in one line.
        NfoptError: If no likelihood is finite.
    """
    options = check_searched(options, data.x.shape[1], settings)
    relative = prices.relative(options, costs)
    began = clock() - (0.0 if keeper is None else keeper.kept.elapsed)
    ended, stopped = None if keeper is None else keeper.kept.ended, False
    if ended is None:
        one = ArchitectureSearch(options, data, settings, relative, price(), seed)
        one.watch(on_record, should_stop, clock)
        one.begin(initial)
        one.run(seconds, began, keeper)
        ended, stopped = one.ended(), one.stopped
        if keeper is not None and not stopped:
            keeper.kept.ended, keeper.kept.search = ended, None
            keeper.save({})
    text = prices.cheap_text(options, ended.path, relative)
    return Found(
        candidates=ended.candidates,
        weights=ended.weights,
        costs=relative,
        history=History(
            options=tuple(option.name for option in options),
            costs=relative,
            estimator="exact" if ended.exact else "sampled",
            records=ended.records,
        ),
        seconds=clock() - began,
        stopped=stopped,
        warnings=() if text is None else (text,),
    )


class ArchitectureSearch:
    """Shared weights, and logits over the options of every layer.

    Args:
        options: What each layer may be.
        data: Its training rows are used.
        settings: How.
        costs: Relative, one an option.
        price: Of a unit of cost.
        seed: Of everything random.

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
        seed: int,
    ) -> None:
        self.options, self.data, self.settings = options, data, settings
        self.costs, self.price = costs, price
        own = np.random.SeedSequence([seed, 0]).generate_state(1)
        self.generator = torch.Generator().manual_seed(int(own[0]))
        self.net = Supernet(
            options,
            settings.places,
            data.x.shape[1],
            self.generator,
            context_features=0 if data.context is None else data.context.shape[1],
            device=data.x.device,
        )
        self.rows = carve(data, settings.holdout, settings.batch_size, self.generator)
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

    def run(
        self, seconds: float | None = None, began: float | None = None, keeper: Keeper | None = None
    ) -> None:
        """Grow: block after block, frozen. Block: again and again, until nothing changes.

        Args:
            seconds: Or None.
            began: By the clock; None: now.
            keeper: Of checkpoints; what it has of a search is gone on with.
        """
        began = self.clock() if began is None else began
        if seconds is not None and self.settings.proposals == "tuned":
            self._tuning, seconds = TUNING * seconds, (1 - TUNING) * seconds
        done, before = 0, self.path
        if keeper is not None and (source := keeper.kept.search) is not None:
            self._load(source, keeper.tensors)
            done, before = source.done, source.before
        else:
            self.exact = is_exact(self.net, self.settings, self.rows[0].take())
        blocks = self.settings.blocks
        phases = len(blocks) * self.settings.passes
        steps = max(1, self.settings.steps // phases)
        while done < phases:
            sweep, number = divmod(done, len(blocks))
            if number == 0:
                before = self.path
            left = None
            if seconds is not None:
                left = (seconds - (self.clock() - began)) / (phases - done)
            self._block(sweep, blocks[number], steps, left)
            if self.stopped:
                return
            done += 1
            if sweep and number == len(blocks) - 1 and self.path == before:
                done = phases
            if keeper is not None:
                self._keep(done, before, keeper)

    def _block(self, sweep: int, places: range, steps: int, seconds: float | None) -> None:
        """Search a block."""
        self.logits.live[list(places)] = True  # what an earlier pass ruled out may come back
        self.logits.temperature = 1.0
        block = BlockSearch(
            self.net,
            self.logits,
            places,
            self.path,
            exact=self.exact,
            settings=self.settings,
            costs=torch.tensor(self.costs),
            price=self.price,
            rows=self.rows,
            generator=self.generator,
            freeze=self.settings.passes == 1,
        )
        marks = 0

        def on_step(state: State) -> bool:
            nonlocal marks
            self._steps += 1
            if int(state.share * RECORDS) > marks or state.share >= 1.0:
                marks = int(state.share * RECORDS)
                self._record(sweep, places, state)
            self.stopped = self.should_stop is not None and self.should_stop()
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

    def _keep(self, done: int, before: Path, keeper: Keeper) -> None:
        """Write down all that the next block depends on."""
        keeper.kept.search = Underway(
            done=done,
            before=before,
            path=self.path,
            exact=self.exact,
            steps=self._steps,
            temperature=self.logits.temperature,
            price=self.price.state(),
            positions=(self.rows[0].position, self.rows[1].position),
            records=tuple(self.records),
        )
        keeper.save(
            {
                "logits": self.logits.values,
                "live": self.logits.live,
                "generator": self.generator.get_state(),
                "rows.0": self.rows[0].state(),
                "rows.1": self.rows[1].state(),
                **{f"theta.{k}": theta for k, theta in enumerate(self.net.parameters())},
            }
        )

    @torch.no_grad()
    def _load(self, source: Underway, tensors: Mapping[str, Tensor]) -> None:
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
        self._steps = source.steps

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
        )


def _plain(table: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 6) for value in row) for row in table.tolist())
