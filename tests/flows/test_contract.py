"""One contract, run over the table of all layer kinds (kinds.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nfopt.flows import Stack, build

from .kinds import CASES, IDS, KINDS, MEMBERS, fresh, rows, spec_of, trained

every_case = pytest.mark.parametrize(("kind", "features", "context"), CASES, ids=IDS)


@every_case
def test_the_contract(kind: str, features: int, context: int, tmp_path: Path) -> None:
    # One test a case: training is the dear part, and what is trained is used by all.
    start, stack = fresh(kind, features, context), trained(kind, features, context)
    x, given = rows(40, features, context)
    shapes(stack, x, given)
    round_trip(start, x, given)
    round_trip(stack, x, given)
    log_determinant(stack, x[:3], None if given is None else given[:3])
    gradients(stack, features, context)
    alone(stack, x, given)
    compaction(stack, x, given)
    save_and_load(stack, x, given, tmp_path / "flow.safetensors")


@torch.no_grad()
def shapes(stack: Stack, x: Tensor, given: Tensor | None) -> None:
    z, log_det = stack.forward(x, given)
    assert z.shape == (MEMBERS, *x.shape)
    assert log_det.shape == stack.log_prob(x, given).shape == (MEMBERS, len(x))
    assert stack.inverse(z, given).shape == z.shape
    own = [None if one is None else one.expand(MEMBERS, -1, -1) for one in (x, given)]
    shared = stack.log_prob(x, given)
    assert own[0] is not None
    torch.testing.assert_close(stack.log_prob(own[0], own[1]), shared, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(stack.log_prob(x, own[1]), shared, atol=1e-10, rtol=1e-10)
    drawn = stack.sample(5, torch.Generator().manual_seed(0), None if given is None else given[:5])
    assert drawn.shape == (MEMBERS, 5, x.shape[1])
    assert drawn.isfinite().all()


@torch.no_grad()
def round_trip(stack: Stack, x: Tensor, given: Tensor | None) -> None:
    z, _ = stack.forward(x, given)
    assert (stack.inverse(z, given) - x).abs().max() < 1e-8
    single = stack.to(dtype=torch.float32)
    z, _ = single.forward(x.float(), given)
    # a dozen layers add their rounding up
    tolerance = 1e-3 if len(stack.layers) <= 2 else 1e-2
    assert (single.inverse(z, given) - x).abs().max() < tolerance


def log_determinant(stack: Stack, x: Tensor, given: Tensor | None) -> None:
    x = x.repeat(MEMBERS, 1, 1).requires_grad_()
    z, log_det = stack.forward(x, given)
    each = [
        torch.autograd.grad(z[:, :, k].sum(), x, retain_graph=True)[0] for k in range(x.shape[2])
    ]
    sign, wanted = torch.linalg.slogdet(torch.stack(each, 2))
    assert (sign != 0).all()
    assert (log_det - wanted).abs().max() < 1e-8


def gradients(stack: Stack, features: int, context: int) -> None:
    active = stack.active
    assert active.sum(1).tolist() == [spec.parameter_count() for spec in stack.specs]
    if stack.theta.numel() == 0:
        return
    x, given = rows(300, features, context)
    weight = torch.linspace(0.5, 1.5, len(x), dtype=x.dtype)  # at an optimum the plain mean's is 0
    (grad,) = torch.autograd.grad((stack.log_prob(1.5 * x, given) * weight).sum(), stack.theta)
    assert (grad[~active] == 0).all()
    assert (grad[active] != 0).all()
    assert (stack.theta[~active & padded(stack)] == 0).all()


def padded(stack: Stack) -> Tensor:
    """What belongs to no member: the part of theta that `weights` does not name."""
    own = torch.ones_like(stack.theta, dtype=torch.bool)
    for member in range(len(stack)):
        for _, view in stack._own(own, member):
            view.fill_(False)
    return own


@torch.no_grad()
def alone(stack: Stack, x: Tensor, given: Tensor | None) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        together = stack.to(dtype=dtype)
        wanted = together.log_prob(x.to(dtype), given)
        for member, spec in enumerate(stack.specs):
            (single,) = build([spec], torch.Generator().manual_seed(99), dtype=dtype)
            single.load_weights(0, together.weights(member))
            difference = (single.log_prob(x.to(dtype), given)[0] - wanted[member]).abs()
            assert (difference / wanted[member].abs().clamp_min(1)).max() < tolerance


def compaction(stack: Stack, x: Tensor, given: Tensor | None) -> None:
    small = stack.select([2, 0])
    assert small.specs == (stack.specs[2], stack.specs[0])
    assert small.positions == (2, 0)
    assert small.theta.is_leaf
    assert small.theta.requires_grad
    wanted = stack.log_prob(x, given)[[2, 0]]
    assert (small.log_prob(x, given) - wanted).abs().max() < 1e-10
    if stack.theta.numel():
        with torch.no_grad():
            small.theta += 1
        assert (stack.log_prob(x, given)[[2, 0]] - wanted).abs().max() == 0


@torch.no_grad()
def save_and_load(stack: Stack, x: Tensor, given: Tensor | None, path: Path) -> None:
    for member in (0, 2):
        save_file(stack.weights(member), path)
        (other,) = build(stack.specs, torch.Generator().manual_seed(5), dtype=stack.dtype)
        other.load_weights(member, load_file(path))
        assert torch.equal(other.log_prob(x, given)[member], stack.log_prob(x, given)[member]), (
            "the same weights in the same place give the same bits"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_zero_parameters_give_the_identity(kind: str) -> None:
    for dtype, tolerance in ((torch.float64, 1e-14), (torch.float32, 5e-6)):
        stack = Stack([spec_of(kind, 7, 0, member) for member in range(MEMBERS)], dtype=dtype)
        # permutations say so in their order; put the features back to compare
        x = torch.linspace(-7, 7, 7 * 60, dtype=dtype).view(60, 7)
        z, log_det = stack.forward(x)
        assert (z.sort(-1).values - x.sort(-1).values).abs().max() < tolerance
        assert log_det.abs().max() < tolerance
        assert (stack.inverse(z) - x).abs().max() < 2 * tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one(kind: str) -> None:
    stack = trained(kind, 2)
    # x = 2 tan(u) brings the whole plane into a square, heavy tails too
    count = 280
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count * torch.pi - torch.pi / 2
    line, slope = 2 * u.tan(), 2 / u.cos() ** 2 * torch.pi / count
    grid = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).view(-1, 2)
    area = (slope[:, None] * slope[None, :]).view(-1)
    with torch.no_grad():
        total = (stack.log_prob(grid).exp() * area).sum(1)
    assert (total - 1).abs().max() < 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_no_gradient_is_nan(kind: str, scale: float) -> None:
    stack = fresh(kind, 7, 2).to(dtype=torch.float32)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        stack.theta.copy_(scale * torch.randn(stack.theta.shape, generator=generator))
        stack.theta *= ~padded(stack)
    edge = torch.tensor(3.0)
    hard = [0.0, 3.0, -3.0, 1.5, -1.5, 3.5, -50.0, 1e4, -1e8 if scale == 1 else -1e5, 1e-30]
    hard += [float(edge.nextafter(edge + 1)), float(edge.nextafter(edge - 1))]
    x = torch.tensor(hard).unsqueeze(1).repeat(1, 7)
    x = torch.cat((x, x.roll(3, 0).flip(1))).requires_grad_()
    given = torch.zeros(len(x), 2)
    log_prob = stack.log_prob(x, given)
    assert log_prob.isfinite().all()
    grad_theta, grad_x = torch.autograd.grad(log_prob.sum(), (stack.theta, x), allow_unused=True)
    assert grad_x.isfinite().all()
    assert grad_theta is None or grad_theta.isfinite().all()
