"""Layers and flows are what they are on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flows.kinds import CASES, IDS, rows, trained
from model.toys import FLOWS, context_of
from model.toys import table as held
from torch import Tensor
from training.toys import seeded

from nfopt.export import to_zuko
from nfopt.flows import Stack

from .device import DEVICE, KIND, distance, gap

pytestmark = pytest.mark.gpu


def values(stack: Stack, x: Tensor, z: Tensor, given: Tensor | None) -> dict[str, Tensor]:
    """What a stack makes of rows x (B, D) and of rows z (P, B, D) in base space."""
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        found["log_prob"] = stack.log_prob(x, given)
        found["forward"], found["log_det"] = stack.forward(x, given)
        found["inverse"] = stack.inverse(z, given)
    if stack.theta.numel():
        weight = torch.linspace(0.5, 1.5, len(x), dtype=stack.dtype, device=stack.device)
        loss = (stack.log_prob(x, given) * weight).mean()
        (found["gradient"],) = torch.autograd.grad(loss, stack.theta)
    return found


@pytest.mark.parametrize(("kind", "features", "context"), CASES, ids=IDS)
def test_a_layer_is_what_it_is_on_the_cpu(kind: str, features: int, context: int) -> None:
    stack = trained(kind, features, context)
    x, given = rows(40, features, context)
    with torch.no_grad():
        z, _ = stack.forward(x, given)
    wanted = values(stack, x, z, given)

    exact = stack.to(DEVICE)
    assert exact.theta.device.type == KIND
    assert torch.equal(exact.to("cpu").theta, stack.theta)
    moved = [None if each is None else each.to(DEVICE) for each in (x, z, given)]
    found = values(exact, moved[0], moved[1], moved[2])  # type: ignore[arg-type]
    for name, value in found.items():
        assert value.device.type == KIND, name
        assert gap(value, wanted[name]) < 1e-8, name

    on_cpu = values(stack.to(dtype=torch.float32), x, z, given)
    single = stack.to(DEVICE, torch.float32)
    for name, value in values(single, x, z, given).items():  # rows from the CPU are moved
        if name == "gradient":  # it jumps where a value crosses the edge of a spline's bin
            assert distance(value, wanted[name]) < 0.05
        else:  # where the CPU's own rounding adds up, a GPU's may too
            assert gap(value, wanted[name]) < 1e-3 + 10 * gap(on_cpu[name], wanted[name]), name

    # the first eight rows' context, a row for each sample
    seen = None if given is None else given[:8]
    for own in (exact, single):
        drawn_rows = own.sample(8, torch.Generator(DEVICE).manual_seed(0), seen)
        assert drawn_rows.device.type == KIND
        assert drawn_rows.isfinite().all()


def test_float32_products_are_float32() -> None:
    a, b = (torch.randn(512, 512, generator=seeded(k), dtype=torch.float64) for k in (0, 1))
    found = (a.float().to(DEVICE) @ b.float().to(DEVICE)).cpu().double()
    off = float((found - a @ b).norm() / (a @ b).norm())
    assert off < 1e-5, f"products are rounded to fewer digits (TF32?): {off:.1e}"


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_moves(name: str) -> None:
    here = FLOWS[name]()
    there = here.to(DEVICE)
    assert there.device.type == KIND
    x = held(200, seed=4)
    context = context_of(here, len(x))
    for method in ("log_prob", "members_log_prob", "disagreement"):
        found, wanted = (getattr(each, method)(x, context) for each in (there, here))
        assert gap(torch.from_numpy(found), torch.from_numpy(wanted)) < 1e-4, method
    for dtype in (np.float32, np.float64):
        again = [there.sample(len(x), seed=1, context=context, dtype=dtype) for _ in range(2)]
        assert np.isfinite(again[0]).all()
        assert (again[0] == again[1]).all()


@pytest.mark.parametrize("kind", ["LU", "spline"])
def test_export_of_a_flow_on_the_device(kind: str) -> None:
    pytest.importorskip("zuko")
    stack = trained("lu" if kind == "LU" else "coupling spline", 7).to(DEVICE)
    x, _ = rows(50, 7)
    exported = to_zuko(stack.specs[0], stack.weights(0))
    with torch.no_grad():
        assert gap(exported().log_prob(x), stack.log_prob(x)[0]) < 1e-8
