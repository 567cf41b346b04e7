"""Ranks and coverage on posteriors that are known: exact ones, and ones that are wrong in a way."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt.calibration import (
    band,
    coverage,
    deviation,
    sbc_ranks,
    tarp_ranks,
    uniformity,
)

Array = np.ndarray
ROWS, DRAWS = 1000, 100


def posterior(width: float = 1.0, shift: float = 0.0, seed: int = 0) -> tuple[Array, Array]:
    """theta ~ N(0, I) and x = theta + noise of 0.5: the posterior is a Gaussian, known exactly.

    Its samples are made too wide by a factor, or moved by deviations.
    """
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(ROWS, 2))
    x = theta + 0.5 * rng.normal(size=theta.shape)
    mean, deviation = x / 1.25, np.sqrt(0.2)
    noise = width * rng.normal(size=(ROWS, DRAWS, 2)) + shift
    return theta, mean[:, None] + deviation * noise


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_ranks_are_counts() -> None:
    theta = np.array([[0.0, 10.0]])
    samples = np.array([[[-1.0, 1.0], [1.0, 2.0], [2.0, 11.0]]])
    assert sbc_ranks(theta, samples, rng()).tolist() == [[1, 2]]
    points = np.array([[0.0, 9.0]])  # columns without spread keep their scale
    assert tarp_ranks(theta, samples, rng(), points).tolist() == [0]


def test_ties_take_any_place_among_their_equals() -> None:
    ranks = sbc_ranks(np.zeros((4000, 1)), np.zeros((4000, 3, 1)), rng())
    assert set(np.bincount(ranks[:, 0]).round(-3)) == {1000}


@pytest.mark.parametrize("seed", range(3))
def test_an_exact_posterior_has_uniform_ranks(seed: int) -> None:
    theta, samples = posterior(seed=seed)
    ranks = sbc_ranks(theta, samples, rng())
    both = [*ranks.T, tarp_ranks(theta, samples, rng())]
    for one in both:
        found = uniformity(one, DRAWS, rng())
        assert found.p_value > 0.01
        assert abs(found.spread - 1) < 0.1
        assert abs(found.shift) < 0.03
    half = band(ROWS, DRAWS, rng(), columns=2, level=0.99)
    assert all(np.abs(deviation(one, DRAWS)).max() < half for one in ranks.T)
    levels = np.linspace(0, 1, 21)
    assert np.abs(coverage(both[-1], DRAWS, levels) - levels).max() < 0.06


def test_a_posterior_that_is_too_narrow_is_seen_by_both() -> None:
    theta, samples = posterior(width=0.6)
    for ranks in (*sbc_ranks(theta, samples, rng()).T, tarp_ranks(theta, samples, rng())):
        found = uniformity(ranks, DRAWS, rng())
        assert found.p_value < 0.001
        assert found.spread > 1.2
    apart = deviation(sbc_ranks(theta, samples, rng())[:, 0], DRAWS)
    half = band(ROWS, DRAWS, rng())
    assert apart[10] > half
    assert apart[-10] < -half
    covered = coverage(tarp_ranks(theta, samples, rng()), DRAWS, np.array([0.1, 0.9]))
    assert covered[0] > 0.15
    assert covered[1] < 0.85


def test_one_that_is_too_wide_and_one_that_is_shifted_are_told_apart() -> None:
    wide, shifted = (
        uniformity(sbc_ranks(*posterior(**wrong), rng())[:, 0], DRAWS, rng())
        for wrong in ({"width": 1.6}, {"shift": 0.4})
    )
    assert wide.p_value < 0.001
    assert wide.spread < 0.8
    assert shifted.p_value < 0.001
    assert shifted.shift < -0.05  # theta is below samples that are too large


def test_tarp_sees_a_dependence_that_no_column_shows() -> None:
    """The posterior's columns are tied; samples with the right marginals and no tie are wrong."""
    source = np.random.default_rng(0)
    common = source.normal(size=(ROWS, 1))
    theta = np.hstack([common, -common]) + 0.05 * source.normal(size=(ROWS, 2))
    samples = source.normal(size=(ROWS, DRAWS, 2)) * np.hypot(1, 0.05)
    for ranks in sbc_ranks(theta, samples, rng()).T:
        assert uniformity(ranks, DRAWS, rng()).p_value > 0.01
    assert uniformity(tarp_ranks(theta, samples, rng()), DRAWS, rng()).p_value < 0.001


def test_the_band_holds_as_many_as_it_says() -> None:
    half = band(200, DRAWS, rng())
    chance = np.random.default_rng(1).integers(0, DRAWS, (500, 200), endpoint=True)
    outside = np.mean([np.abs(deviation(one, DRAWS)).max() > half for one in chance])
    assert 0.025 < outside < 0.085
    assert band(200, DRAWS, rng(), columns=10) > half


def test_coverage_without_error_is_the_level() -> None:
    ranks = np.arange(DRAWS + 1)
    levels = np.linspace(0, 1, 7)
    assert coverage(ranks, DRAWS, levels) == pytest.approx(levels)


@pytest.mark.parametrize(
    ("theta", "samples", "words"),
    [
        ((5,), (5, 4, 2), "`theta` must have shape"),
        ((5, 2), (5, 4), r"`samples` must have shape \(5, L, 2\).*got \(5, 4\)"),
        ((5, 2), (6, 4, 2), "`samples`"),
        ((5, 2), (5, 4, 3), "`samples`"),
        ((5, 2), (5, 0, 2), "`samples`"),
    ],
)
def test_wrong_shapes_are_refused(
    theta: tuple[int, ...], samples: tuple[int, ...], words: str
) -> None:
    for ranks in (sbc_ranks, tarp_ranks):
        with pytest.raises(ValueError, match=words):
            ranks(np.zeros(theta), np.zeros(samples), rng())


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"):
        sbc_ranks(np.zeros((3, 1)), np.full((3, 4, 1), np.nan), rng())
    with pytest.raises(ValueError, match="`references`"):
        tarp_ranks(np.zeros((3, 1)), np.zeros((3, 4, 1)), rng(), np.zeros((2, 1)))
