"""Averaged weights: how they move, and that they are what a run scores and keeps."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from nfopt.spec import TrainSpec
from nfopt.training import Rung, mean_nll
from nfopt.training.average import Average

from .toys import SPEC, make_data, make_stack, run, seeded, weights

NOISY = replace(SPEC, learning_rate=0.05, schedule="constant", average=0.97)


def test_an_average_is_the_moving_mean_of_each_row_by_its_own_decay() -> None:
    path = torch.randn(200, 3, 4, generator=seeded(1), dtype=torch.float64)
    specs = [TrainSpec(average=decay) for decay in (0.0, 0.5, 0.99)]
    average = Average.start(path[0], specs)
    assert average is not None
    by_hand = path[0].clone()
    for step, theta in enumerate(path[1:], 1):
        average.take_in(theta, step)
        for row, spec in enumerate(specs):
            decay = min(spec.average, (1 + step) / (10 + step))
            by_hand[row] = decay * by_hand[row] + (1 - decay) * theta[row]
    torch.testing.assert_close(average.weights, by_hand)
    assert torch.equal(average.weights[0], path[-1, 0])
    chosen = average.select([2, 1])
    chosen.take_in(path[0, [2, 1]], 500)
    average.take_in(path[0], 500)
    assert torch.equal(chosen.weights, average.weights[[2, 1]])


def test_without_a_decay_there_is_none() -> None:
    assert Average.start(torch.zeros(2, 3), [TrainSpec()] * 2) is None


def test_a_noisy_run_is_scored_by_its_averaged_weights() -> None:
    plain, averaged = make_stack(2), make_stack(2)
    before = run(plain, replace(NOISY, average=0.0))
    after = run(averaged, NOISY)
    for result, other in zip(after, before, strict=True):
        assert result.curve[-1][1] < other.curve[-1][1]
    found = mean_nll(averaged, make_data().val)[0]
    assert found.tolist() == pytest.approx([r.nll for r in after])


def test_a_mixed_population_averages_only_who_wants_it() -> None:
    alone, mixed = make_stack(2), make_stack(2)
    run(alone, replace(NOISY, average=0.0))
    run(mixed, [replace(NOISY, average=0.0), NOISY])
    assert torch.equal(weights(alone)[0], weights(mixed)[0])
    assert not torch.equal(weights(alone)[1], weights(mixed)[1])


def test_a_pruned_member_is_ranked_by_its_average_and_leaves_it_behind() -> None:
    averaged, plain = list[Rung](), list[Rung]()

    def first_goes(rung: Rung) -> list[int]:
        averaged.append(rung)
        return [0]

    def all_stay(rung: Rung) -> list[int]:
        plain.append(rung)
        return []

    data, stack = make_data(), make_stack(2)
    pruned, complete = run(stack, NOISY, data, on_rung=first_goes, rungs=(0.5, 1.0))
    run(make_stack(2), replace(NOISY, average=0.0), data, on_rung=all_stay, rungs=(0.5, 1.0))
    assert (pruned.status, pruned.steps, complete.status) == ("pruned", 30, "complete")
    assert averaged[0].nlls[0] != plain[0].nlls[0]
    assert dict(pruned.curve)[30] == averaged[0].nlls[0]
    assert averaged[0].bests[0] == pruned.nll
    assert float(mean_nll(stack, data.val)[0][0]) == pytest.approx(pruned.nll, abs=1e-6)
