from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nfopt import designs
from nfopt.masks import is_valid, letters, pair_coverage, repair


@pytest.mark.parametrize("name", designs.DESIGNS)
@pytest.mark.parametrize("D", [2, 3, 7, 43, 64])
@pytest.mark.parametrize("L", [0, 1, 2, 5, 8])
def test_every_design_is_valid(name: str, L: int, D: int) -> None:
    rng = np.random.default_rng(0)
    masks = designs.DESIGNS[name](L, D, rng, rng.random((D, D)))
    assert masks.shape == (L, D)
    assert masks.dtype == np.dtype("<U1")
    assert is_valid(masks)
    assert np.array_equal(repair(masks), masks)
    if name not in ("iid", "binary_code") and L:
        assert set((masks == "T").sum(axis=1)) <= {D // 2, (D + 1) // 2}


@pytest.mark.parametrize("name", designs.DESIGNS)
def test_one_feature_has_no_design(name: str) -> None:
    with pytest.raises(ValueError, match="`features` must be at least 2, not 1"):
        designs.DESIGNS[name](2, 1, np.random.default_rng(0), np.zeros((1, 1)))


def test_the_plain_designs_are_exactly_these() -> None:
    assert letters(designs.halves(3, 5)) == ("CCCTT", "TTTCC", "CCCTT")
    assert letters(designs.parity(3, 5)) == ("CTCTC", "TCTCT", "CTCTC")
    assert letters(designs.binary_code(5)) == (
        "CTCTC", "TCTCT", "CCTTC", "TTCCT", "CCCCT", "TTTTC",
    )  # fmt: skip
    assert letters(designs.binary_code(4, 6)) == ("CTCT", "TCTC", "CCTT", "TTCC", "CTCT", "TCTC")


@given(st.integers(2, 200))
def test_the_binary_code_covers_every_ordered_pair(D: int) -> None:
    masks = designs.binary_code(D)
    assert len(masks) == 2 * int(np.ceil(np.log2(D)))
    assert (pair_coverage(masks) + np.eye(D, dtype=int) > 0).all()


@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_complement_pairs_are_balanced_complements(D: int, pairs: int, seed: int) -> None:
    masks = designs.complement_pairs(2 * pairs, D, np.random.default_rng(seed))
    assert ((masks[::2] == "T") == (masks[1::2] == "C")).all()
    assert set((masks == "T").sum(axis=1)) <= {D // 2, (D + 1) // 2}
    again = designs.complement_pairs(2 * pairs, D, np.random.default_rng(seed))
    assert np.array_equal(masks, again)


def test_iid_has_the_share_that_was_asked_for() -> None:
    masks = designs.iid(20, 100, np.random.default_rng(0), share=0.2)
    assert abs((masks == "T").mean() - 0.2) < 0.05
    with pytest.raises(ValueError, match=r"`share` must be between 0 and 1, not 1\.5"):
        designs.iid(2, 4, np.random.default_rng(0), share=1.5)


@pytest.mark.parametrize("D", [2, 5, 8, 11])
def test_the_cut_is_the_best_one(D: int) -> None:
    rng = np.random.default_rng(D)
    for _ in range(5):
        weights = rng.exponential(size=(D, D)) ** 3
        weights = weights + weights.T
        np.fill_diagonal(weights, 0)
        best = 0.0
        for size in {D // 2, (D + 1) // 2}:
            for chosen in combinations(range(D), size):
                side = np.isin(np.arange(D), chosen)
                best = max(best, weights[side][:, ~side].sum())
        side = designs.balanced_cut(weights)
        assert side.sum() in (D // 2, (D + 1) // 2)
        assert not side[0]
        assert weights[side][:, ~side].sum() == pytest.approx(best)


def test_the_first_cut_parts_what_depends_and_the_next_what_is_left() -> None:
    # 0-3 and 1-2 depend most, 0-1 and 2-3 less.
    matrix = np.array([[9, 2, 0, 5], [2, 9, 5, 0], [0, 5, 9, 2], [5, 0, 2, 9]], dtype=float)
    masks = designs.dependence(12, 4, matrix)
    assert letters(masks[:2]) == ("CTCT", "TCTC")
    coverage = pair_coverage(masks)
    assert (coverage + np.eye(4, dtype=int) > 0).all()
    assert coverage[0, 3] >= coverage[0, 2]


def test_without_dependence_the_cuts_cover_all_pairs_like_a_code() -> None:
    masks = designs.dependence(12, 64, np.zeros((64, 64)))
    assert (pair_coverage(masks) == 0).sum() == 64


def test_dependence_is_deterministic_and_leaves_the_matrix_alone() -> None:
    matrix = np.random.default_rng(0).random((20, 20))
    before = matrix.copy()
    first = designs.dependence(5, 20, matrix)
    assert np.array_equal(first, designs.dependence(5, 20, matrix))
    assert np.array_equal(first, designs.dependence(5, 20, matrix * 7))
    assert np.array_equal(matrix, before)


@pytest.mark.parametrize(
    ("matrix", "says"),
    [
        (np.zeros((3, 4)), r"`matrix` must have shape \(4, 4\), not \(3, 4\)"),
        (np.full((4, 4), -1.0), "finite entries of 0 or more, not -1"),
        (np.full((4, 4), np.nan), "finite entries of 0 or more, not nan"),
        (np.full((4, 4), np.inf), "finite entries of 0 or more, not inf"),
    ],
)
def test_dependence_names_what_is_wrong(matrix: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        designs.dependence(4, 4, matrix)
