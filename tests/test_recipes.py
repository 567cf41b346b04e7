"""The recipes: flows that can be built, and that the default search space can hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from nfopt.flows import build
from nfopt.recipes import couplings, portfolio, recipe
from nfopt.space import SearchSpace


@pytest.mark.parametrize("features", [1, 2, 9])
def test_first_trials_can_be_built_and_searched(features: int) -> None:
    values = np.random.default_rng(0).normal(size=(200, features)).astype(np.float32)
    trials = portfolio(features, len(values))
    assert trials[0] == recipe(features, len(values))
    assert len({each.digest() for each in trials}) == len(trials)
    space = SearchSpace.for_data(values, recipes=trials)
    for each in trials:
        flow, train = each.flow, each.train
        rebuilt = space.build(space.params_of(each))
        found, trained = rebuilt.flow, rebuilt.train
        assert rebuilt.marginals == each.marginals
        assert found == flow
        assert trained.dropout == train.dropout
        assert trained.steps == train.steps
        (stack,) = build([flow], torch.Generator().manual_seed(0))
        assert torch.isfinite(stack.log_prob(torch.from_numpy(values[:8]))).all()


@pytest.mark.parametrize(
    ("features", "counts"), [(3, []), (4, [2]), (12, [8, 2, 4]), (70, [8, 16, 2, 4])]
)
def test_where_rows_are_few_sparse_flows_are_tried(features: int, counts: list[int]) -> None:
    """After the dense ones of the recipe's shape; the default space has them."""
    values = np.random.default_rng(0).normal(size=(300, features)).astype(np.float32)
    dense = portfolio(features, len(values))
    trials = portfolio(features, len(values), values=values)
    found = [each for each in trials if each not in dense]
    assert [each for each in trials if each in dense] == dense
    assert all(trials.index(each) > trials.index(dense[4]) for each in found)
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
    assert portfolio(6, len(values), values=values) == portfolio(6, len(values))


def test_context_reaches_every_recipe() -> None:
    for each in portfolio(3, 1000, context_features=2):
        assert each.flow.context_features == 2


def test_few_rows_are_trained_with_dropout_and_many_for_longer() -> None:
    few, many = recipe(30, 1_000).train, recipe(30, 100_000).train
    assert few.dropout > many.dropout
    assert few.steps < many.steps


def test_couplings_transform_every_feature() -> None:
    masks = [layer.mask for layer in couplings(5).layers if layer.kind == "coupling"]
    assert all(any(mask[i] == "T" for mask in masks) for i in range(5))


@pytest.mark.parametrize("rows", [300, 20_000])
def test_recipes_of_one_shape_stand_together_and_differ_in_more_than_the_flow(rows: int) -> None:
    found = portfolio(4, rows)
    shapes = [each.flow.shape_key() for each in found]
    changes = sum(one != other for one, other in pairwise(shapes))
    assert changes == len(set(shapes)) - 1
    leading = [each for each in found if each.flow == found[0].flow]
    assert {each.marginals for each in leading} == {"asinh", "standardise", "quantile"}
    assert len({each.train.steps for each in found}) == 1, "trials of one study compare"
