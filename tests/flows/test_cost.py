"""Counted costs: what is in them, and what they are compared with."""

from __future__ import annotations

import pytest

from nfopt.autonf import options_of, spec_of
from nfopt.flows.cost import CALLS, step_cost, train_cost
from nfopt.spec import LU, FlowSpec, Reverse


def test_a_step_costs_its_products_and_a_call_of_each_layer() -> None:
    options = options_of("types", 8)
    for k, three in enumerate([(k,) * 3 for k in range(len(options))]):
        one, more = spec_of(options, (k,), 8), spec_of(options, three, 8)
        assert step_cost(one) == pytest.approx(train_cost(one) + CALLS)
        assert step_cost(more) == pytest.approx(3 * step_cost(one))


def test_what_only_moves_features_is_no_call() -> None:
    flow = FlowSpec(features=3, layers=(Reverse(), LU()))
    assert step_cost(flow) == train_cost(flow) > 0


def test_a_large_layer_is_less_dear_than_its_products_say() -> None:
    small, large = (
        spec_of(options_of("types", 36), (k,), 36) for k in (2, 1)
    )  # affine coupling, spline autoregressive
    assert 2 < step_cost(large) / step_cost(small) < train_cost(large) / train_cost(small)
