"""What a run promises: contracts and behaviour, never a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from nfopt.flows import Stack
from nfopt.spec import Spline, TrainSpec
from nfopt.training import MemberResult, Progress, Rung, TrainData, mean_nll, train
from nfopt.training.schedule import plan_checks

from .toys import Clock, make_data, make_exact_stack, make_stack, seeded, spy

SPEC = TrainSpec(steps=60, batch_size=64, learning_rate=0.01)


def run(stack: Stack, specs: Any = SPEC, data: TrainData | None = None, **options: Any) -> Any:
    return train(stack, specs, data or make_data(), generator=seeded(5), **options)


def weights(stack: Stack) -> Tensor:
    return stack.theta.detach().clone()


# --------------------------------------------------------------------------------- the ordinary run

VARIANTS: dict[str, Callable[[], tuple[Stack, TrainSpec, TrainData]]] = {
    "affine": lambda: (make_stack(2), SPEC, make_data()),
    "spline": lambda: (make_stack(2, Spline(bins=4)), SPEC, make_data()),
    "context": lambda: (make_stack(2, context=1), SPEC, make_data(context=True)),
    "weights": lambda: (make_stack(2), SPEC, make_data(weights=True)),
    "dropout": lambda: (make_stack(2), replace(SPEC, dropout=0.2), make_data()),
    "batch above the data": lambda: (make_stack(2), replace(SPEC, batch_size=9999), make_data()),
    "adam, one cycle": lambda: (
        make_stack(2),
        replace(SPEC, optimiser="adam", schedule="one_cycle"),
        make_data(),
    ),
    "one row to validate on": lambda: (make_stack(2), SPEC, make_data(val=1)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_improves_every_member_and_says_so(name: str) -> None:
    stack, spec, data = VARIANTS[name]()
    before = mean_nll(stack, data.val, data.val_context, data.val_weights)[0]
    results = train(stack, spec, data, generator=seeded(5))
    after = mean_nll(stack, data.val, data.val_context, data.val_weights)[0]
    assert (after < before - 0.1).all()
    for row, result in enumerate(results):
        assert (result.member, result.status, result.reason) == (row, "complete", "")
        assert result.nll == pytest.approx(float(after[row]), abs=1e-6)
        assert result.nll == pytest.approx(min(nll for _, nll in result.curve))
        assert (result.best_step, result.nll) in result.curve
        assert result.steps == spec.steps
        assert result.round_trip < 1e-3
        assert len(result.curve) >= 4


def test_the_same_arguments_give_the_same_weights() -> None:
    first, second, other = make_stack(), make_stack(), make_stack()
    spec = replace(SPEC, dropout=0.1)
    run(first, spec)
    run(second, spec, clock=Clock(tick=3.0))
    train(other, spec, make_data(), generator=seeded(6))
    assert torch.equal(weights(first), weights(second))
    assert not torch.equal(weights(first), weights(other))


def test_members_have_their_own_settings() -> None:
    stack, start = make_stack(3), weights(make_stack(3))
    rates = [1e-4, 1e-2, 1e-2]
    specs = [replace(SPEC, learning_rate=rate) for rate in rates]
    specs[2] = replace(specs[2], weight_decay=0.5, clip=0.1, dropout=0.3, optimiser="adam")
    run(stack, specs)
    moved = (weights(stack) - start).norm(dim=1)
    assert moved[1] > 5 * moved[0]
    assert not torch.equal(stack.theta[1] - start[1], stack.theta[2] - start[2])


def test_a_member_of_a_population_trains_as_it_would_alone() -> None:
    specs = [replace(SPEC, learning_rate=rate) for rate in (0.003, 0.01, 0.02)]
    whole, alone = make_stack(3), make_stack(3).select([1])
    results, (result,) = run(whole, specs), run(alone, specs[1])
    torch.testing.assert_close(weights(whole)[1:2], weights(alone), rtol=1e-3, atol=1e-4)
    assert result.nll == pytest.approx(results[1].nll, abs=1e-4)


def test_the_log_determinant_puts_the_results_on_the_scale_of_the_data() -> None:
    data = make_data()
    plain = run(make_stack(1), data=data)[0]
    moved = TrainData(x=data.x, val=data.val, val_logdet=torch.full((len(data.val),), -2.5))
    assert run(make_stack(1), data=moved)[0].nll == pytest.approx(plain.nll + 2.5)


def test_the_best_weights_are_kept_not_the_last() -> None:
    data = make_data(rows=24)  # few rows and many steps: it overfits
    stack = make_stack(1)
    spec = TrainSpec(steps=300, batch_size=24, learning_rate=0.03, schedule="constant")
    (result,) = run(stack, spec, data)
    assert result.best_step < 200
    assert result.nll < result.curve[-1][1] - 0.1
    assert float(mean_nll(stack, data.val)[0]) == pytest.approx(result.nll, abs=1e-6)


def test_no_steps_still_give_a_score() -> None:
    stack = make_stack(2)
    start = weights(stack)
    results = run(stack, steps=0)
    assert torch.equal(weights(stack), start)
    assert [r.steps for r in results] == [0, 0]
    assert all(math.isfinite(r.nll) for r in results)


def test_steps_override_those_of_the_spec() -> None:
    assert run(make_stack(1), steps=7)[0].steps == 7


def test_large_validation_data_is_sampled_in_checks_and_used_whole_at_the_end() -> None:
    data, stack = make_data(val=6000), make_stack(1)
    assert plan_checks(SPEC.steps, SPEC.batch_size, 6000)[1] < 6000
    (result,) = run(stack, data=data)
    assert result.nll == pytest.approx(float(mean_nll(stack, data.val)[0]), abs=1e-9)


# --------------------------------------------------------------- rungs, patience, members that fail


def test_rungs_prune_and_compact_the_rest_goes_on_bit_for_bit() -> None:
    specs = [replace(SPEC, learning_rate=rate) for rate in (0.003, 0.01, 0.02, 0.01)]
    told: list[Rung] = []
    sizes: list[int] = []

    def on_rung(rung: Rung) -> list[int]:
        told.append(rung)
        return [0, 3] if rung.fraction == 0.25 else [1] if rung.fraction == 0.5 else [2]

    whole, pruned = make_exact_stack(4), spy(make_exact_stack(4), sizes.append)
    run(whole, specs)
    results: list[MemberResult] = run(pruned, specs, on_rung=on_rung)
    assert [(rung.fraction, rung.step, rung.members) for rung in told] == [
        (0.25, 15, (0, 1, 2, 3)),
        (0.5, 30, (1, 2)),
        (1.0, 60, (2,)),
    ]
    assert [r.status for r in results] == ["pruned", "pruned", "complete", "pruned"]
    assert [r.steps for r in results] == [15, 30, 60, 15]
    assert results[0].reason == "pruned at step 15"
    assert sizes[0] == 4
    assert sizes.index(1) > sizes.index(2) > 15
    assert torch.equal(weights(whole)[2], weights(pruned)[2])
    assert told[1].nlls[0] == dict(results[1].curve)[30]
    assert told[1].bests[0] <= told[1].nlls[0]
    assert math.isclose(sum(r.seconds for r in results), max(r.seconds for r in results), rel_tol=1)


def test_all_members_may_be_pruned() -> None:
    results = run(make_stack(2), on_rung=lambda rung: rung.members)
    assert [(r.status, r.steps) for r in results] == [("pruned", 15)] * 2


def test_rungs_of_ones_own() -> None:
    fractions: list[float] = []
    run(make_stack(1), rungs=(0.1, 0.9), on_rung=lambda r: fractions.append(r.fraction) or ())
    assert fractions == [0.1, 0.9]


def test_patience_is_a_members_own() -> None:
    data = make_data(rows=24)
    spec = TrainSpec(steps=300, batch_size=24, learning_rate=0.03, schedule="constant")
    stack = make_stack(2)
    patient, impatient = run(stack, [spec, replace(spec, patience=3)], data)
    assert patient.steps == 300
    assert impatient.steps < 300
    assert impatient.status == "complete"
    assert "no improvement in 3 checks" in impatient.reason
    assert float(mean_nll(stack, data.val)[0][1]) == pytest.approx(impatient.nll, abs=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e38])
def test_a_member_that_fails_is_set_aside_and_the_rest_go_on_bit_for_bit(bad: float) -> None:
    well, ill = make_exact_stack(3), make_exact_stack(3)
    specs = [replace(SPEC, learning_rate=rate) for rate in (0.01, 0.01, 0.02)]
    sizes: list[int] = []
    with torch.no_grad():
        ill.theta[1] = bad
    run(well, specs)
    results = run(spy(ill, sizes.append), specs)
    assert [r.status for r in results] == ["complete", "failed", "complete"]
    assert "not finite" in results[1].reason or "never finite" in results[1].reason
    assert math.isinf(results[1].nll)
    assert torch.equal(weights(well)[[0, 2]], weights(ill)[[0, 2]])
    if math.isnan(bad):
        assert sizes[-2] == 2  # of the last check; the round trip sees all


def test_a_member_that_fails_late_keeps_its_best_weights() -> None:
    stack, calls = make_stack(2), 0

    def poison(members: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 40:
            with torch.no_grad():
                stack.theta[0, 0] = math.nan

    data = make_data()
    results = run(spy(stack, poison), data=data)
    assert [r.status for r in results] == ["failed", "complete"]
    assert "not finite at step" in results[0].reason
    assert stack.theta.isfinite().all()
    assert math.isfinite(results[0].nll)


def test_all_members_may_fail() -> None:
    stack = make_stack(2)
    with torch.no_grad():
        stack.theta.fill_(math.nan)
    assert [r.status for r in run(stack)] == ["failed"] * 2


# ------------------------------------------------------------------------------------ out of memory


@pytest.mark.parametrize("fits", [1, 2, 3])
def test_out_of_memory_halves_the_population_and_goes_on(fits: int) -> None:
    def limited(members: int) -> None:
        if members > fits:
            raise torch.OutOfMemoryError("out of memory")

    specs = [replace(SPEC, learning_rate=rate) for rate in (0.003, 0.01, 0.02, 0.01, 0.005)]
    whole, small = make_stack(5), make_stack(5)
    expected = run(whole, specs)
    results = run(spy(small, limited), specs)
    assert [r.status for r in results] == ["complete"] * 5
    torch.testing.assert_close(weights(small), weights(whole), rtol=1e-3, atol=1e-4)
    for result, other in zip(results, expected, strict=True):
        assert result.nll == pytest.approx(other.nll, abs=1e-4)


def test_memory_that_runs_out_later_loses_no_step() -> None:
    calls = 0

    def limited(members: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 45 and members > 2:
            raise torch.OutOfMemoryError("out of memory")

    specs = [replace(SPEC, learning_rate=rate) for rate in (0.003, 0.01, 0.02)]
    whole, small = make_stack(3), make_stack(3)
    run(whole, specs)
    results = run(spy(small, limited), specs)
    assert [r.steps for r in results] == [60] * 3
    torch.testing.assert_close(weights(small), weights(whole), rtol=1e-3, atol=1e-4)


def test_the_final_scores_of_all_members_may_not_fit_at_once() -> None:
    def limited(members: int) -> None:
        if members > 2:
            raise torch.OutOfMemoryError("out of memory")

    data = make_data(val=6000)  # checks see some of these rows, the end all of them
    small = spy(make_stack(3), limited)
    results = run(small, data=data)
    nlls = mean_nll(small.select([2]), data.val)[0]
    assert results[2].nll == pytest.approx(float(nlls[0]), abs=1e-6)


def test_a_single_member_that_does_not_fit_is_an_error() -> None:
    def never(members: int) -> None:
        raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        run(spy(make_stack(2), never))


# ----------------------------------------------------------------------- time, progress, interrupts


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


# ---------------------------------------------------------------------------------------- bad input

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "too few specs": ({"specs": [SPEC]}, "`specs` must be one, or one a member: 1 for 2"),
    "batch sizes": ({"specs": [SPEC, replace(SPEC, batch_size=1)]}, "agree in batch_size"),
    "steps": ({"specs": [SPEC, replace(SPEC, steps=1)]}, "agree in steps"),
    "width": ({"data": TrainData(torch.zeros(4, 2), torch.zeros(4, 2))}, "3 columns.*got 2"),
    "context": ({"data": make_data(context=True)}, "0 context columns.*got 1"),
    "negative steps": ({"steps": -1}, "`steps` must be at least 0, got -1"),
    "no time": ({"seconds": 0.0}, "`seconds` must be positive, got 0"),
    "rungs that fall": ({"rungs": (0.5, 0.25)}, "`rungs` must rise"),
    "rungs above 1": ({"rungs": (0.5, 2.0)}, "`rungs`.*at most 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_arguments_that_do_not_fit_are_refused(name: str) -> None:
    options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        run(make_stack(2), **options)
