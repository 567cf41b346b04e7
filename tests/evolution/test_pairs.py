from __future__ import annotations

import numpy as np

from nfopt.evolution.pairs import Pairs

from .layouts import LAYOUTS, strengths


def test_the_strongest_pairs_are_kept_and_all_others_are_nothing() -> None:
    matrix = strengths(LAYOUTS["masks alone"], np.random.default_rng(0))
    found = Pairs.of(matrix, most=7)
    strongest = np.sort(matrix[np.triu_indices(12, 1)])[::-1]
    assert found.strength.tolist() == strongest[:7].astype(np.float32).tolist()
    again = found.matrix()
    assert np.array_equal(again, again.T)
    assert np.count_nonzero(again) == 14
    kept = again > 0
    np.testing.assert_allclose(again[kept], matrix[kept], rtol=1e-6)


def test_what_is_below_the_least_or_no_number_is_left_out() -> None:
    matrix = np.zeros((4, 4))
    matrix[0, 1], matrix[1, 2], matrix[2, 3] = 0.5, np.nan, 0.1
    found = Pairs.of(matrix, least=0.1)
    assert (len(found), found.first.tolist(), found.second.tolist()) == (1, [0], [1])
    assert len(Pairs.of(np.zeros((1, 1)))) == 0
