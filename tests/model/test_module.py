"""The flow as a torch module: the same density, and gradients by rows, context and weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from flows.kinds import KINDS, fresh, spec_of
from torch import Tensor

from nfopt.data import ColumnHint, Preprocessing
from nfopt.flows import build
from nfopt.model import Flow

from .toys import COLUMNS, affine, context_of, make_flow, noise, spline, table

HINTS = [ColumnHint(step=1.0), ColumnHint(low=0.0, step=0.1), ColumnHint(low=0.0, high=1.0)]
MAPS = ("asinh", "quantile", "standardise", "asinh,standardise,quantile,quantile,asinh")


def mixture(context: int = 0) -> Flow:
    """Members of two shapes, each with marginal maps of its own, and shares that differ."""
    flow = make_flow([affine(context), affine(context), spline(context), affine(context)])
    given = context_of(flow, 300)
    maps = [
        Preprocessing.fit(
            table(),
            COLUMNS,
            HINTS,
            marginals=",".join(kinds.split(",")[: 3 + context]),
            context=given,
            context_columns=flow.context_columns,
        )
        for kinds in MAPS
    ]
    weights = [flow.weights(member) for member in range(len(flow))]
    return Flow(flow.specs, weights, maps, shares=[4, 2, 1, 1])


def rows(count: int = 60) -> np.ndarray:
    """Rows of the data, some beyond all knots, one at a median, two on a bound of a tied column."""
    x = table(count, seed=2)
    x[:3, 0] = 5000, -3000, np.median(table()[:, 0])
    x[3:5, 1] = 0.0
    return x


def tensors(x: np.ndarray, given: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
    seen = None if given is None else torch.from_numpy(given.copy()).requires_grad_()
    return torch.from_numpy(x.copy()).requires_grad_(), seen


@pytest.mark.parametrize("context", [0, 2])
def test_a_mixture_with_maps_of_its_own_for_each_member(context: int) -> None:
    flow = mixture(context)
    given = context_of(flow, 60)
    x, seen = tensors(rows(), given)
    found = flow.log_prob_torch(x, seen)
    np.testing.assert_allclose(
        found.detach(), flow.log_prob(x.detach().numpy(), given, dtype="float64"), rtol=1e-11
    )
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.isfinite().all()
    if context:
        assert seen is not None
        assert seen.grad is not None
        assert (seen.grad != 0).any()


def test_any_flow_has_the_same_density(flow: Flow) -> None:
    x, given = table(40, seed=2), context_of(flow, 40)
    wide, seen = tensors(x, given)
    single = None if seen is None else seen.float()
    np.testing.assert_allclose(
        flow.log_prob_torch(wide.float(), single).detach(), flow.log_prob(x, given), atol=1e-3
    )
    # any shape of rows, one context for all
    shaped = flow.log_prob_torch(wide.view(5, 8, 3), None if seen is None else seen[0])
    one = None if given is None else given[0]
    np.testing.assert_allclose(
        shaped.detach().flatten(), flow.log_prob(x, one, dtype="float64"), rtol=1e-11
    )
    assert shaped.shape == (5, 8)
    assert flow.log_prob_torch(wide[0], None if seen is None else seen[0]).shape == ()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_by_rows_is_the_slope(kind: str) -> None:
    specs = [spec_of(kind, 3, 0, member) for member in range(3)]
    (stack,) = build(specs, torch.Generator().manual_seed(7))
    with torch.no_grad():
        stack.theta += 0.2 * stack.active * noise(stack.theta.shape, seed=1)
    flow = Flow.of(stack, Preprocessing.fit(table(), COLUMNS, HINTS, marginals="asinh"))
    module = flow.module(dtype=torch.float64).requires_grad_(False)
    x, _ = tensors(table(4, seed=4), None)
    assert torch.autograd.gradcheck(module, (x,), eps=1e-7, atol=1e-4, rtol=1e-3)


def test_a_row_outside_has_no_density_and_a_gradient_of_zero() -> None:
    flow = mixture()
    x, _ = tensors(rows(), None)
    with torch.no_grad():
        x[0, 2], x[1, 1] = 1.0, -3.0
    found = flow.log_prob_torch(x)
    assert np.isneginf(flow.log_prob(x.detach().numpy())[:2]).all()
    assert found[:2].tolist() == [-torch.inf] * 2
    found[2:].sum().backward()  # type: ignore[no-untyped-call]
    (own,) = torch.autograd.grad(flow.log_prob_torch(x)[:2].sum(), x)
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert not own.isnan().any()
    with torch.no_grad():
        x[5] = torch.nan
        assert flow.log_prob_torch(x)[5].isnan()


def test_a_row_far_away_has_none_either() -> None:
    flow = make_flow([affine()] * 2)
    x = table(3)
    x[0, 0] = 1e200
    expected = flow.log_prob(x)
    assert np.isneginf(expected[0])
    with torch.no_grad():
        np.testing.assert_allclose(flow.module()(torch.from_numpy(x)), expected, atol=1e-4)


def test_the_weights_can_be_trained() -> None:
    flow = mixture()
    module, x = flow.module(), torch.from_numpy(table())
    before = {name: one.clone() for name, one in module.state_dict().items()}
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        optimiser.zero_grad()
        loss = -module(x).mean()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.1
    moved = {name for name, one in module.state_dict().items() if (one != before[name]).any()}
    assert moved == {name for name, _ in module.named_parameters()}  # maps and shares stay
    # the flow itself is as it was
    with torch.no_grad():
        fresh_one = flow.module()(x)
    assert torch.allclose(fresh_one, torch.from_numpy(flow.log_prob(x.numpy())), atol=1e-3)
    # a copy, and the weights read back, score alike
    twin, loaded = copy.deepcopy(module), flow.module()
    loaded.load_state_dict(module.state_dict())
    with torch.no_grad():
        assert torch.equal(twin(x), module(x))
        assert torch.equal(loaded(x), module(x))


def test_precision_may_change_and_the_maps_keep_theirs() -> None:
    flow = mixture()
    x = torch.from_numpy(rows())
    with torch.no_grad():
        exact = flow.module(dtype="float64")(x)
        there = flow.module().double()
        assert {one.dtype for one in there.parameters()} == {torch.float64}
        assert torch.equal(there(x), exact)
        back = flow.module(dtype="float64").float()
        assert {one.dtype for one in back.parameters()} == {torch.float32}
        buffers = [one for _, one in back.named_buffers() if one.is_floating_point()]
        assert {one.dtype for one in buffers} == {torch.float64}
        assert torch.equal(back.double()(x), exact)


@pytest.mark.parametrize(
    ("x", "context", "text"),
    [
        (torch.zeros(4, 2), torch.zeros(4, 2), "`x` must be of floats and have 3 columns"),
        (torch.zeros(4, 3, dtype=torch.int64), None, "`x` must be of floats"),
        (torch.tensor(1.0), None, "`x` must be of floats"),
        (torch.zeros(4, 3), None, "`context` must have 2 columns for this flow, got None"),
        (torch.zeros(4, 3), torch.zeros(4, 3), "`context` must have 2 columns for this flow"),
        (torch.zeros(4, 3), torch.zeros(5, 2), "`context` must have shape"),
    ],
)
def test_wrong_shapes_are_named(x: Tensor, context: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        mixture(2).log_prob_torch(x, context)
    with pytest.raises(ValueError, match="must have no columns"):
        mixture().log_prob_torch(torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(TypeError, match="`x` must be a tensor, got ndarray"):
        mixture().log_prob_torch(np.zeros((4, 3)))  # type: ignore[arg-type]


def test_rows_of_none() -> None:
    """A stack maps an empty batch, too."""
    stack = fresh("coupling affine", 3)
    assert stack.log_prob(torch.zeros(0, 3)).shape == (3, 0)
    assert mixture().log_prob_torch(torch.zeros(0, 3)).shape == (0,)
