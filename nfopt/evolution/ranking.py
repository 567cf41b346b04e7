"""The order of genomes: feasible first, then by value; with several values by front and volume.

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
    remaining = np.lexsort(values.T[::-1])  # no point dominates one before it
    kept: list[int] = []
    while len(remaining):
        point, remaining = remaining[0], remaining[1:]
        kept.append(int(point))
        worse = (values[point] <= values[remaining]).all(axis=1)
        equal = (values[point] == values[remaining]).all(axis=1)
        remaining = remaining[~worse | equal]
    return np.array(kept, dtype=np.intp)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats in both numbers, by the first one.

    Args:
        points: To be minimised; of equal ones the first stands for all.
    """
    if not points:
        return []
    indices: list[int] = []
    for k in undominated(np.asarray(points, dtype=np.float64)):
        if not indices or points[indices[-1]] != points[k]:
            indices.append(int(k))
    return indices


def fronts(values: Floats) -> Ints:
    """Non-dominated rank of each point, 0 for the first front.

    Args:
        values: To be minimised, shape (n, m).
    """
    rank = np.zeros(len(values), dtype=np.intp)
    remaining, number = np.arange(len(values)), 0
    while remaining.size:
        first = undominated(values[remaining])
        rank[remaining[first]] = number
        remaining, number = np.delete(remaining, first), number + 1
    return rank


def contributions(values: Floats) -> Floats:
    """The hypervolume contribution of each point of a front, in ranges of the front.

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

    Sweeps the last objective. In a slab between two of its values, the plane of the other two is
    cut into cells by the points' coordinates, and the points that dominate a cell are counted.

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
