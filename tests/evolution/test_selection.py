from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution import selection


def test_without_noise_the_tournament_is_the_population_and_under_noise_two() -> None:
    assert selection.tournament_size(50, 1.0) == 50
    assert selection.tournament_size(50, 0.0) == selection.LEAST
    sizes = [selection.tournament_size(50, r) for r in np.linspace(0, 1, 11)]
    assert sizes == sorted(sizes)
    assert selection.tournament_size(1, 1.0) == 1


def test_reliability() -> None:
    assert selection.reliability(0.0, 0.0) == 1.0
    assert selection.reliability(1.0, 3.0) == 0.75


def test_the_best_of_k_has_the_distribution_that_it_should_have() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([selection.tournament(10, 3, rng) for _ in range(20_000)])
    expected = [(1 - i / 10) ** 3 - (1 - (i + 1) / 10) ** 3 for i in range(10)]
    shares = np.bincount(drawn, minlength=10) / len(drawn)
    assert shares == pytest.approx(expected, abs=0.012)


def test_more_noise_means_more_re_evaluation() -> None:
    assert selection.replicate_share(0.1, 1.0) == 0.0
    assert selection.replicate_share(0.1, 0.99) == pytest.approx(0.051)
    assert selection.replicate_share(0.1, 0.5) == pytest.approx(0.1)
    assert selection.replicate_share(0.1, 0.0) == pytest.approx(0.15)


def test_the_least_replicated_of_the_best_is_run_again() -> None:
    assert selection.least_replicated(np.array([3, 2, 2, 1]), 3) == 1
    assert selection.least_replicated(np.array([3, 2, 2, 1]), 4) == 3
