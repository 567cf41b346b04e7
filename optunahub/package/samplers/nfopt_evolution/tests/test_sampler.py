"""The package by itself: Optuna's own kit for samplers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optunahub
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

ROOT = Path(__file__).parents[4]
EvolutionSampler = optunahub.load_local_module(
    "samplers/nfopt_evolution", registry_root=str(ROOT / "package")
).EvolutionSampler


class TestEvolutionSampler(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: EvolutionSampler(seed=0)
