"""Which flows are mixed, and how often each counts: exact cases, and what holds for any scores."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from nfopt.model.mixture import choose_mixture


def nll(scores: torch.Tensor, picked: dict[int, int]) -> float:
    rows = [row for row, times in picked.items() for _ in range(times)]
    return -float((torch.logsumexp(scores.double()[rows], dim=0) - math.log(len(rows))).mean())


def test_flows_that_fail_on_different_rows_are_mixed() -> None:
    scores = torch.tensor([[0.0, -9.0, 0.0], [-9.0, 0.0, 0.0], [-3.1, -3.0, -3.0]])
    assert choose_mixture(scores, 3) == {0: 1, 1: 1}
    assert nll(scores, {0: 1, 1: 1}) < 1.0


def test_equal_flows_are_not_mixed() -> None:
    assert choose_mixture(torch.zeros(4, 5), 4) == {0: 1}


def test_the_best_comes_first_and_the_limit_holds() -> None:
    scores = 3 * torch.randn(6, 200, generator=torch.Generator().manual_seed(0))
    scores[4] += 1.0
    assert list(choose_mixture(scores, 1)) == [4]
    few, many = choose_mixture(scores, 3), choose_mixture(scores, 6)
    assert list(few) == list(many)[:3]


def test_a_better_flow_counts_more() -> None:
    # density 1 on three of four rows, and what is missing there from the other flow
    scores = torch.tensor([[0.0, 0.0, 0.0, -20.0], [-20.0, -20.0, -20.0, 0.0]])
    picked = choose_mixture(scores, 2, least_gain=1e-6)
    assert picked == {0: 3, 1: 1}  # the weights of the maximum likelihood


def test_a_gain_that_is_too_small_is_left_alone() -> None:
    scores = torch.tensor([[0.0, -1.0], [-1.0, -0.01]])
    gain = nll(scores, {0: 1}) - nll(scores, {0: 1, 1: 1})
    assert choose_mixture(scores, 2, least_gain=gain + 1e-6) == {0: 1}
    assert choose_mixture(scores, 2, least_gain=gain - 1e-6) == {0: 1, 1: 1}


def test_rows_without_weight_do_not_count() -> None:
    scores = torch.tensor([[0.0, -9.0, -math.inf], [-9.0, 0.0, 0.0]])
    weights = torch.tensor([1.0, 0.0, 0.0])
    assert choose_mixture(scores, 2, weights) == {0: 1}


def test_no_density_at_a_row_in_one_flow() -> None:
    scores = torch.tensor([[-1.0, -1.0], [1.0, -math.inf]])
    assert list(choose_mixture(scores, 2)) == [0, 1]


@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 1000))
def test_never_worse_than_the_best_alone(flows: int, rows: int, seed: int) -> None:
    scores = 2 * torch.randn(flows, rows, generator=torch.Generator().manual_seed(seed)).double()
    picked = choose_mixture(scores, flows)
    assert nll(scores, picked) <= min(nll(scores, {k: 1}) for k in range(flows)) + 1e-9
