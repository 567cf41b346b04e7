"""A population's Muon against Newton-Schulz iterations written out, a matrix at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from nfopt.flows import Stack, build
from nfopt.spec import (
    LU,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Spline,
    TrainSpec,
)
from nfopt.training import mean_nll
from nfopt.training.muon import NewtonSchulz, PopulationMuon

from .toys import make_data, make_stack, run, seeded

SPEC = TrainSpec(optimiser="muon", learning_rate=0.02, schedule="constant", clip=0.0)
NET = Conditioner(width=12, hidden_layers=2)
ORDERS = ((0, 1, 2, 3), (3, 1, 0, 2), (2, 0, 3, 1))


def autoregressive_stack(members: int = 3, dtype: torch.dtype = torch.float32) -> Stack:
    specs = [
        FlowSpec(
            features=4,
            context_features=2,
            layers=(LU(), *(Autoregressive(order=order, map=Spline(bins=3), conditioner=NET),) * 2),
        )
        for order in ORDERS[:members]
    ]
    (stack,) = build(specs, seeded(0), dtype=dtype)
    return stack


def coupling_stack(masks: tuple[str, ...]) -> Stack:
    specs = [
        FlowSpec(features=4, layers=(Coupling(mask=mask, map=Spline(bins=3), conditioner=NET),))
        for mask in masks
    ]
    (stack,) = build(specs, [seeded(n) for n in range(len(masks))])
    return stack


def muon(stack: Stack, specs: list[TrainSpec]) -> PopulationMuon:
    return PopulationMuon(stack.theta, specs, stack.matrices(), stack.active)


def gradients(stack: Stack, step: int) -> Tensor:
    """Noise where weights exist; a member's own does not depend on its neighbours or padding."""
    gradient = torch.zeros_like(stack.theta)
    for member in range(len(stack)):
        generator = seeded(1000 * step + len(stack.specs[member].to_json()))
        for key, view in stack._own(gradient, member):
            number, name = key.split(".")
            view.copy_(torch.randn(view.shape, generator=generator))
            exists = stack.layers[int(number)].active(name, member)
            if exists is not None:
                view.mul_(exists)
    return gradient


def go(stack: Stack, specs: list[TrainSpec], steps: int = 4) -> PopulationMuon:
    optimiser = muon(stack, specs)
    for step in range(steps):
        stack.theta.grad = gradients(stack, step)
        optimiser.step(0.5)
    return optimiser


def newton_schulz(x: Tensor) -> Tensor:
    """Three iterations in the matrix's own precision, as in Jordan et al. (2024)."""
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(3):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def matrices_of(weight: Tensor, name: str) -> list[Tensor]:
    """Views of a weight: its matrix, or one for each feature."""
    return list(weight.unbind(1)) if weight.dim() == 3 else [weight]


def expected(stack: Stack, specs: list[TrainSpec], steps: int = 4) -> dict[tuple[int, str], Tensor]:
    """Move each matrix by itself, as the papers say."""
    moved = {}
    grads = [gradients(stack, step) for step in range(steps)]
    for member, spec in enumerate(specs):
        own = [dict(stack._own(grad, member)) for grad in grads]
        for key, start in stack.weights(member).items():
            number, name = key.split(".")
            if name not in stack.layers[int(number)].matrices:
                continue
            exists = stack.layers[int(number)].active(name, member)
            exists = torch.ones(start.shape) if exists is None else exists
            parts = [matrices_of(start, name), matrices_of(exists.expand(start.shape), name)]
            parts += [matrices_of(step[key], name) for step in own]
            for weight, mask, *given in zip(*parts, strict=True):
                momentum = torch.zeros_like(weight)
                for gradient in given:
                    momentum = 0.95 * momentum + 0.05 * gradient
                    update = newton_schulz(0.05 * gradient + 0.95 * momentum) * mask
                    scale = 0.2 * max(weight.shape) ** 0.5
                    weight.mul_(1 - spec.learning_rate * spec.weight_decay)
                    weight.sub_(spec.learning_rate * scale * update)
            moved[member, key] = start
    return moved


