"""What a population's checkpoint weighs, before it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from nfopt.distributed.checkpoints import Asked, size_of
from nfopt.flows import build
from nfopt.spec import LU, Conditioner, Coupling, FlowSpec, Spline, TrainSpec
from nfopt.training import TrainData, train

NET = Conditioner(width=32)
FLOW = FlowSpec(
    features=4,
    layers=(
        LU(),
        Coupling(mask="CCTT", map=Spline(), conditioner=NET),
        Coupling(mask="TTCC", map=Spline(), conditioner=NET),
    ),
)
SETTINGS: dict[str, dict[str, Any]] = {
    "adamw": {},
    "adamw, average": {"average": 0.9},
    "muon": {"optimiser": "muon"},
    "muon, average": {"optimiser": "muon", "average": 0.9},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_estimate_is_what_the_file_weighs(name: str, tmp_path: Path) -> None:
    spec = replace(TrainSpec(steps=4, batch_size=16), **SETTINGS[name])
    (stack,) = build([FLOW] * 2, torch.Generator().manual_seed(0))
    rows = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    path, told = tmp_path / "run.safetensors", iter([False, False, True])
    ticks = iter(range(1000))
    train(
        stack,
        spec,
        TrainData(rows, rows),
        generator=torch.Generator().manual_seed(2),
        should_stop=lambda: next(told),
        checkpoint=path,
        clock=lambda: float(next(ticks)),
    )
    asked = Asked([0, 1], [FLOW] * 2, [spec] * 2, [1, 2], 3, 4, None, "cpu", [{}, {}])
    # generators, the step count and the header come on top
    assert path.stat().st_size - 16_000 < size_of(asked) < path.stat().st_size
