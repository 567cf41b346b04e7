"""What a run promises: contracts and behaviour, never a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from nfopt.flows import Stack
from nfopt.spec import Spline, TrainSpec
from nfopt.training import TrainData, mean_nll, train
from nfopt.training.schedule import plan_checks

from .toys import SPEC, Clock, make_data, make_stack, run, seeded, weights

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
