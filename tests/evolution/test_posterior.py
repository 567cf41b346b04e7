from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution import posterior


def test_replicates_are_pooled_within_genomes_only() -> None:
    values = np.array([1.0, 10.0, 3.0, 20.0, 2.0])
    means, counts, squares, freedom = posterior.pooled(values, np.array([0, 1, 0, 2, 0]), 4)
    assert means.tolist() == [2.0, 10.0, 20.0, 0.0]
    assert counts.tolist() == [3, 1, 1, 0]
    assert (squares, freedom) == (2.0, 2)


def test_the_posterior_mean_of_a_single_run_goes_half_way_where_noise_is_the_spread() -> None:
    means, sds = posterior.shrink(
        np.array([0.0, 0.0, 8.0]), np.array([1, 3, 1]), np.full(3, 4.0), noise=4.0, spread=4.0
    )
    assert means.tolist() == [2.0, 1.0, 6.0]
    assert sds == pytest.approx([np.sqrt(2.0), 1.0, np.sqrt(2.0)])


def test_without_noise_a_value_is_what_it_is() -> None:
    means, sds = posterior.shrink(np.array([1.0, 5.0]), np.array([1, 1]), np.zeros(2), 0.0, 3.0)
    assert means.tolist() == [1.0, 5.0]
    assert sds.tolist() == [0.0, 0.0]


def test_noise_is_none_once_two_replicates_are_equal() -> None:
    assert posterior.noise_variance(0.0, 1, 4.0) > 0
    assert posterior.noise_variance(0.0, 2, 4.0) == 0.0
    assert posterior.noise_variance(1e-30, 2, 4.0) == 0.0
    assert posterior.noise_variance(0.01, 2, 4.0) > 0


def test_noise_comes_from_the_replicates_once_there_are_some() -> None:
    guess = posterior.GUESS**2 * 4.0
    assert posterior.noise_variance(0.0, 0, 4.0) == pytest.approx(guess)
    assert posterior.noise_variance(18.0, 9, 4.0) == pytest.approx((18 + guess) / 10)


@pytest.mark.parametrize("count", [4, 5, 10, 11, 12, 101, 1000])
def test_values_are_cut_at_the_quantiles_of_numpy_to_the_last_bit(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    values[-1] = 1e9
    low, middle = np.quantile(values, (0.1, 0.5))
    assert posterior.cut(values)[-1] == middle + posterior.CAP * (middle - low)


def test_a_run_that_diverged_is_cut() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 1e9])
    low = np.quantile(values, 0.1)
    assert posterior.cut(values).tolist() == [1.0, 2.0, 3.0, 4.0, 3.0 + posterior.CAP * (3 - low)]
    level = np.array([1.0, 1.0, 1.0, 7.0])
    assert posterior.cut(level).tolist() == level.tolist()


def test_the_prior_follows_the_time() -> None:
    values = np.repeat([10.0, 0.0], 50)
    prior = posterior.cohort_means(values)
    assert prior[0] == 10.0
    assert prior[-1] == 0.0
    assert prior[50] == pytest.approx(10 * posterior.COHORT / (2 * posterior.COHORT + 1))
