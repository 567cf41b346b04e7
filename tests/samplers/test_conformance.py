"""Optuna's own kit for samplers.

All of it but `SingleOnlySamplerTestCase`, which asks for an error where there are several
objectives: this sampler takes them.
"""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)

from nfopt.samplers import EvolutionSampler

MAKERS: dict[str, Callable[[], BaseSampler]] = {
    "default": lambda: EvolutionSampler(seed=0),
    "classic": lambda: EvolutionSampler(seed=0, preset="classic"),
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestDefault(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return MAKERS["default"]


class TestClassic(RelativeSamplerTestCase):
    """What is drawn one by one does not depend on the preset."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return MAKERS["classic"]
