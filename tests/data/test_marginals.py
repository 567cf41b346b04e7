"""The contract of marginal maps, and what each kind promises beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nfopt.data import ColumnHint, Preprocessing, load, merge_fault, prepare, split
from nfopt.data.maps.estimates import moments, quantiles, spread
from nfopt.data.maps.kinds import Asinh, Standardise
from nfopt.data.maps.marginals import MARGINALS, Marginal, check_marginals, fit_map, names_of
from nfopt.data.maps.quantile import Quantile
from nfopt.errors import DataError

KINDS = ["standardise", "asinh", "quantile"]  # a new kind is a line here

RNG = np.random.default_rng(0)
COLUMNS = {
    "normal": RNG.normal(3.0, 2.0, 1000),
    "few": RNG.normal(size=50),
    "heavy": RNG.standard_t(1.0, 1000),
    "log-normal": RNG.lognormal(0.0, 2.0, 1000),
    "two values": RNG.integers(0, 2, 200).astype(float),
    "mostly one": np.where(RNG.random(1000) < 0.9, 0.0, RNG.normal(size=1000)),
    "one that differs": np.concatenate([np.zeros(999), [1.0]]),
    "far value": np.concatenate([RNG.normal(size=1000), [1e12]]),
    "offset": 1e9 + 1e-3 * RNG.normal(size=1000),
    "tiny": 1e-300 * RNG.normal(size=500),
    "huge": 1e300 * RNG.uniform(-1.0, 1.0, 500),
    "every size": np.concatenate(
        [10.0 ** RNG.uniform(-300, 300, 500), -(10.0 ** RNG.uniform(-300, 300, 500))]
    ),
}


def test_every_kind_is_under_the_contract() -> None:
    assert set(KINDS) == set(MARGINALS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_contract(kind: str, name: str) -> None:
    column = COLUMNS[name]
    fitted = fit_map(kind, column)
    with np.errstate(all="raise", under="ignore"):
        z, slope = fitted.forward(column)
        back = fitted.inverse(z)
    assert np.isfinite(z).all()
    assert np.isfinite(slope).all()
    order = np.argsort(column)
    assert (np.diff(z[order]) >= 0.0).all()
    # as exact as float64 holds the values
    with np.errstate(over="ignore"):
        rounding = 8.0 * np.spacing(np.abs(back)) * np.exp(slope)
    assert (np.abs(fitted.forward(back)[0] - z) <= 1e-9 * (1.0 + np.abs(z)) + rounding).all()
    if name not in ("every size", "huge", "tiny", "far value", "offset"):
        np.testing.assert_allclose(back, column, rtol=1e-9, atol=1e-9 * np.ptp(column))
    whole = msgspec.json.decode(msgspec.json.encode(fitted), type=Marginal)
    assert whole == fitted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["normal", "few", "heavy", "log-normal", "mostly one"])
def test_log_determinant_against_differences(kind: str, name: str) -> None:
    fitted = fit_map(kind, COLUMNS[name])
    x = np.random.default_rng(1).choice(COLUMNS[name], 40) + 0.01
    step = 1e-6
    rise = fitted.forward(x + step)[0] - fitted.forward(x - step)[0]
    np.testing.assert_allclose(fitted.forward(x)[1], np.log(rise / (2 * step)), atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one(kind: str) -> None:
    for name in ("normal", "few", "log-normal", "mostly one"):
        fitted = fit_map(kind, COLUMNS[name])
        # far out in z and evenly there, so that all of the mass is seen, on the scale of x
        x = np.unique(fitted.inverse(np.linspace(-9.0, 9.0, 40_001)))
        z, slope = fitted.forward(x)
        assert np.trapezoid(np.exp(stats.norm.logpdf(z) + slope), x) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_density_integrates_to_one_in_two_dimensions(kind: str) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.lognormal(size=800), rng.beta(2.0, 3.0, 800)
    hints = [ColumnHint(low=0.0), ColumnHint(low=0.0, high=1.0)]
    fitted = Preprocessing.fit(np.column_stack([first, second]), ["a", "b"], hints, marginals=kind)
    grid = np.linspace(-7.0, 7.0, 901)
    sides = fitted.inverse(np.column_stack([grid, grid])).T
    points = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
    z, logdet = fitted.forward(points)
    density = np.exp(stats.norm.logpdf(z).sum(axis=1) + logdet).reshape(901, 901)
    mass = np.trapezoid(np.trapezoid(density, sides[1], axis=1), sides[0])
    assert mass == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_far_values_and_samples_are_finite_and_within_bounds(kind: str) -> None:
    far = np.array([-1e300, -1e20, -1e-300, 0.0, 1e-300, 1e20, 1e300])
    for column in COLUMNS.values():
        z, slope = fit_map(kind, column).forward(far)
        assert not np.isnan(z).any()
        assert not np.isnan(slope).any()
        assert np.isfinite(fit_map(kind, column).inverse(np.array([-1e6, -40.0, 40.0, 1e6]))).all()
    hints = [ColumnHint(low=0.0), ColumnHint(-1.0, 3.0), ColumnHint(high=2.0)]
    inside = np.column_stack([COLUMNS["log-normal"], RNG.uniform(-1, 3, 1000), -RNG.random(1000)])
    fitted = Preprocessing.fit(inside, list("abc"), hints, marginals=kind)
    drawn = fitted.inverse(np.array([[-1e4] * 3, [1e4] * 3, [40.0] * 3, [-9.0] * 3]))
    assert (drawn[:, 0] > 0.0).all()
    assert ((drawn[:, 1] > -1.0) & (drawn[:, 1] < 3.0)).all()
    assert (drawn[:, 2] < 2.0).all()
    assert np.isfinite(fitted.forward(drawn)[0]).all()


def test_one_far_value_leaves_the_others_their_shape() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(5.0, 2.0, 1000)
    soiled = np.concatenate([clean, [1e12]])
    for kind in ("asinh", "quantile"):
        alone, together = fit_map(kind, clean), fit_map(kind, soiled)
        z, others = alone.forward(clean)[0], together.forward(soiled)[0]
        assert len(np.unique(others.astype(np.float32))) == 1001
        assert np.corrcoef(z, others[:-1])[0, 1] > 0.999
        assert 0.4 < others[:-1].std() / z.std() < 1.1
    lost = fit_map("standardise", soiled).forward(soiled)[0].astype(np.float32)
    assert len(np.unique(lost)) < 10


def test_standardise_is_mean_and_deviation() -> None:
    column, weights = COLUMNS["normal"], np.random.default_rng(1).integers(0, 4, 1000) * 1.0
    fitted = fit_map("standardise", column, weights)
    assert isinstance(fitted, Standardise)
    repeated = np.repeat(column, weights.astype(int))
    assert fitted.mean == pytest.approx(repeated.mean())
    assert fitted.scale == pytest.approx(repeated.std())


def test_asinh_has_the_scale_of_the_bulk() -> None:
    column = COLUMNS["normal"]
    fitted = fit_map("asinh", column)
    assert isinstance(fitted, Asinh)
    low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
    assert fitted.median == pytest.approx(middle, abs=0.01)
    assert fitted.width == pytest.approx(2 * (high - low) / 1.349, rel=0.01)
    z = fitted.forward(column)[0]
    assert (z.mean(), z.std()) == (pytest.approx(0.0, abs=1e-9), pytest.approx(1.0))
    # where the interquartile range is 0, the next wider one: here from 5% to 95%
    peaked = np.concatenate([np.zeros(880), np.linspace(-1.0, 1.0, 120)])
    assert np.quantile(peaked, [0.1, 0.9]).tolist() == [0.0, 0.0]
    assert spread(peaked) == pytest.approx(
        np.diff(np.quantile(peaked, [0.05, 0.95]))[0] / (2 * 1.645), rel=0.1
    )
    assert spread(np.concatenate([np.zeros(10**4), [1e12]])) < 1e12


def test_quantile_makes_normal_scores() -> None:
    column = np.random.default_rng(2).lognormal(0.0, 2.0, 20_000)
    fitted = fit_map("quantile", column)
    assert isinstance(fitted, Quantile)
    assert len(fitted.knots) == 37
    z = fitted.forward(column)[0]
    assert stats.kstest(z, stats.norm.cdf).statistic < 0.01
    assert stats.norm.cdf(fitted.scores)[[0, 1, 18, -2, -1]] == pytest.approx(
        [0.002, 0.01, 0.5, 0.99, 0.998]
    )
    few = fit_map("quantile", column[:100])
    assert isinstance(few, Quantile)
    assert len(few.knots) == 5
    # beyond the last knot the log of the distance
    last, slope = fitted.knots[-1], fitted.slopes[-1]
    beyond = fitted.forward(np.array([last + 7.0]))[0][0]
    assert beyond == pytest.approx(fitted.scores[-1] + np.log1p(7.0 * slope))


def test_estimates() -> None:
    column = np.random.default_rng(0).normal(size=501)
    levels = [0.0, 0.1, 0.5, 0.77, 1.0]
    np.testing.assert_allclose(
        quantiles(column, levels), np.quantile(column, levels, method="hazen")
    )
    weights = np.random.default_rng(1).integers(0, 3, 501) * 1.0
    middle = quantiles(column, [0.5], weights)[0]
    assert middle == pytest.approx(np.median(np.repeat(column, weights.astype(int))), abs=0.02)
    assert moments(np.array([1e300, -1e300]), None) == (0.0, 1e300)
    assert moments(np.array([1e-200, 3e-200]), None) == pytest.approx((2e-200, 1e-200))


def test_a_choice_a_column() -> None:
    rng = np.random.default_rng(0)
    values, seen = rng.lognormal(size=(200, 2)), rng.normal(3.0, size=(200, 1))
    more = {"context": seen, "context_columns": ["c"]}
    mixed = Preprocessing.fit(values, ["a", "b"], marginals="asinh,quantile", **more)
    kinds = [type(column.map) for column in (*mixed.columns, *mixed.context)]
    assert kinds == [Asinh, Quantile, Standardise]
    every = Preprocessing.fit(values, ["a", "b"], marginals=("asinh", "asinh", "quantile"), **more)
    assert isinstance(every.context[0].map, Quantile)
    alone = Preprocessing.fit(values, ["a", "b"], marginals="asinh", **more)
    assert isinstance(alone.context[0].map, Asinh)
    assert abs(alone.forward_context(seen).mean()) < 1e-9
    assert check_marginals(["asinh", "asinh"]) == "asinh"
    assert check_marginals(" asinh, quantile") == "asinh,quantile"
    for wrong in ("ashin", "", ["asinh", 3], 5):
        with pytest.raises(ValueError, match=r"`marginals` must be of standardise, asinh, quant"):
            check_marginals(wrong)
    with pytest.raises(ValueError, match=r"`marginals` must be one name, or 3 with commas"):
        names_of("asinh,quantile", 3)


def test_a_table_is_mapped_when_asked_and_once() -> None:
    rng = np.random.default_rng(0)
    table = load(rng.lognormal(size=(300, 2)))
    parts = split(table)
    prepared = prepare(table, parts)
    bent = prepared.under("asinh")
    assert bent.fingerprint == prepared.fingerprint
    assert bent.train is prepared.under("asinh").train
    assert prepared.under("standardise") is prepared
    z, logdet = bent.preprocessing.forward(table.values[parts.val])
    np.testing.assert_allclose(bent.val, z, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(bent.parts[1].logdet, logdet)
    assert bent.preprocessing == Preprocessing.fit(
        table.values, table.columns, table.hints, rows=parts.train, marginals="asinh"
    )
    small = prepared.subsample(50, val_rows=7)
    assert small.under("asinh").preprocessing is bent.preprocessing
    assert small.sizes == (50, 7, 30)
    both = [{tuple(row) for row in data.under("asinh").train.tolist()} for data in (small, bent)]
    assert both[0] < both[1]


def test_what_can_not_be_mapped_is_said() -> None:
    with pytest.raises(DataError, match=r"column 'a' is constant in the training rows"):
        Preprocessing.fit(np.ones((60, 1)), ["a"], marginals="asinh")


def _soiled() -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1000, 2))
    values[7, 0] = 1e12
    return values


def test_values_that_merge_are_said_once_with_the_map_that_keeps_them_apart() -> None:
    told: list[str] = []
    # near 1e15 double precision has them apart, single precision under no map
    values = np.column_stack([np.where(np.arange(1000) < 500, -1e15, 1e15), np.ones(1000)])
    values = np.cumsum(np.full((1000, 2), 0.5), axis=0) + values
    values[:, 1] = np.random.default_rng(0).normal(size=1000)
    table = load(values, dequantise=False)
    prepare(table, split(table), on_warning=told.append)
    (text,) = told
    assert "column 'x0'" in text
    assert "under asinh" in text
    told.clear()
    clean = load(_soiled())
    data = prepare(clean, split(clean), on_warning=told.append)
    assert told == []  # the default map keeps them apart
    fault = merge_fault(data.lines, "standardise")
    assert "`marginals` standardise make over 1%" in fault
    assert "column 'x0'" in fault
    assert "asinh or quantile keeps them apart" in fault
    assert merge_fault(data.lines, "asinh") == merge_fault(data.lines, "quantile") == ""


@pytest.mark.parametrize("kind", [np.int64, np.uint64, "Int64"])
def test_whole_numbers_that_double_precision_merges_are_said_once(kind: Any) -> None:
    since = np.sort(np.random.default_rng(0).integers(0, 10**6, 400))  # nanoseconds
    stamps = pd.Series(1_700_000_000_000_000_000 + since).astype(kind)
    frame = pd.DataFrame({"at": stamps, "a": np.random.default_rng(1).normal(size=400)})
    said: list[str] = []
    load(frame, on_warning=said.append)
    (line,) = said
    assert "become equal in double precision" in line
    assert "column 'at'" in line
    assert "give them less their least value" in line
    load(frame.assign(at=since), on_warning=said.append)
    wide = 1_700_000_000_000_000_000 + 10**6 * since  # a quarter of an hour: all stay apart
    load(frame.assign(at=wide), on_warning=said.append)
    assert len(said) == 1


def test_times_are_refused_with_advice(tmp_path: Path) -> None:
    frame = pd.DataFrame({"at": pd.date_range("2026", periods=400, freq="s"), "a": range(400)})
    frame.to_parquet(tmp_path / "t.parquet")
    for source in (frame, tmp_path / "t.parquet"):
        with pytest.raises(DataError, match=r"'at' is not numeric: it holds times .* number, or"):
            load(source)
