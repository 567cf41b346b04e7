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

from nfopt.autonf import price as prices
from nfopt.autonf.candidates import distinct
from nfopt.autonf.checkpoint import Ended, Keeper
from nfopt.autonf.estimator import check_searched
from nfopt.autonf.history import History
from nfopt.autonf.one_search import OneSearch, OnRecord
from nfopt.autonf.options import Option, Path
from nfopt.autonf.price import Fixed, Price
from nfopt.autonf.settings import Settings
from nfopt.training import TrainData


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
        price: Makes the price of cost, anew for each restart.
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
    ended: list[Ended] = [] if keeper is None else list(keeper.kept.ended)
    before = 0.0 if keeper is None else keeper.kept.elapsed
    began = clock() - before
    for number in range(len(ended), settings.restarts):
        if ended and ended[-1].stopped:
            break
        left = None if seconds is None else seconds - (clock() - began)
        one = OneSearch(options, data, settings, relative, price(), number, seed)
        one.watch(on_record, should_stop, clock)
        one.begin(initial)
        one.run(None if left is None else left / (settings.restarts - number), keeper)
        ended.append(one.ended())
        if keeper is not None and not one.stopped:
            keeper.kept.ended, keeper.kept.restart = tuple(ended), None
    text = prices.cheap_text(options, ended[0].path, relative)
    return Found(
        candidates=tuple(distinct(options, [one.candidates for one in ended])),
        weights=ended[0].weights,
        costs=relative,
        history=History(
            options=tuple(option.name for option in options),
            costs=relative,
            estimator="exact" if ended[0].exact else "sampled",
            records=tuple(record for one in ended for record in one.records),
        ),
        seconds=clock() - began,
        stopped=any(one.stopped for one in ended),
        warnings=() if text is None else (text,),
    )
