from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt import dependence as d


def test_ranks_share_ties() -> None:
    values = np.array([[3.0, 1.0], [1.0, 1.0], [2.0, 1.0], [2.0, 5.0]])
    assert d.ranks(values).tolist() == [[3.0, 1.0], [0.0, 1.0], [1.5, 1.0], [1.5, 3.0]]


def test_normal_scores_are_quantiles_and_blind_to_monotone_change() -> None:
    values = np.random.default_rng(0).normal(size=(999, 2))
    scores = d.normal_scores(values)
    assert np.abs(scores.mean(axis=0)).max() < 1e-12
    assert scores.std() == pytest.approx(1, abs=0.01)
    assert scores[values[:, 0].argmin(), 0] == pytest.approx(-3.29, abs=0.01)
    assert np.array_equal(scores, d.normal_scores(np.exp(values)))


@pytest.mark.parametrize("name", d.MEASURES)
@pytest.mark.parametrize(("n", "D"), [(50, 1), (50, 64), (500, 7), (20_000, 3)])
def test_every_measure_is_a_strength(name: str, n: int, D: int) -> None:
    values = np.random.default_rng(n).normal(size=(n, D))
    values[:, -1] = np.round(values[:, -1])
    strength = d.MEASURES[name](values)
    assert strength.shape == (D, D)
    assert np.isfinite(strength).all()
    assert (strength >= 0).all()
    assert np.array_equal(strength, strength.T)
    assert not strength.diagonal().any()
    assert np.array_equal(strength, d.MEASURES[name](values))


def test_a_constant_column_depends_on_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(200, 3))
    values[:, 1] = 2.0
    for measure in d.MEASURES.values():
        assert measure(values)[1].max() < 1e-12


def test_known_values_of_a_gaussian() -> None:
    # A chain 0 - 1 - 2: 0 and 2 are correlated, and independent when 1 is known.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5_000, 4))
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    x[:, 2] = 0.8 * x[:, 1] + 0.6 * x[:, 2]
    partial = d.partial_correlation(np.sinh(x))
    exact = np.linalg.inv([[1, 0.8, 0.64], [0.8, 1, 0.8], [0.64, 0.8, 1]])
    assert partial[0, 1] == pytest.approx(
        -exact[0, 1] / np.sqrt(exact[0, 0] * exact[1, 1]), abs=0.03
    )
    assert partial[0, 2] < 0.05
    information = d.mutual_information(np.sinh(x))
    assert information[0, 1] == pytest.approx(-0.5 * np.log(1 - 0.64), abs=0.06)  # bins lose some
    assert information[0, 2] > 0.15
    assert information[3].max() < 0.01
    assert partial[3].max() < 0.05


def test_mutual_information_sees_what_correlation_cannot() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2_000, 3))
    x[:, 1] = x[:, 0] ** 2
    assert d.mutual_information(x)[0, 1] > 1
    assert d.partial_correlation(x)[0, 1] < 0.1


def test_noise_is_shrunk_away() -> None:
    values = np.random.default_rng(0).normal(size=(60, 40))
    assert d.partial_correlation(values).max() < 0.2
    assert d.mutual_information(values).mean() < 0.05


def test_rankings_and_chain_of_a_known_matrix() -> None:
    strength = np.zeros((4, 4))
    for (i, j), value in {(0, 1): 1, (1, 2): 3, (2, 3): 2, (0, 3): 0.5}.items():
        strength[i, j] = strength[j, i] = value
    assert d.rank_features(strength) == ((1, 3, 2), (2, 0, 3), (1, 3, 0), (2, 0, 1))
    assert d.rank_features(strength, most=1) == ((1,), (2,), (1,), (2,))
    assert d.chain(strength) == (2, 1, 3, 0)
    assert d.chain(np.zeros((1, 1))) == (0,)


@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_rankings_and_chain_name_everyone_once(D: int, seed: int) -> None:
    strength = np.random.default_rng(seed).integers(0, 3, size=(D, D)).astype(float)
    strength = strength + strength.T
    assert sorted(d.chain(strength)) == list(range(D))
    for feature, others in enumerate(d.rank_features(strength)):
        assert sorted((*others, feature)) == list(range(D))


def test_many_rows_are_sampled() -> None:
    values = np.random.default_rng(0).normal(size=(200_000, 3))
    values[:, 1] += values[:, 0]
    assert d.partial_correlation(values)[0, 1] == pytest.approx(np.sqrt(0.5), abs=0.03)
