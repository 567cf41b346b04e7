"""Which flows are mixed: exact cases, and what holds for any scores."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from nfopt.runner.ensemble import choose_members
from nfopt.study.results import mixture


def nll(scores: torch.Tensor, chosen: list[int]) -> float:
    return -float(mixture(scores[chosen]).mean())


def test_flows_that_fail_on_different_rows_are_mixed() -> None:
    scores = torch.tensor([[0.0, -9.0, 0.0], [-9.0, 0.0, 0.0], [-3.1, -3.0, -3.0]])
    assert choose_members(scores, 3) == [0, 1]
    assert nll(scores.double(), [0, 1]) < 1.0


def test_equal_flows_are_not_mixed() -> None:
    assert choose_members(torch.zeros(4, 5), 4) == [0]


def test_the_best_comes_first_and_the_limit_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(6, 200, generator=generator)
    scores[4] += 1.0
    assert choose_members(scores, 1) == [4]
    assert len(choose_members(scores, 3)) == 3
    assert choose_members(scores, 3) == choose_members(scores, 6)[:3]


def test_a_gain_that_is_too_small_is_left_alone() -> None:
    scores = torch.tensor([[0.0, -1.0], [-1.0, -0.01]])
    gain = nll(scores.double(), [0]) - nll(scores.double(), [0, 1])
    assert choose_members(scores, 2, least_gain=gain + 1e-6) == [0]
    assert choose_members(scores, 2, least_gain=gain - 1e-6) == [0, 1]


def test_rows_without_weight_do_not_count() -> None:
    scores = torch.tensor([[0.0, -9.0, -50.0], [-9.0, 0.0, 0.0]])
    weights = torch.tensor([1.0, 0.0, 0.0])
    assert choose_members(scores, 2, weights) == [0]


def test_no_density_at_a_row_in_one_flow() -> None:
    scores = torch.tensor([[-1.0, -1.0], [1.0, -math.inf]])
    assert choose_members(scores, 2) == [0, 1]


@given(st.integers(1, 5), st.integers(1, 20), st.integers(0, 1000))
def test_never_worse_than_the_best_alone(flows: int, rows: int, seed: int) -> None:
    scores = 2 * torch.randn(flows, rows, generator=torch.Generator().manual_seed(seed)).double()
    chosen = choose_members(scores, flows)
    assert len(set(chosen)) == len(chosen)
    assert nll(scores, chosen) <= min(nll(scores, [k]) for k in range(flows)) + 1e-9
