"""Leave-one-out errors against leaving out one by one."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution.surrogate.ridge import INTERCEPT, ridge


def test_leave_one_out_errors_are_those_of_leaving_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 3))
    gram = features @ features.T / 3
    y = features @ [1.0, -2.0, 0.5] + 0.3 * rng.normal(size=12) + 7
    weights = rng.integers(1, 4, size=12).astype(float)
    monkeypatch.setattr("nfopt.evolution.surrogate.ridge.PENALTIES", (0.3,))
    fit = ridge(gram, y[:, None], weights)
    centred, whole = y - np.average(y, weights=weights), gram + INTERCEPT
    errors, spread = 0.0, 0.0
    for out in range(12):
        rest = np.delete(np.arange(12), out)
        solved = np.linalg.solve(
            whole[np.ix_(rest, rest)] + np.diag(0.3 / weights[rest]), centred[rest]
        )
        errors += weights[out] * (centred[out] - whole[out, rest] @ solved) ** 2
        spread += weights[out] * (y[out] - np.average(y[rest], weights=weights[rest])) ** 2
    assert fit.r2[0] == pytest.approx(1 - errors / spread, rel=1e-6)
    assert fit.alpha[:, 0] == pytest.approx(
        np.linalg.solve(whole + np.diag(0.3 / weights), centred), rel=1e-6
    )
