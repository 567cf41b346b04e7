"""The seconds of a step, by a clock that ticks at each look."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch

from nfopt.layers import Coupling
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.training import TrainData
from nfopt.training.measure import CHECKED, SLOW_STEP, measure_step, measure_training

DATA = TrainData(x=torch.zeros(80, 3), val=torch.zeros(10, 3))
FLOW = FlowSpec(features=3, layers=(Coupling(mask="CTC"),))


def ticking(tick: float) -> Callable[[], float]:
    """A clock on which each look takes some seconds."""
    now = itertools.count(0.0, tick)
    return lambda: next(now)


@pytest.mark.parametrize(("tick", "shared_by"), [(10 * SLOW_STEP, 1), (SLOW_STEP / 100, 8)])
def test_a_slow_step_is_measured_on_one_member_only(tick: float, shared_by: int) -> None:
    found = measure_step(FLOW, TrainSpec(), DATA, 8, ticking(tick))
    assert found == pytest.approx((tick, tick / shared_by))


def test_a_step_of_seconds_is_not_measured_many_times() -> None:
    asked: list[float] = []

    def clock() -> float:
        asked.append(10.0 * len(asked))
        return asked[-1]

    train = TrainSpec(batch_size=16, steps=100)
    found = measure_training(FLOW, train, DATA, 4, clock)
    assert found == pytest.approx((CHECKED * 1000, CHECKED * 1000))
    assert len(asked) == 2, "one step"


def test_without_weights_there_is_no_step() -> None:
    assert measure_step(FlowSpec(features=3, layers=()), TrainSpec(), DATA, 2) == (0.0, 0.0)


def test_context_is_given_to_a_flow_that_needs_it() -> None:
    flow = FlowSpec(features=3, layers=(Coupling(mask="CTC"),), context_features=2)
    data = TrainData(
        x=torch.zeros(80, 3),
        val=torch.zeros(10, 3),
        context=torch.zeros(80, 2),
        val_context=torch.zeros(10, 2),
    )
    alone, together = measure_step(flow, TrainSpec(batch_size=16), data, 2)
    assert min(alone, together) > 0
