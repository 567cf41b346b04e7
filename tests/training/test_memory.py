"""Memory that runs out: the population is halved, and no step is lost."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace

from nfopt.training import mean_nll

from .toys import SPEC, make_data, make_stack, run, spy, weights


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
