"""Time budgets, what is told of the progress, and runs that are interrupted."""

from __future__ import annotations

import math

import pytest
import torch

from nfopt.training import Progress, mean_nll

from .toys import Clock, make_data, make_stack, run, spy


@pytest.mark.parametrize("busy", [False, True])
def test_a_time_budget_is_met_with_the_schedule_at_its_end(busy: bool) -> None:
    clock, shares = Clock(), list[float]()

    def work(members: int) -> None:
        # twice as slow from the middle on, where the machine is busy
        clock.now += 0.5 * (2 if busy and clock.now > 1050 else 1)

    (result,) = run(
        spy(make_stack(1), work),
        seconds=100.0,
        clock=clock,
        on_progress=lambda progress: shares.append(progress.share),
    )
    assert clock.now - 1000 == pytest.approx(100.0, rel=0.02)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares[-3] > 0.96
    assert len(result.curve) >= 10
    assert 100 < result.steps < 200


def test_a_time_budget_survives_a_halving() -> None:
    clock = Clock()

    def limited(members: int) -> None:
        clock.now += 0.4
        if members > 1:
            raise torch.OutOfMemoryError("out of memory")

    results = run(spy(make_stack(2), limited), seconds=60.0, clock=clock)
    assert clock.now - 1000 == pytest.approx(60.0, rel=0.05)
    assert min(r.steps for r in results) > 50


def test_steps_and_seconds_end_at_whichever_comes_first() -> None:
    clock = Clock()

    def work(members: int) -> None:
        clock.now += 1.0

    assert run(spy(make_stack(1), work), steps=20, seconds=1e6, clock=clock)[0].steps == 20
    assert run(spy(make_stack(1), work), steps=1000, seconds=30.0, clock=clock)[0].steps < 30


def test_a_few_steps_are_taken_though_the_time_is_over() -> None:
    clock = Clock()

    def work(members: int) -> None:
        clock.now += 50.0

    slow = spy(make_stack(1), work)
    assert run(slow, seconds=10.0, clock=clock)[0].steps == 1
    assert run(slow, seconds=10.0, least=4, clock=clock)[0].steps == 4
    assert run(slow, seconds=10.0, least=4, steps=2, clock=clock)[0].steps == 2
    assert math.isfinite(run(slow, seconds=10.0, least=4, clock=clock)[0].round_trip)


def test_rungs_of_a_time_budget_are_shares_of_it() -> None:
    clock, told = Clock(), list[tuple[float, float]]()

    def work(members: int) -> None:
        clock.now += 0.4

    run(
        spy(make_stack(1), work),
        seconds=60.0,
        clock=clock,
        on_rung=lambda rung: told.append((rung.fraction, (clock.now - 1000) / 60)) or (),
    )
    assert [fraction for fraction, _ in told] == [0.25, 0.5, 1.0]
    for fraction, reached in told:
        assert reached == pytest.approx(fraction, abs=0.03)


def test_progress_is_told_while_it_runs() -> None:
    told: list[Progress] = []
    run(make_stack(2), clock=Clock(tick=0.1), on_progress=told.append)
    assert told[0].step == 0
    assert told[0].nlls == (None, None)
    assert told[-1].step == told[-1].steps == 60
    assert told[-1].share == 1.0
    assert told[-1].members == (0, 1)
    assert all(math.isfinite(nll or math.nan) for nll in told[-1].nlls)
    assert [p.step for p in told] == sorted(p.step for p in told)
    assert [p.seconds for p in told] == sorted(p.seconds for p in told)


def test_an_interrupted_run_ends_cleanly_with_what_it_has() -> None:
    answers = iter([False] * 20 + [True])
    data, stack = make_data(), make_stack(2)
    results = run(stack, data=data, clock=Clock(tick=1.0), should_stop=lambda: next(answers))
    assert [(r.status, r.steps) for r in results] == [("interrupted", 20)] * 2
    assert results[0].nll == pytest.approx(float(mean_nll(stack, data.val)[0][0]), abs=1e-6)


def test_should_stop_is_not_asked_every_step() -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return False

    run(make_stack(1), clock=Clock(), should_stop=should_stop)
    assert asked == 1
