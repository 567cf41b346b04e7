"""Distances between genomes, in units that many alike do not change."""

from __future__ import annotations

import numpy as np
import pytest

from nfopt.evolution.surrogate.distances import Distances, squares


def test_the_unit_is_that_of_genomes_that_differ() -> None:
    """Four of five have the same letters; how far the fifth is from them does not depend on it."""
    letters = np.array([[1, 0, 1]] * 4 + [[0, 1, 1]])
    numbers = np.array([[0.0], [0.1], [0.2], [0.3], [0.4]])
    space = Distances({"letters": letters, "numbers": numbers})
    gram = space.gram({"letters": 2.0, "numbers": 0.0})
    expected = np.ones((5, 5))
    expected[4, :4] = expected[:4, 4] = np.exp(-2.0)
    assert gram == pytest.approx(expected)
    rows = space.rows({"letters": letters, "numbers": numbers}, {"letters": 2.0, "numbers": 0.5})
    both = space.gram({"letters": 2.0, "numbers": 0.5})
    assert np.exp(-squares(rows, rows)) == pytest.approx(both)


def test_a_block_in_which_none_differ_counts_for_nothing() -> None:
    space = Distances({"letters": np.ones((3, 2))})
    assert space.gram({"letters": 16.0}).tolist() == np.ones((3, 3)).tolist()
