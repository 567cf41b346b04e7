"""Preprocessing: exact inverses, their log-determinant, dequantising."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from nfopt.data import ColumnHint, Preprocessing, Table, load
from nfopt.data.checks import duplicate_rows, grid_step, profile
from nfopt.data.maps.kinds import Standardise
from nfopt.data.maps.support import dequantised
from nfopt.data.prepare import dequantised_values

HINTS = {
    "identity": ColumnHint(),
    "logit": ColumnHint(low=-1.0, high=3.0),
    "log": ColumnHint(low=0.0),
    "log, shifted": ColumnHint(low=-5.0),
    "upper": ColumnHint(high=2.0),
}


def _column(hint: ColumnHint, rng: np.random.Generator, rows: int) -> np.ndarray:
    if hint.kind == "logit":
        return -1.0 + 4.0 * rng.beta(0.3, 0.4, rows).clip(1e-12, 1 - 1e-12)
    spread = np.exp(2.0 * rng.normal(size=rows))
    if hint.kind == "log":
        return float(hint.low or 0.0) + spread
    return float(hint.high or 0.0) - spread if hint.kind == "upper" else 1e6 + 3.0 * spread


def _fitted(rows: int = 500) -> tuple[Preprocessing, np.ndarray]:
    rng = np.random.default_rng(0)
    values = np.column_stack([_column(hint, rng, rows) for hint in HINTS.values()])
    return Preprocessing.fit(values, list(HINTS), list(HINTS.values())), values


def test_round_trip_and_moments() -> None:
    fitted, values = _fitted()
    z, logdet = fitted.forward(values)
    np.testing.assert_allclose(fitted.inverse(z), values, rtol=1e-9, atol=1e-9)
    again, _ = fitted.forward(fitted.inverse(z))
    np.testing.assert_allclose(again, z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-9)
    assert logdet.shape == (500,)
    assert np.isfinite(logdet).all()


def test_log_determinant_against_differences() -> None:
    fitted, _ = _fitted()
    x = np.array([[1e6, -0.2, 0.4, -3.0, 1.1], [1e6 + 9, 2.9, 7.0, 2.0, -4.0]])
    step = 1e-5
    expected = np.zeros(2)
    for position in range(5):
        shift = np.zeros(5)
        shift[position] = step
        above, below = fitted.forward(x + shift)[0], fitted.forward(x - shift)[0]
        expected += np.log(np.abs(above - below)[:, position] / (2 * step))
    np.testing.assert_allclose(fitted.forward(x)[1], expected, atol=1e-4)


def test_scores_are_on_the_scale_of_the_data() -> None:
    # A log-normal column under a standard normal flow has the log-normal's own density.
    x = np.random.default_rng(1).lognormal(mean=2.0, sigma=0.5, size=(400, 1))
    fitted = Preprocessing.fit(x, ["x"], [ColumnHint(low=0.0)])
    z, logdet = fitted.forward(x)
    column = fitted.columns[0]
    assert isinstance(column.map, Standardise)
    expected = stats.lognorm(s=column.map.scale, scale=np.exp(column.map.mean)).logpdf(x[:, 0])
    np.testing.assert_allclose(stats.norm.logpdf(z[:, 0]) + logdet, expected, atol=1e-10)


def test_rows_outside_the_bounds_have_density_zero() -> None:
    fitted, values = _fitted()
    outside = values[:4].copy()
    outside[0, 1], outside[1, 2], outside[2, 4] = 3.0, -0.1, 7.0
    z, logdet = fitted.forward(outside)
    assert np.isneginf(logdet).tolist() == [True, True, True, False]
    assert np.isfinite(z).all()
    outside[3, 0] = np.nan
    assert np.isnan(fitted.forward(outside)[0][3, 0])


def test_extreme_samples_stay_inside_the_bounds() -> None:
    fitted, _ = _fitted()
    values = fitted.inverse(np.array([[-1e4] * 5, [1e4] * 5, [40.0] * 5]))
    assert np.isfinite(values).all()
    assert np.isfinite(fitted.forward(values)[0]).all()
    assert ((values[:, 1] > -1.0) & (values[:, 1] < 3.0)).all()


def test_json_is_exact() -> None:
    fitted, values = _fitted()
    again = Preprocessing.from_json(fitted.to_json())
    assert again == fitted
    np.testing.assert_array_equal(again.forward(values)[0], fitted.forward(values)[0])


def test_context_and_weights() -> None:
    rng = np.random.default_rng(0)
    x, context = rng.normal(size=(300, 2)), rng.normal(3.0, 2.0, size=(300, 1))
    weights = rng.integers(0, 4, 300).astype(float)
    fitted = Preprocessing.fit(
        x, ["a", "b"], context=context, context_columns=["c"], weights=weights
    )
    repeated = np.repeat(np.arange(300), weights.astype(int))
    z, _ = fitted.forward(x[repeated])
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1.0)
    assert fitted.forward_context(context[repeated]).std() == pytest.approx(1.0)
    for call in (fitted.forward, fitted.inverse):
        with pytest.raises(ValueError, match=r"must have shape \(n, 2\), not \(300, 1\)"):
            call(context)


def test_small_deviation_on_a_large_offset() -> None:
    x = 1e9 + np.random.default_rng(0).normal(size=(1000, 1)) * 1e-3
    z, _ = Preprocessing.fit(x, ["x"]).forward(x)
    assert z.std() == pytest.approx(1.0, rel=1e-6)


@given(
    step=st.sampled_from([1.0, 0.5, 0.1, 0.05, 1e-4, 2.5, 16.0, 1 / 3]),
    start=st.floats(-100, 100),
    cells=st.lists(st.integers(0, 3000), min_size=2, max_size=60, unique=True),
)
@example(step=1e-4, start=1.0, cells=[0, 51, 947])
@settings(max_examples=150, deadline=None)
def test_the_step_of_a_grid_is_found(step: float, start: float, cells: list[int]) -> None:
    wanted = step * np.gcd.reduce(np.diff(sorted(cells)))
    values = np.unique(start + step * np.array(cells))
    assert grid_step(values) == pytest.approx(wanted, rel=1e-5)


def test_continuous_values_are_on_no_grid() -> None:
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(size=3000),
        rng.normal(size=3000).astype(np.float32),
        rng.exponential(size=500),
        np.geomspace(1, 1e9, 100),
    ):
        assert grid_step(np.unique(values.astype(float))) is None


def test_profile() -> None:
    seen = profile(np.array([3.0, 1.0, 3.0, 2.0, 3.0, 7.0, 7.0]))
    assert (seen.low, seen.high, seen.distinct, seen.top, seen.top_rows) == (1.0, 7.0, 4, 3.0, 3)
    assert seen.tied == pytest.approx(0.5)  # of 1, 2, 7, 7
    assert seen.step == 1.0


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_duplicate_rows_are_counted(rows: list[tuple[int, int]]) -> None:
    values = np.array(rows, dtype=np.float64)
    values[values == 0.0] = np.random.default_rng(0).choice([0.0, -0.0], (values == 0.0).sum())
    assert duplicate_rows(values) == len(rows) - len(set(rows))


def test_dequantising_is_uniform_within_the_step_and_the_bounds() -> None:
    rng = np.random.default_rng(0)
    column = np.repeat([0.0, 1.0, 5.0], 20_000)
    hint = ColumnHint(low=0.0, high=5.0, step=1.0)
    spread = dequantised(column, hint, rng.random(len(column)))
    assert ((spread > 0.0) & (spread < 5.0)).all()
    for value, low, high in ((0.0, 0.0, 0.5), (1.0, 0.5, 1.5), (5.0, 4.5, 5.0)):
        part = spread[column == value]
        assert stats.kstest(part, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def _spread(table: Table, seed: int) -> np.ndarray:
    return dequantised_values(table, np.arange(table.rows), 0, seed)


def test_dequantised_values_round_back_and_are_seeded() -> None:
    values = np.random.default_rng(0).poisson(4.0, size=(500, 2)) * 1.0
    table = load(values, dequantise=True, on_warning=lambda text: None)
    spread = _spread(table, 1)
    np.testing.assert_array_equal(np.round(spread), values)
    np.testing.assert_array_equal(spread, _spread(table, 1))
    assert not np.array_equal(spread, _spread(table, 2))
    assert not np.allclose(spread[:, 0] - values[:, 0], spread[:, 1] - values[:, 1])


@pytest.mark.parametrize(
    ("dequantise", "steps"),
    [
        (None, [1.0, None, None]),
        (True, [1.0, 0.25, None]),
        (False, [None, None, None]),
        ("x1", [None, 0.25, None]),
        ([0, "x1"], [1.0, 0.25, None]),
        ({"x2": 0.01}, [None, None, 0.01]),
    ],
)
def test_what_is_dequantised(dequantise: object, steps: list[float | None]) -> None:
    rng = np.random.default_rng(0)
    mostly_alone = rng.choice(4000, 300, replace=False) / 4.0
    mostly_alone[:40] = mostly_alone[40:80]
    mostly_alone[80], mostly_alone[81] = 0.25, 0.5
    values = np.column_stack([rng.integers(0, 90, 300), mostly_alone, rng.normal(size=300)])
    table = load(values, dequantise=dequantise, on_warning=lambda text: None)  # type: ignore[arg-type]
    assert [hint.step for hint in table.hints] == steps


def test_bounds_with_ties_on_them() -> None:
    values = np.random.default_rng(0).integers(0, 11, size=(300, 1)) * 1.0
    table = load(values, bounds={"x0": (0, 10)}, on_warning=lambda text: None)
    spread = _spread(table, 0)
    fitted = Preprocessing.fit(spread, table.columns, table.hints)
    assert np.isfinite(fitted.forward(spread)[1]).all()
