from __future__ import annotations

import math

import pytest
import torch

from nfopt.model import chunks
from nfopt.training import log_prob, mean_nll, round_trip_error

from .toys import make_data, make_stack, seeded


def test_chunks_do_not_change_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, data = make_stack(context=1), make_data(rows=700, context=True)
    whole = stack.log_prob(data.x, data.context).detach()
    monkeypatch.setattr(chunks, "CPU_ELEMENTS", 1)
    assert chunks.chunk_rows(stack) < len(data.x)
    torch.testing.assert_close(log_prob(stack, data.x, data.context), whole)


def test_no_rows_give_no_scores() -> None:
    assert log_prob(make_stack(2), torch.zeros(0, 3)).shape == (2, 0)


def test_mean_and_error_of_equal_weights_are_the_plain_ones() -> None:
    stack, x = make_stack(2), make_data().val
    plain, plain_error = mean_nll(stack, x)
    mean, error = mean_nll(stack, x, weights=torch.full((len(x),), 3.0))
    torch.testing.assert_close(mean, plain)
    torch.testing.assert_close(error, plain_error, rtol=0.02, atol=0)
    scores = stack.log_prob(x).detach().double()
    torch.testing.assert_close(plain_error, 2 * scores.std(dim=1) / len(x) ** 0.5)


def test_rows_without_weight_do_not_count() -> None:
    stack, x = make_stack(2), make_data().val
    weights = torch.zeros(len(x))
    weights[:50] = 2.0
    torch.testing.assert_close(mean_nll(stack, x, weights=weights)[0], mean_nll(stack, x[:50])[0])


def test_the_log_determinant_is_counted_row_by_row() -> None:
    stack, x = make_stack(2), make_data().val
    scores = stack.log_prob(x).detach().double()
    mean, error = mean_nll(stack, x, logdet=-scores[0])  # member 0 scores 0 everywhere
    assert abs(float(mean[0])) < 1e-6
    assert abs(float(error[0])) < 1e-6
    assert float(error[1]) > 0 or torch.equal(stack.theta[0], stack.theta[1])


def test_one_row_has_no_standard_error() -> None:
    _, error = mean_nll(make_stack(1), torch.zeros(1, 3))
    assert math.isnan(float(error[0]))


def test_round_trip_is_small_and_a_broken_member_is_infinite() -> None:
    stack, x = make_stack(3), make_data().val
    with torch.no_grad():
        stack.theta.add_(0.1 * torch.randn(stack.theta.shape, generator=seeded(3)))
        stack.theta[1] = math.nan
    errors = round_trip_error(stack, x)
    assert errors.shape == (3,)
    assert float(errors[0]) < 1e-4
    assert float(errors[2]) < 1e-4
    assert math.isinf(float(errors[1]))
