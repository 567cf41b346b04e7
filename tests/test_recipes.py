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
    assert len({each.digest() for each in trials}) == len(trials)
    space = SearchSpace.for_data(values, recipes=trials)
    for each in trials:
        flow, train = each.flow, each.train
        rebuilt = space.build(space.params_of(each))
        found, trained = rebuilt.flow, rebuilt.train
        assert rebuilt.marginals == each.marginals == "asinh"
        assert found == flow
        assert trained.dropout == train.dropout
        assert trained.steps == train.steps
        (stack,) = build([flow], torch.Generator().manual_seed(0))
        assert torch.isfinite(stack.log_prob(torch.from_numpy(values[:8]))).all()


@pytest.mark.parametrize(
    ("features", "counts"), [(3, []), (4, [2]), (12, [2, 4, 8]), (70, [2, 4, 8, 16])]
)
def test_where_rows_are_few_sparse_flows_are_tried(features: int, counts: list[int]) -> None:
    """After the recipe; each feature has so many parents at most; the default space has them."""
    values = np.random.default_rng(0).normal(size=(300, features)).astype(np.float32)
    dense = first_trials(features, len(values))
    trials = first_trials(features, len(values), values=values)
    found = trials[1 : 1 + len(counts)]
    assert [*trials[:1], *trials[1 + len(counts) :]] == dense
    space = SearchSpace.for_data(values, recipes=trials)
    for each, count in zip(found, counts, strict=True):
        flow, train = each.flow, each.train
        assert max(len(row) for layer in flow.layers for row in layer.parents) == count
        rebuilt = space.build(space.params_of(each))
        assert rebuilt.flow == flow
        assert rebuilt.train.learning_rate == pytest.approx(train.learning_rate)
        (stack,) = build([flow], torch.Generator().manual_seed(0))
        assert torch.isfinite(stack.log_prob(torch.from_numpy(values[:8]))).all()


def test_where_rows_are_many_no_sparse_flow_is_tried() -> None:
    values = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32)
    assert first_trials(6, len(values), values=values) == first_trials(6, len(values))


def test_context_reaches_every_recipe() -> None:
    for each in first_trials(3, 1000, context_features=2):
        assert each.flow.context_features == 2


def test_few_rows_are_trained_with_dropout_and_many_for_longer() -> None:
    few, many = recipe(30, 1_000).train, recipe(30, 100_000).train
    assert few.dropout > many.dropout
    assert few.steps < many.steps


def test_couplings_transform_every_feature() -> None:
    masks = [layer.mask for layer in couplings(5).layers if layer.kind == "coupling"]
    assert all(any(mask[i] == "T" for mask in masks) for i in range(5))
