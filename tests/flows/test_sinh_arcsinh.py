"""The sinh-arcsinh map is the published one, draws tails in, and is searched where asked for."""

from __future__ import annotations

import math

import pytest
import torch

from nfopt.autonf import options_of
from nfopt.flows import maps
from nfopt.flows.sinh_arcsinh import LOG_TAIL_LIMIT, REACH
from nfopt.layers import map_of
from nfopt.space import KEYS, SearchSpace, parse_limits
from nfopt.spec import SinhArcsinh


def test_it_is_the_published_map() -> None:
    x = torch.linspace(-50, 50, 401, dtype=torch.float64).view(1, 1, -1).requires_grad_()
    skew, tail = -0.7, 1.6
    raw = math.log(tail) / (1 - math.log(tail) / LOG_TAIL_LIMIT)  # undoes the soft clip
    parameters = torch.tensor([skew, raw], dtype=torch.float64).view(1, 2, 1, 1)
    y, log_derivative = maps.of(SinhArcsinh()).forward(x, parameters.expand(-1, -1, -1, 401))
    wanted = torch.sinh(tail * torch.asinh(x) + skew)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    (slope,) = torch.autograd.grad(wanted.sum(), x)
    assert log_derivative is not None
    torch.testing.assert_close(log_derivative, slope.log(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("raw", [-1e6, 0.0, 1e6])
def test_far_out_it_is_straight_and_comes_back(raw: float) -> None:
    x = torch.tensor([-1e30, -1e8, -REACH, 0.0, REACH, 1e8, 1e30]).view(1, 1, -1).requires_grad_()
    parameters = torch.tensor([3.0, raw]).view(1, 2, 1, 1).repeat(1, 1, 1, 7).requires_grad_()
    y, log_derivative = maps.of(SinhArcsinh()).forward(x, parameters)
    assert (y.diff() > 0).all()
    assert log_derivative is not None
    assert log_derivative.abs().max() < math.log(4 * 1.01 * REACH)
    back = maps.of(SinhArcsinh()).inverse(y, parameters)
    assert ((back - x).abs() <= 1e-3 * x.abs().clamp_min(1)).all()
    gradients = torch.autograd.grad(y.sum() + log_derivative.sum() + back.sum(), (x, parameters))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_it_is_searched_where_asked_for() -> None:
    assert KEYS["maps"].default == ("spline", "affine")
    space = SearchSpace.create(3, 500, kind="coupling", limits=parse_limits(["maps=sinh_arcsinh"]))
    assert space.limits["maps"] == ("sinh_arcsinh",)
    assert not {"bins", "bound"} & set(space.parameters)  # which it has not
    params = {name: domain.middle() for name, domain in space.parameters.items()}
    recipe = space.build(params)
    flow = recipe.flow
    assert {scalar for layer in flow.layers if (scalar := map_of(layer))} == {SinhArcsinh()}
    assert space.build(space.params_of(recipe)).flow == flow
    both = SearchSpace.create(3, 500, kind="coupling", limits={"maps": ["spline", "sinh_arcsinh"]})
    assert {"map", "bins"} <= set(both.parameters)
    (option,) = options_of("sinh_arcsinh-coupling", 3)
    assert option.name == "sinh_arcsinh-coupling"
