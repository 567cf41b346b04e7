from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nfopt.evolution import ranking
from nfopt.evolution.ranking import front


def test_feasible_first_then_the_smaller_violation() -> None:
    values = np.array([[1.0], [5.0], [0.0], [3.0]])
    violation = np.array([2.0, 0.0, 0.5, -1.0])
    assert ranking.order(values, violation).tolist() == [3, 1, 2, 0]


def test_fronts_and_then_the_volume() -> None:
    values = np.array([[0.0, 4.0], [1.0, 3.0], [3.5, 0.5], [4.0, 0.0], [4.0, 4.0], [1.0, 3.5]])
    assert ranking.fronts(values).tolist() == [0, 0, 0, 0, 2, 1]
    # In the middle of the front, (1, 3) adds most; of equal rank the ends come by their volume.
    assert ranking.order(values, np.zeros(6)).tolist()[0] == 1
    assert ranking.order(values, np.zeros(6)).tolist()[-2:] == [5, 4]


def test_exclusive_volume_in_two_dimensions() -> None:
    points = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert ranking.exclusive(points, np.array([4.0, 4.0])).tolist() == [1.0, 1.0, 1.0]


def test_exclusive_volume_in_three_dimensions() -> None:
    points = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    # Each box is 2 x 1 x 1, all three share the unit cube at (1, 1, 1).
    assert ranking.exclusive(points, np.array([2.0, 2.0, 2.0])).tolist() == [1.0, 1.0, 1.0]


def _volume(points: np.ndarray, cells: int) -> float:
    """Hypervolume by counting the cells of an integer grid."""
    grid = np.stack(np.meshgrid(*[np.arange(cells)] * points.shape[1], indexing="ij"), axis=-1)
    covered = np.zeros(grid.shape[:-1], dtype=bool)
    for point in points:
        covered |= (grid >= point).all(axis=-1)
    return float(covered.sum())


@given(
    hnp.arrays(
        np.int64,
        st.tuples(st.integers(1, 7), st.integers(1, 3)),
        elements=st.integers(0, 4),
    )
)
def test_exclusive_volume_is_what_is_lost_without_the_point(points: np.ndarray) -> None:
    reference = np.full(points.shape[1], 5.0)
    found = ranking.exclusive(points.astype(float), reference)
    whole = _volume(points, 5)
    for index in range(len(points)):
        without = _volume(np.delete(points, index, axis=0), 5)
        assert found[index] == pytest.approx(whole - without)


@given(
    hnp.arrays(
        np.int64, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.integers(0, 3)
    )
)
def test_fronts_agree_with_the_definition(points: np.ndarray) -> None:
    values = points.astype(float)
    rank = ranking.fronts(values)
    assert set(ranking.undominated(values).tolist()) == set(np.flatnonzero(rank == 0).tolist())
    for index, value in enumerate(values):
        dominating = (values <= value).all(axis=1) & (values < value).any(axis=1)
        assert rank[index] == (rank[dominating].max() + 1 if dominating.any() else 0)


def test_four_objectives_go_by_the_crowding_distance() -> None:
    values = np.array([[0.0, 3.0, 0.0, 3.0], [1.0, 2.0, 1.0, 2.0], [3.0, 0.0, 3.0, 0.0]])
    shares = ranking.contributions(values)
    assert np.isinf(shares[[0, 2]]).all()
    assert shares[1] == pytest.approx(4.0)


def test_the_front_of_two_leaves_out_what_is_beaten() -> None:
    points = [(3.0, 1.0), (1.0, 5.0), (2.0, 5.0), (3.0, 2.0), (0.5, 6.0), (9.0, math.inf)]
    assert front(points) == [4, 1, 0]
    assert front([*points, (1.0, 5.0)]) == [4, 1, 0]
    assert front([]) == []
