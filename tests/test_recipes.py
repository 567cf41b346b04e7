"""The recipes: flows that can be built, and that the default search space can hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nfopt.flows import build
from nfopt.recipes import couplings, first_trials, recipe
from nfopt.space import SearchSpace


@pytest.mark.parametrize("features", [1, 2, 9])
def test_first_trials_can_be_built_and_searched(features: int) -> None:
    values = np.random.default_rng(0).normal(size=(200, features)).astype(np.float32)
    trials = first_trials(features, len(values))
    assert trials[0] == recipe(features, len(values))
    assert len({(flow.digest(), train.to_json()) for flow, train in trials}) == len(trials)
    space = SearchSpace.for_data(values, recipes=trials)
    for flow, train in trials:
        found, trained = space.build(space.params_of(flow, train))
        assert found == flow
        assert trained.dropout == train.dropout
        assert trained.steps == train.steps
        (stack,) = build([flow], torch.Generator().manual_seed(0))
        assert torch.isfinite(stack.log_prob(torch.from_numpy(values[:8]))).all()


def test_context_reaches_every_recipe() -> None:
    for flow, _ in first_trials(3, 1000, context_features=2):
        assert flow.context_features == 2


def test_few_rows_are_trained_with_dropout_and_many_for_longer() -> None:
    few, many = recipe(30, 1_000)[1], recipe(30, 100_000)[1]
    assert few.dropout > many.dropout
    assert few.steps < many.steps


def test_couplings_transform_every_feature() -> None:
    masks = [layer.mask for layer in couplings(5).layers if layer.kind == "coupling"]
    assert all(any(mask[i] == "T" for mask in masks) for i in range(5))
