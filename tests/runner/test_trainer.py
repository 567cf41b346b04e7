"""What a worker learns of its own speed while it trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from small_study import flow

from nfopt.runner.budget import Pace
from nfopt.runner.trainer import Trainer
from nfopt.training import Rung

PACE = Pace(alone=40.0, stacked=20.0)


def trainer(now: list[float]) -> Trainer:
    call = SimpleNamespace(clock=lambda: now[0])
    nothing: Any = None
    return Trainer(
        queue=nothing,
        data=nothing,
        length=nothing,
        objectives=("nll",),
        call=call,  # type: ignore[arg-type]
        deadline=None,
        checkpoints=nothing,
        kept=nothing,
        pace=PACE,
    )


def rung(fraction: float) -> Rung:
    return Rung(fraction, 1, (0, 1, 2), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def test_the_pace_is_corrected_by_each_stretch_between_two_rungs() -> None:
    now = [100.0]
    one = trainer(now)
    asked: Any = SimpleNamespace(specs=[flow("CTC", "TCT")])
    one._mark = 100.0, 0.0
    now[0] += 15.0 * 1.5  # three members: a quarter of 60 s, on a machine that is busy
    one._see_pace(rung(0.25), 3, asked)
    assert one.pace == Pace(alone=60.0, stacked=30.0)
    now[0] += 0.25 * 60.0  # two are left
    one._see_pace(rung(0.5), 2, asked)
    assert one.pace is not None
    assert one.pace.stacked == pytest.approx(30.0)


def test_a_population_that_goes_on_from_a_checkpoint_is_measured_from_its_next_rung() -> None:
    now = [100.0]
    one = trainer(now)
    asked: Any = SimpleNamespace(specs=[flow("CTC", "TCT")])
    one._see_pace(rung(0.25), 3, asked)
    assert one.pace == PACE
    now[0] += 0.25 * 60.0 * 1.5
    one._see_pace(rung(0.5), 3, asked)
    assert one.pace == Pace(alone=60.0, stacked=30.0)