SHAPES = [(3, 8, 8), (2, 5, 30), (2, 30, 5), (4, 9, 10), (1, 1, 6), (2, 128, 128), (2, 23, 128)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iterations_are_those_written_out(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.randn(shape, generator=seeded(1), dtype=dtype)
    x /= x.norm(dim=(1, 2), keepdim=True)
    found = NewtonSchulz(*shape, like=x)(x.clone())
    for one, given in zip(found, x, strict=True):
        tolerance = 1e-6 if dtype == torch.float32 else 1e-13
        torch.testing.assert_close(one, newton_schulz(given), rtol=0, atol=tolerance)


STACKS: dict[str, Any] = {
    "autoregressive, context": autoregressive_stack,
    "float64": lambda: autoregressive_stack(dtype=torch.float64),
    "couplings": lambda: coupling_stack(("CTCT", "TCTC")),
    "couplings with padding": lambda: coupling_stack(("CTTT", "CCTI", "CCCT")),
}


@pytest.mark.parametrize("name", STACKS)
def test_every_matrix_moves_as_if_alone(name: str) -> None:
    stack = STACKS[name]()
    settings = [(0.02, 0.0), (0.05, 0.3), (0.003, 0.1)]
    specs = [replace(SPEC, learning_rate=r, weight_decay=d) for r, d in settings][: len(stack)]
    wanted = expected(stack, specs)
    assert len(wanted) >= 3 * len(stack)
    go(stack, specs)
    for (member, key), weight in wanted.items():
        torch.testing.assert_close(stack.weights(member)[key], weight, rtol=0, atol=1e-6)


def test_what_is_no_matrix_moves_by_adamw() -> None:
    stack = autoregressive_stack(2)
    start = stack.with_theta(stack.theta.detach().clone())
    go(stack, [replace(SPEC, weight_decay=0.5)] * 2)
    others = torch.ones(stack.theta.shape[1], dtype=torch.bool)
    for weight in stack.matrices():
        others[weight.start : weight.start + weight.size] = False
    assert 0 < others.sum() < len(others)
    theta = start.theta.clone().requires_grad_()
    adam = torch.optim.AdamW([theta], lr=2e-3, weight_decay=0.0)
    for step in range(4):
        theta.grad = gradients(start, step)
        adam.step()
    torch.testing.assert_close(stack.theta[:, others], theta[:, others], rtol=0, atol=1e-6)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon is of torch 2.9")
@pytest.mark.parametrize("shape", [(16, 16), (23, 64), (64, 10)])
def test_direction_is_that_of_torchs_own(shape: tuple[int, int]) -> None:
    gradient = torch.randn(shape, generator=seeded(3))
    theirs = torch.nn.Parameter(torch.zeros(shape))
    optimiser = torch.optim.Muon(
        [theirs], lr=0.1, weight_decay=0.0, ns_steps=3, adjust_lr_fn="match_rms_adamw"
    )
    theirs.grad = gradient.clone()
    optimiser.step()
    net = Conditioner(width=shape[0], hidden_layers=1)
    features = shape[1] + 1
    coupling = Coupling(mask="C" * shape[1] + "T", map=Affine(), conditioner=net)
    (stack,) = build([FlowSpec(features=features, layers=(coupling,))], seeded(0))
    before = stack.weights(0)["0.input"]
    (weight,) = [m for m in stack.matrices() if m.shape == shape]
    stack.theta.grad = torch.zeros_like(stack.theta)
    weight.view(stack.theta.grad).copy_(gradient)
    muon(stack, [replace(SPEC, learning_rate=0.1)]).step(0.5)
    ours = stack.weights(0)["0.input"] - before
    cosine = torch.nn.functional.cosine_similarity(ours.flatten(), theirs.detach().flatten(), dim=0)
    assert cosine > 0.99
    assert float(ours.norm() / theirs.detach().norm()) == pytest.approx(1.0, abs=0.02)


def test_an_update_does_not_depend_on_the_neighbours() -> None:
    specs = [replace(SPEC, learning_rate=r, weight_decay=0.1) for r in (0.01, 0.03, 0.05)]
    whole, alone = autoregressive_stack(), autoregressive_stack().select([1])
    poisoned = autoregressive_stack()
    go(whole, specs)
    go(alone, [specs[1]])
    torch.testing.assert_close(whole.theta[1:2], alone.theta, rtol=0, atol=1e-6)
    optimiser = muon(poisoned, specs)
    for step in range(4):
        poisoned.theta.grad = gradients(poisoned, step)
        poisoned.theta.grad[2] = torch.nan
        poisoned.theta.grad[0] *= 1e3
        optimiser.step(0.5)
    assert torch.equal(poisoned.theta[1], whole.theta[1])
    assert not poisoned.theta[2].isfinite().all()


def test_padding_changes_neither_direction_nor_scale() -> None:
    mask = "CTTI"
    padded, alone = coupling_stack((mask, "CCCT")), coupling_stack((mask,))
    assert padded.theta.shape[1] > alone.theta.shape[1]
    start = alone.weights(0)
    padding = padded.theta.detach()[~padded.active].clone()
    spec = replace(SPEC, weight_decay=0.1)
    go(padded, [spec] * 2)
    go(alone, [spec])
    for key, weight in alone.weights(0).items():
        torch.testing.assert_close(padded.weights(0)[key], weight, rtol=0, atol=1e-6)
        assert not torch.equal(weight, start[key])
    assert torch.equal(padded.theta.detach()[~padded.active], padding)


def test_masked_entries_stay_exactly_zero() -> None:
    stack = autoregressive_stack()
    with torch.no_grad():
        stack.theta.mul_(stack.active)
    masked = [m for m in stack.matrices() if not m.view(stack.active).all()]
    assert {len(m.shape) for m in masked} == {2, 3}
    start = stack.theta.detach().clone()
    go(stack, [SPEC] * 3)
    assert not stack.theta.detach()[~stack.active].any()
    assert (stack.theta != start)[stack.active].all()


def test_a_matrix_without_gradient_does_not_move() -> None:
    stack = autoregressive_stack(2)
    specs = [replace(SPEC, weight_decay=0.5)] * 2
    optimiser = muon(stack, specs)
    still, moving = stack.matrices()[0], stack.matrices()[1]
    one = stack.matrices()[-1]  # an output: a matrix a feature
    before = stack.theta.detach().clone()
    for step in range(3):
        gradient = gradients(stack, step)
        still.view(gradient)[1] = 0.0
        one.view(gradient)[0, 2] = 0.0
        stack.theta.grad = gradient
        optimiser.step(0.5)
    assert torch.equal(still.view(stack.theta)[1], still.view(before)[1])
    assert torch.equal(one.view(stack.theta)[0, 2], one.view(before)[0, 2])
    for weight, index in ((still, 0), (moving, 0), (moving, 1), (one, 1)):
        assert not torch.equal(weight.view(stack.theta)[index], weight.view(before)[index])


def test_clips_and_schedules_are_a_members_own() -> None:
    specs = [SPEC, replace(SPEC, clip=0.5), replace(SPEC, schedule="cosine")]
    whole = autoregressive_stack()
    go(whole, specs)
    for member, spec in enumerate(specs):
        alone = autoregressive_stack().select([member])
        go(alone, [spec])
        torch.testing.assert_close(whole.theta[[member]], alone.theta, rtol=0, atol=1e-6)


def test_selected_rows_go_on_bit_for_bit() -> None:
    specs = [replace(SPEC, learning_rate=r, weight_decay=0.1) for r in (0.01, 0.03, 0.05)]
    whole, part = autoregressive_stack(), autoregressive_stack()
    optimiser = go(part, specs, steps=3)
    chosen = part.select([0, 2])
    rest = optimiser.select(chosen.theta, [0, 2])
    every = go(whole, specs, steps=3)
    whole.theta.grad = gradients(whole, 3)
    chosen.theta.grad = whole.theta.grad[[0, 2]].clone()
    every.step(0.5)
    rest.step(0.5)
    assert torch.equal(chosen.theta, whole.theta[[0, 2]])


def test_a_flow_without_matrices_is_trained_too() -> None:
    layers = (LU(), Elementwise(map=Affine()))
    (stack,) = build([FlowSpec(features=3, layers=layers)] * 2, seeded(0))
    before = mean_nll(stack, make_data().val)[0]
    run(stack, TrainSpec(optimiser="muon", steps=60, batch_size=64))
    assert (mean_nll(stack, make_data().val)[0] < before - 0.02).all()


def test_members_with_and_without_muon_are_refused() -> None:
    specs = [TrainSpec(), TrainSpec(optimiser="muon")]
    with pytest.raises(ValueError, match="`optimiser` muon, or none"):
        run(make_stack(2), specs)
