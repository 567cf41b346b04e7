"""Scalar maps at hard parameters; the spline against an independent one and against zuko's."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from nfopt.flows import Stack, build, maps, spline
from nfopt.flows.linear import LULayer
from nfopt.spec import (
    LU,
    Affine,
    Elementwise,
    FlowSpec,
    Planar,
    Radial,
    ScalarMap,
    Spline,
)

from . import kinds

MAPS: dict[str, ScalarMap] = {
    **kinds.MAPS,
    "spline": Spline(),
    "spline of 2 bins": Spline(bins=2, bound=1.0),
    "spline of 32 bins": Spline(bins=32, bound=8.0),
}
every_map = pytest.mark.parametrize("name", MAPS)


def draw(
    scalar_map: ScalarMap, scale: float, dtype: torch.dtype, count: int = 400
) -> tuple[Tensor, Tensor]:
    """Values (3, 5, B) in and around the box, and parameters for each."""
    generator = torch.Generator().manual_seed(11)
    each = scalar_map.parameters()
    parameters = scale * torch.randn(3, each, 5, count, generator=generator, dtype=torch.float64)
    reach = 1.2 * scalar_map.bound if isinstance(scalar_map, Spline) else 4.0
    x = reach * (2 * torch.rand(3, 5, count, generator=generator, dtype=torch.float64) - 1)
    return x.to(dtype), parameters.to(dtype)


@every_map
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_parameters_are_the_identity(name: str, dtype: torch.dtype) -> None:
    x, parameters = draw(MAPS[name], 0.0, dtype)
    y, log_derivative = maps.of(MAPS[name]).forward(x, parameters)
    rounding = 8 * torch.finfo(dtype).eps
    assert ((y - x).abs() <= rounding * x.abs().clamp_min(1)).all()
    assert log_derivative is None or log_derivative.abs().max() <= 8 * rounding
    assert (maps.of(MAPS[name]).inverse(x, parameters) - x).abs().max() <= 8 * rounding


@every_map
def test_the_inverse_is_finite_at_scale_100(name: str) -> None:
    x, parameters = draw(MAPS[name], 100.0, torch.float32)
    assert maps.of(MAPS[name]).inverse(x, parameters).isfinite().all()
    y, log_derivative = maps.of(MAPS[name]).forward(x, parameters)
    assert y.isfinite().all()
    assert log_derivative is None or log_derivative.isfinite().all()
    assert maps.of(MAPS[name]).inverse(y, parameters).isfinite().all()


@every_map
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-8)])
def test_the_round_trip_at_scale_10(name: str, dtype: torch.dtype, tolerance: float) -> None:
    y, parameters = draw(MAPS[name], 10.0, dtype, count=4000)
    x = maps.of(MAPS[name]).inverse(y, parameters)
    again, log_derivative = maps.of(MAPS[name]).forward(x, parameters)
    assert (again - y).abs().max() < tolerance
    # The other way round, where the map is flat, y has not the digits to tell two x apart: with a
    # slope of 1e-8 in float32 not one. What is lost must be what the rounding of y explains.
    y, log_derivative = maps.of(MAPS[name]).forward(x, parameters)
    slope = torch.ones_like(x) if log_derivative is None else log_derivative.exp()
    back = maps.of(MAPS[name]).inverse(y, parameters)
    assert ((back - x).abs() * slope.clamp_max(1)).max() < tolerance


@pytest.mark.parametrize("scale", [1.0, 10.0])
@pytest.mark.parametrize("features", [2, 64])
def test_lu_inverts_finitely(features: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(2)
    for dtype, tolerance in ((torch.float32, 0.5), (torch.float64, 1e-8)):
        stack = Stack([FlowSpec(features=features, layers=(LU(),))] * 8, dtype=dtype)
        with torch.no_grad():
            stack.theta.copy_(scale * torch.randn(stack.theta.shape, generator=generator))
        x = torch.randn(50, features, generator=generator, dtype=dtype)
        z, log_det = stack.forward(x)
        assert log_det.isfinite().all()
        assert stack.inverse(x).isfinite().all()
        assert (stack.inverse(z) - x).abs().max() < tolerance


def test_lu_triangles_stay_bounded() -> None:
    stack = Stack([FlowSpec(features=64, layers=(LU(),))])
    with torch.no_grad():
        stack.theta.fill_(-1e4)  # all off-diagonals at their bound, of one sign
    assert stack.inverse(torch.ones(1, 64)).isfinite().all()
    assert isinstance(stack.layers[0], LULayer)
    assert stack.layers[0].bound == 0.25


@pytest.mark.parametrize("features", [1, 2, 64])
@pytest.mark.parametrize("layer", [Planar(), Radial()])
@pytest.mark.parametrize("scale", [10.0, 100.0])
def test_planar_and_radial_stay_invertible(
    layer: Planar | Radial, features: int, scale: float
) -> None:
    generator = torch.Generator().manual_seed(4)
    for dtype in (torch.float32, torch.float64):
        stack = Stack([FlowSpec(features=features, layers=(layer,))] * 200, dtype=dtype)
        with torch.no_grad():
            stack.theta.copy_(scale * torch.randn(stack.theta.shape, generator=generator))
        x = torch.randn(20, features, generator=generator, dtype=dtype)
        x[:2] *= 1e-9  # where a planar layer bends most, and next to nothing for a radial one
        with torch.no_grad():
            stack.theta[:100, -1] = 0
        z, log_det = stack.forward(x)
        assert log_det.isfinite().all()
        error = (stack.inverse(z) - x).abs().max() / (scale**2 * features)
        assert error < 1e3 * torch.finfo(dtype).eps


def plain_spline(x: Tensor, raw: Tensor, bins: int, bound: float) -> tuple[Tensor, Tensor]:
    """Durkan et al. 2019, equations 4 and 5, one value at a time and nothing clever."""
    ys, logs = [], []
    limit = torch.tensor(1e3, dtype=x.dtype).log()
    for value, own in zip(x.reshape(-1), raw.movedim(1, -1).reshape(-1, raw.shape[1]), strict=True):
        if value.abs() >= bound:
            ys.append(value)
            logs.append(0 * value)
            continue
        sizes = own[: 2 * bins].view(2, bins)
        sizes = 2 * bound * torch.softmax(sizes / (1 + (2 * sizes / limit).abs()), 1)
        zero, one = torch.zeros(1, dtype=x.dtype), torch.ones(1, dtype=x.dtype)
        knots_x = torch.cat((zero, sizes[0].cumsum(0))) - bound
        knots_y = torch.cat((zero, sizes[1].cumsum(0))) - bound
        inner = own[2 * bins :]
        slopes = torch.cat((one, (inner / (1 + (inner / limit).abs())).exp(), one))
        k = int((value.detach() >= knots_x[1:-1].detach()).sum())
        s = sizes[1, k] / sizes[0, k]
        xi = (value - knots_x[k]) / sizes[0, k]
        below = s + (slopes[k + 1] + slopes[k] - 2 * s) * xi * (1 - xi)
        ys.append(knots_y[k] + sizes[1, k] * (s * xi**2 + slopes[k] * xi * (1 - xi)) / below)
        above = slopes[k + 1] * xi**2 + 2 * s * xi * (1 - xi) + slopes[k] * (1 - xi) ** 2
        logs.append((s**2 * above / below**2).log())
    return torch.stack(ys).view(x.shape), torch.stack(logs).view(x.shape)


def small(bins: int, scale: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(bins)
    x = 4 * torch.rand(2, 3, 12, generator=generator, dtype=torch.float64) - 2
    raw = scale * torch.randn(2, 3 * bins - 1, 3, 12, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), raw.requires_grad_()


@pytest.mark.parametrize("bins", [2, 3, 8])
@pytest.mark.parametrize("scale", [0.5, 5.0])
def test_the_spline_and_its_gradient_agree_with_plain_autograd(bins: int, scale: float) -> None:
    x, raw = small(bins, scale)
    y, log_derivative = spline.forward(x, raw, bins, 1.5)
    wanted_y, wanted_log = plain_spline(x, raw, bins, 1.5)
    torch.testing.assert_close(y, wanted_y, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_derivative, wanted_log, rtol=1e-10, atol=1e-10)
    gy, gl = torch.linspace(-1, 2, 72, dtype=torch.float64).view(2, 2, 3, 6).repeat(1, 1, 1, 2)
    ours = torch.autograd.grad((y * gy + log_derivative * gl).sum(), (x, raw))
    theirs = torch.autograd.grad((wanted_y * gy + wanted_log * gl).sum(), (x, raw))
    for mine, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-8, atol=1e-8)


def test_the_spline_passes_gradcheck() -> None:
    x, raw = small(4, 1.0)
    x, raw = (x[:1, :, :4].detach().requires_grad_(), raw[:1, :, :, :4].detach().requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: spline.forward(a, b, 4, 1.5), (x, raw))
    assert torch.autograd.gradcheck(lambda a, b: spline.inverse(a, b, 4, 1.5), (x, raw))


@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
def test_gradients_on_edges_and_knots_are_finite(scale: float) -> None:
    bins, bound = 4, 2.0
    generator = torch.Generator().manual_seed(0)
    raw = scale * torch.randn(3 * bins - 1, generator=generator)
    sizes = maps.soft_clip(raw[: 2 * bins].view(2, bins), spline.SIZE_LIMIT).softmax(1)
    for side in (0, 1):  # the knots themselves, the edges, far outside
        knots = 2 * bound * sizes[side].cumsum(0) - bound
        spots = torch.cat((knots, torch.tensor([-bound, bound, 0.0, 1e30, -1e30, 2.0000002])))
        x = spots.view(1, 1, -1).clone().requires_grad_()
        parameters = raw.view(1, -1, 1, 1).repeat(1, 1, 1, len(spots)).requires_grad_()
        y, log_derivative = spline.forward(x, parameters, bins, bound)
        back = spline.inverse(x, parameters, bins, bound)
        for out in (y, log_derivative, back):
            assert out.isfinite().all()
            gradients = torch.autograd.grad(
                out.sum(), (x, parameters), retain_graph=True, allow_unused=True
            )
            assert all(g is None or g.isfinite().all() for g in gradients)
        outside = x.abs() >= bound
        assert torch.equal(y[outside], x[outside])
        assert torch.equal(back[outside], x[outside])


def test_the_spline_is_increasing_and_keeps_its_box() -> None:
    x = torch.linspace(-6, 6, 5000, dtype=torch.float64).view(1, 1, -1)
    generator = torch.Generator().manual_seed(1)
    for scale in (1.0, 10.0, 100.0):
        raw = scale * torch.randn(1, 23, 1, 1, generator=generator, dtype=torch.float64)
        y, _ = spline.forward(x, raw.expand(-1, -1, -1, 5000), 8, 5.0)
        assert (y.diff(dim=-1) >= 0).all()
        assert (y[x.abs() < 5].abs() <= 5 + 1e-12).all()


def test_the_maps_are_zukos() -> None:
    x, raw = draw(Spline(bins=6, bound=3.0), 2.0, torch.float64)
    y, log_derivative = spline.forward(x, raw, 6, 3.0)
    apart = raw.movedim(1, -1).split((6, 6, 5), -1)
    wanted, wanted_log = MonotonicRQSTransform(*apart, bound=3.0).call_and_ladj(x)
    torch.testing.assert_close(y, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(log_derivative, wanted_log, rtol=1e-9, atol=1e-9)
    x, raw = draw(Affine(), 2.0, torch.float64)
    y, affine_log = maps.of(Affine()).forward(x, raw)
    wanted, wanted_log = MonotonicAffineTransform(raw[:, 0], raw[:, 1]).call_and_ladj(x)
    torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(affine_log, wanted_log, rtol=1e-12, atol=1e-12)


def test_a_step_frees_its_tensors_without_the_garbage_collector() -> None:
    """A tensor kept on `ctx` would make a circle: three quarters of the speed were lost to it."""
    (stack,) = build([FlowSpec(features=2, layers=(Elementwise(map=Spline()),))], torch.Generator())
    gc.collect()
    gc.disable()
    try:
        before = sum(type(one) is torch.Tensor for one in gc.get_objects())
        for _ in range(5):
            stack.log_prob(torch.ones(4, 2)).sum().backward()  # type: ignore[no-untyped-call]
        after = sum(type(one) is torch.Tensor for one in gc.get_objects())
    finally:
        gc.enable()
    assert after - before <= 1  # theta.grad
