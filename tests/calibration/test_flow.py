"""Calibration of a flow with the exact conditional density, and of one that is narrower."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nfopt.calibration import ALL, calibrate
from nfopt.data import ColumnMap, Preprocessing
from nfopt.data.maps.kinds import Standardise
from nfopt.model import Flow
from nfopt.spec import Additive, Autoregressive, Conditioner, FlowSpec

SCALE, ROWS = 0.5, 600


def flow(scale: float = SCALE) -> Flow:
    """y given x is N(x, scale): relu(x) - relu(-x) is x."""
    net = Conditioner(width=2, hidden_layers=1, activation="relu")
    layer = Autoregressive(order=(0,), map=Additive(), conditioner=net)
    spec = FlowSpec(features=1, layers=(layer,), context_features=1)
    weights = {
        "0.input": [[0.0], [0.0]],
        "0.context": [[1.0], [-1.0]],
        "0.bias": [0.0, 0.0],
        "0.output": [[[-1 / scale, 1 / scale]]],
        "0.output_bias": [[0.0]],
    }
    maps = ColumnMap("y", Standardise(0.0, scale)), ColumnMap("x", Standardise(0.0, 1.0))
    before = Preprocessing(columns=maps[:1], context=maps[1:], seed=0)
    return Flow([spec], [{name: torch.tensor(w) for name, w in weights.items()}], before)


def pairs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = 3 * rng.normal(size=(ROWS, 1))
    return x + SCALE * rng.normal(size=x.shape), x


def test_the_exact_density_passes_and_each_row_has_its_own_context() -> None:
    y, x = pairs()
    found = calibrate(flow(), y, x, samples=60)
    assert found.ranks.shape == (ROWS, 1)
    assert found.together.shape == (ROWS,)
    tests = found.tests()
    assert list(tests) == ["y", ALL]
    assert min(test.p_value for test in tests.values()) > 0.01
    moved = calibrate(flow(), y, np.roll(x, 1), samples=60).tests()
    assert max(test.p_value for test in moved.values()) < 0.001


def test_a_narrow_density_fails() -> None:
    y, x = pairs()
    tests = calibrate(flow(0.6 * SCALE), y, x, samples=60).tests()
    assert max(test.p_value for test in tests.values()) < 0.001
    assert min(test.spread for test in tests.values()) > 1.2


def test_the_seed_decides_rows_and_samples() -> None:
    y, x = pairs()
    once, again, other = (
        calibrate(flow(), y, x, samples=20, rows=50, seed=seed) for seed in (0, 0, 1)
    )
    assert len(once.together) == 50
    assert (once.ranks == again.ranks).all()
    assert once.tests() == again.tests()
    assert (once.ranks != other.ranks).any()


def test_what_can_not_be_calibrated_is_refused() -> None:
    y, x = pairs()
    alone = flow()
    before = Preprocessing(columns=alone.preprocessing.columns, context=(), seed=0)
    bare = Flow([FlowSpec(features=1, layers=())], [{}], before)
    with pytest.raises(ValueError, match="`flow` must be conditional"):
        calibrate(bare, y, None)
    with pytest.raises(ValueError, match="`theta` must have at least 20 rows, got 3"):
        calibrate(alone, y[:3], x[:3])
    with pytest.raises(ValueError, match="`samples` must be at least 1, got 0"):
        calibrate(alone, y, x, samples=0)
    with pytest.raises(ValueError, match="`context`"):
        calibrate(alone, y, x[:100])
