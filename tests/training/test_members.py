"""Members that leave a run early: pruned at a rung, out of patience, or failed."""

from __future__ import annotations

import math

import pytest
import torch
from msgspec.structs import replace

from nfopt.spec import TrainSpec
from nfopt.training import MemberResult, Rung, mean_nll

from .toys import SPEC, make_data, make_exact_stack, make_stack, run, spy, weights


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
