"""The whole differentiable search: blocks, passes, restarts, and the flows that it proposes.

    found = search(options, data, Settings(), seed=0)
    found.candidates            # paths, the most likely first: what `race` trains alone
    found.history               # weights, entropy, L_O, L_U, cost over the steps

What it finds is a proposal. Shared weights rank architectures badly, so the candidates race, each
trained alone, and no likelihood of the search itself is a result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nfopt.autonf import price as prices
from nfopt.autonf.block import BlockSearch, State
from nfopt.autonf.candidates import distinct, most_likely
from nfopt.autonf.estimator import check_searched, is_exact
from nfopt.autonf.history import History, Record
from nfopt.autonf.objective import entropy
from nfopt.autonf.options import NOTHING, Option, Path
from nfopt.autonf.price import Fixed, Price
from nfopt.autonf.rows import carve
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet
from nfopt.autonf.updates import Logits
from nfopt.training import TrainData

RECORDS = 40  # of a block
FIRM = 2.0  # what a logit begins with where an architecture is given to begin with


@dataclass(frozen=True)
class Found:
    """What a search proposes.

    Attributes:
        candidates: Paths of different flows, the most likely first.
        weights: Of the options at the end, n rows of m, of the first restart.
        costs: Of the options, relative.
        history: Of all restarts.
        seconds: By the clock that was given.
        stopped: Whether it was ended from outside.
        warnings: One line each.
    """

    candidates: tuple[Path, ...]
    weights: tuple[tuple[float, ...], ...]
    costs: tuple[float, ...]
    history: History
    seconds: float
    stopped: bool
    warnings: tuple[str, ...]


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
) -> Found:
    """Search the options of every layer.

    With steps alone, and an estimator that is not "auto", a search is a function of its arguments.

    Args:
        options: What each layer may be.
        data: Its training rows are used; its validation rows are not looked at.
        settings: How.
        seed: Of everything random.
        costs: One an option, in any unit; None: they cost the same.
        price: Makes the price of cost, anew for each restart.
        initial: An architecture that the logits begin with; the others begin with equal weights.
        seconds: By `clock` at most, or None. Each block gets an equal share of what is left.
        on_record: Told of each record of the history.
        should_stop: Asked after each step; True ends the search with what it has.
        clock: Seconds.

    Raises:
        ValueError: If options, costs or settings can't be used, in one line.
        NfoptError: If no likelihood is finite.
    """
    options = check_searched(options, data.x.shape[1], settings)
    relative = prices.relative(options, costs)
    began = clock()
    runs = []
    for number in range(settings.restarts):
        left = None if seconds is None else (seconds - (clock() - began))
        run = _Run(options, data, settings, relative, price(), number, seed)
        run.watch(on_record, should_stop, clock)
        run.begin(initial)
        run.all_blocks(None if left is None else left / (settings.restarts - number))
        runs.append(run)
        if run.stopped:
            break
    candidates = distinct(options, [run.candidates() for run in runs])
    text = prices.cheap_text(options, runs[0].path, relative)
    return Found(
        candidates=tuple(candidates),
        weights=_plain(runs[0].logits.weights()),
        costs=relative,
        history=History(
            options=tuple(option.name for option in options),
            costs=relative,
            estimator="exact" if runs[0].exact else "sampled",
            records=tuple(record for run in runs for record in run.records),
        ),
        seconds=clock() - began,
        stopped=any(run.stopped for run in runs),
        warnings=() if text is None else (text,),
    )


class _Run:
    """One restart."""

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
        self.exact = is_exact(self.net, settings, self.rows[0].take())
        self.records: list[Record] = []
        self.stopped, self._steps = False, 0

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

    def all_blocks(self, seconds: float | None) -> None:
        """Grow: block after block, frozen. Block: again and again, until nothing changes."""
        blocks, passes = self.settings.blocks, self.settings.passes
        began, phases = self.clock(), len(blocks) * passes
        steps = max(1, self.settings.steps // phases)
        for sweep in range(passes):
            before = self.path
            for number, places in enumerate(blocks):
                left = None
                if seconds is not None:
                    over = seconds - (self.clock() - began)
                    left = over / (phases - sweep * len(blocks) - number)
                self._block(sweep, places, steps, left)
                if self.stopped:
                    return
            if sweep and self.path == before:
                return

    def _block(self, sweep: int, places: range, steps: int, seconds: float | None) -> None:
        settings = self.settings
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
        marks, done, start = 0, 0, self._steps

        def on_step(state: State) -> bool:
            nonlocal marks, done
            done += 1
            self._steps = start + done
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

    def candidates(self) -> list[Path]:
        """List the most likely flows under the weights at the end, each once."""
        return most_likely(self.options, self.logits.weights(), self.settings.candidates)


def _plain(table: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(value, 6) for value in row) for row in table.tolist())
