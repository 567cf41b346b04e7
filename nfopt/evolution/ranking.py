"""Who is better: feasible first, then the value; with several the front, then its volume.

Constraints follow Deb (2000): a feasible genome before an infeasible one, of two infeasible ones
the smaller violation. Several objectives: non-dominated rank, then the contribution to the
hypervolume of the own front (Beume, Naujoks, Emmerich 2007); exact for two and three objectives,
beyond that the crowding distance (Deb et al. 2002) in its place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MARGIN = 0.1
"""How far behind the worst of a front its reference point lies, in the front's range."""


def order(values: Floats, violation: Floats) -> Ints:
    """Sort genomes, the best first.

    Args:
        values: To be minimised, shape (n, m).
        violation: At most 0 where feasible, shape (n,).

    Returns:
        Indices, shape (n,). Equal genomes keep their order.
    """
    over = np.maximum(violation, 0.0)
    if values.shape[1] == 1:
        return np.lexsort((values[:, 0], over))
    rank = np.zeros(len(values), dtype=np.intp)
    share = np.zeros(len(values))
    feasible = np.flatnonzero(over == 0)
    rank[feasible] = fronts(values[feasible])
    for front in range(int(rank.max(initial=0)) + 1):
        mine = feasible[rank[feasible] == front]
        share[mine] = contributions(values[mine])
    return np.lexsort((-share, rank, over))


def undominated(values: Floats) -> Ints:
    """Indices of the points that no other dominates; fast where they are few.

    Args:
        values: To be minimised, shape (n, m).
    """
    left = np.lexsort(values.T[::-1])  # nothing dominates what comes before it
    kept: list[int] = []
    while len(left):
        point, left = left[0], left[1:]
        kept.append(int(point))
        worse = (values[point] <= values[left]).all(axis=1)
        equal = (values[point] == values[left]).all(axis=1)
        left = left[~worse | equal]
    return np.array(kept, dtype=np.intp)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats in both numbers, by the first one.

    Args:
        points: To be minimised; of equal ones the first stands for all.
    """
    if not points:
        return []
    found: list[int] = []
    for k in undominated(np.asarray(points, dtype=np.float64)):
        if not found or points[found[-1]] != points[k]:
            found.append(int(k))
    return found


def fronts(values: Floats) -> Ints:
    """Non-dominated rank of each point, 0 for the first front.

    Args:
        values: To be minimised, shape (n, m).
    """
    rank = np.zeros(len(values), dtype=np.intp)
    left, front_number = np.arange(len(values)), 0
    while left.size:
        first = undominated(values[left])
        rank[left[first]] = front_number
        left, front_number = np.delete(left, first), front_number + 1
    return rank


def contributions(values: Floats) -> Floats:
    """What each point of a front alone adds to the hypervolume, in ranges of the front.

    The reference point lies `MARGIN` behind the worst value of each objective.

    Args:
        values: To be minimised, shape (n, m).

    Returns:
        Shape (n,). With more than three objectives the crowding distance.
    """
    low = values.min(axis=0, initial=np.inf)
    width = values.max(axis=0, initial=-np.inf) - low
    scaled = (values - low) / np.where(width > 0, width, 1.0)
    if values.shape[1] > 3:
        return crowding(scaled)
    return exclusive(scaled, np.full(values.shape[1], 1 + MARGIN))


def exclusive(values: Floats, reference: Floats) -> Floats:
    """The volume that only one point dominates, for each point; exact.

    Sweeps the last objective; in a slab between two of its values the plane of the other two is a
    grid of the points' coordinates, on which is counted how many points dominate a cell.

    Args:
        values: To be minimised, each below `reference`, shape (n, m) with m at most 3.
        reference: Shape (m,).

    Returns:
        Shape (n,).
    """
    count, objectives = values.shape
    # Fewer than three objectives: the others are a slab of height 1.
    points = np.concatenate([values, np.zeros((count, 3 - objectives))], axis=1)
    corner = np.concatenate([reference, np.ones(3 - objectives)])
    edges = [np.append(np.unique(points[:, axis]), corner[axis]) for axis in range(3)]
    x, y = (np.searchsorted(edges[axis], points[:, axis]) for axis in range(2))
    area = np.diff(edges[0])[:, None] * np.diff(edges[1])[None, :]
    dominators = np.zeros(area.shape, dtype=np.int32)
    numbers = np.zeros(area.shape, dtype=np.int64)  # sum of the dominators' indices
    volume = np.zeros(count)
    for level, height in zip(edges[2], np.diff(edges[2]), strict=False):
        for point in np.flatnonzero(points[:, 2] == level):
            dominators[x[point] :, y[point] :] += 1
            numbers[x[point] :, y[point] :] += point
        alone = dominators == 1
        volume += height * np.bincount(numbers[alone], area[alone], minlength=count)
    return volume


def crowding(values: Floats) -> Floats:
    """Sum over the objectives of the gap between a point's neighbours; infinite at the ends.

    Args:
        values: Scaled to a range of 1, shape (n, m).
    """
    distance = np.zeros(len(values))
    for column in values.T:
        by = np.argsort(column, kind="stable")
        gap = np.full(len(values), np.inf)
        gap[1:-1] = column[by][2:] - column[by][:-2]
        distance[by] += gap
    return distance
