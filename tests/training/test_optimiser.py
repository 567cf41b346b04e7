"""A population's Adam against torch's own, a member at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from nfopt.spec import TrainSpec
from nfopt.training.optimiser import PopulationAdam
from nfopt.training.schedule import SCHEDULES

from .toys import seeded

STEPS = 30


def gradients(weights: Tensor, step: int) -> Tensor:
    """Some gradient that depends on the weights, large at times, so that clips bite."""
    noise = torch.randn(weights.shape, generator=seeded(step), dtype=weights.dtype)
    return weights + noise * (10.0 if step % 7 == 0 else 0.1)


def alone(start: Tensor, spec: TrainSpec, steps: int = STEPS) -> Tensor:
    """One member under torch's own optimiser, unfused, with torch's own clipping."""
    weights = start.clone().requires_grad_()
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimiser]
    optimiser = kind([weights], lr=spec.learning_rate, weight_decay=spec.weight_decay)
    for step in range(steps):
        factor = SCHEDULES[spec.schedule](step / STEPS)
        optimiser.param_groups[0]["lr"] = spec.learning_rate * factor
        weights.grad = gradients(weights.detach()[None], step)[0]
        if spec.clip:
            torch.nn.utils.clip_grad_norm_([weights], spec.clip)
        optimiser.step()
    return weights.detach()


def together(theta: Tensor, optimiser: PopulationAdam, steps: range = range(STEPS)) -> None:
    for step in steps:
        # every member sees the noise that it would see alone
        theta.grad = torch.cat([gradients(row[None], step) for row in theta.detach()])
        optimiser.step(step / STEPS)


SAME = TrainSpec(learning_rate=0.01, clip=1.0)
TABLE = {
    "equal members": [SAME] * 3,
    "equal adamw with decay": [TrainSpec(learning_rate=0.01, weight_decay=0.3)] * 2,
    "equal adam with decay": [TrainSpec(optimiser="adam", weight_decay=0.3)] * 2,
    "own rates": [TrainSpec(learning_rate=rate, clip=0) for rate in (0.001, 0.03)],
    "own clips": [TrainSpec(clip=clip) for clip in (0.0, 0.5, 5.0)],
    "own decays": [TrainSpec(weight_decay=decay) for decay in (0.0, 0.5)],
    "own kinds": [TrainSpec(optimiser=kind, weight_decay=0.2) for kind in ("adam", "adamw")],
    "own schedules": [TrainSpec(schedule=name) for name in ("cosine", "one_cycle", "constant")],
    "one member": [TrainSpec(schedule="one_cycle", weight_decay=0.1)],
}


@pytest.mark.parametrize("name", TABLE)
def test_a_row_moves_as_it_would_alone(name: str) -> None:
    specs = TABLE[name]
    start = torch.randn(len(specs), 11, generator=seeded(1), dtype=torch.float64)
    theta = start.clone().requires_grad_()
    optimiser = PopulationAdam(theta, specs)
    together(theta, optimiser)
    for row, spec in enumerate(specs):
        torch.testing.assert_close(
            theta.detach()[row], alone(start[row], spec), rtol=1e-9, atol=1e-9
        )
    assert theta.grad is None


@pytest.mark.parametrize("name", ["equal members", "own clips", "own schedules"])
def test_selected_rows_go_on_bit_for_bit(name: str) -> None:
    specs = TABLE[name]
    start = torch.randn(3, 11, generator=seeded(1))
    whole, part = start.clone().requires_grad_(), start.clone().requires_grad_()
    together(whole, PopulationAdam(whole, specs))
    optimiser = PopulationAdam(part, specs)
    together(part, optimiser, range(10))
    rows = part.detach()[[0, 2]].clone().requires_grad_()
    together(rows, optimiser.select(rows, [0, 2]), range(10, STEPS))
    assert torch.equal(rows, whole.detach()[[0, 2]])


def test_a_nan_member_does_not_touch_the_others() -> None:
    specs = [TrainSpec(learning_rate=rate) for rate in (0.01, 0.02)]
    results = []
    for poison in (0.5, torch.nan):
        theta = torch.zeros(2, 5).requires_grad_()
        optimiser = PopulationAdam(theta, specs)
        for _ in range(3):
            theta.grad = torch.full((2, 5), 0.5)
            theta.grad[1] = poison
            optimiser.step(0.1)
        results.append(theta.detach()[0])
    assert torch.equal(*results)


def test_step_without_a_gradient_is_a_clear_error() -> None:
    optimiser = PopulationAdam(torch.zeros(1, 2).requires_grad_(), [TrainSpec()])
    with pytest.raises(ValueError, match="no gradient"):
        optimiser.step(0.0)


STEP = """
import sys
import torch
from nfopt.spec import TrainSpec
from nfopt.training.optimiser import PopulationAdam
theta = torch.ones(2, 3, requires_grad=True)
theta.grad = torch.ones(2, 3)
PopulationAdam(theta, [TrainSpec()] * 2).step(0.5)
assert (theta < 1).all()
assert "torch._dynamo" not in sys.modules
"""


def test_a_step_does_without_torchs_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
