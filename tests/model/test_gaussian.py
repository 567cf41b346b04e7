"""The Gaussian that a flow has to beat."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from nfopt.model.gaussian import RIDGE, gaussian_log_prob

RNG = np.random.default_rng(0)
MIX = np.array([[1.0, 0.0, 0.0], [0.5, 0.3, 0.0], [-0.2, 0.4, 2.0]])
TRAIN, ROWS = (RNG.normal(size=(n, 3)) @ MIX.T + 1.0 for n in (400, 50))


def test_a_standard_normal_has_its_known_entropy() -> None:
    rows = RNG.normal(size=(20_000, 2))
    assert -gaussian_log_prob(rows, rows).mean() == pytest.approx(1 + np.log(2 * np.pi), abs=0.05)


def test_it_is_that_of_mean_and_covariance() -> None:
    covariance = np.cov(TRAIN, rowvar=False, bias=True) + RIDGE * np.eye(3)
    wanted = multivariate_normal(TRAIN.mean(axis=0), covariance).logpdf(ROWS)
    np.testing.assert_allclose(gaussian_log_prob(TRAIN, ROWS), wanted, rtol=1e-9)


def test_a_weight_of_two_is_a_row_twice() -> None:
    weights = np.arange(400) % 3
    twice = np.repeat(TRAIN, weights, axis=0)
    weighted = gaussian_log_prob(TRAIN, ROWS, weights)
    np.testing.assert_allclose(weighted, gaussian_log_prob(twice, ROWS), rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_few_rows_have_a_diagonal_one(rows: int) -> None:
    few = TRAIN[:rows]
    spread = np.sqrt(few.var(axis=0) + RIDGE)
    wanted = norm(few.mean(axis=0), spread).logpdf(ROWS).sum(axis=1)
    np.testing.assert_allclose(gaussian_log_prob(few, ROWS), wanted, rtol=1e-9)


def test_one_column_and_columns_that_are_the_same() -> None:
    one = gaussian_log_prob(TRAIN[:, :1], ROWS[:, :1])
    spread = np.sqrt(TRAIN[:, 0].var() + RIDGE)
    np.testing.assert_allclose(one, norm(TRAIN[:, 0].mean(), spread).logpdf(ROWS[:, 0]))
    same = gaussian_log_prob(TRAIN[:, [0, 0]], ROWS[:, [0, 0]])
    assert np.isfinite(same).all()
    assert same.mean() > one.mean()
