"""How much each two features depend on each other, measured on the ranks of the training data.

Two measures, both blind to any monotone change of a single feature: partial correlation of normal
scores (what is left of a linear dependence when all other features are known) and mutual
information of ranks (any dependence, but of two features alone).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Strength = NDArray[np.float64]
"""Dependence of every two features, 0 or more, shape (D, D), symmetric, the diagonal 0."""

ROWS = 5_000
"""Rows that are measured, evenly spaced over the table; a quarter of it beyond 128 features."""

TOGETHER = 16
"""Features whose mutual information with all others is computed at a time."""

MOST_PARENTS = 64
"""Length of a feature's ranking of parents at most."""


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rank each column from 0 to n - 1; tied values share their mean rank.

    >>> ranks(np.array([[3.0], [1.0], [3.0]])).ravel().tolist()
    [1.5, 0.0, 1.5]

    Args:
        values: Shape (n, D), finite.

    Returns:
        Shape (n, D).
    """
    result = np.empty(values.shape)
    for column in range(values.shape[1]):
        _, index, counts = np.unique(values[:, column], return_inverse=True, return_counts=True)
        result[:, column] = (np.cumsum(counts) - (counts + 1) / 2)[index]
    return result


def normal_scores(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Replace each value by the standard normal quantile of its rank (van der Waerden scores).

    Args:
        values: Shape (n, D), finite.

    Returns:
        Shape (n, D).
    """
    n = len(values)
    inverse = NormalDist().inv_cdf
    # Mean ranks come in halves.
    table = np.array([inverse((half / 2 + 0.5) / n) for half in range(2 * n - 1)])
    return np.asarray(table[np.rint(2 * ranks(values)).astype(np.int64)])


def partial_correlation(values: NDArray[np.floating]) -> Strength:
    """Absolute partial correlation of normal scores.

    The correlation matrix is shrunk towards the identity by what its sampling noise calls for
    (Schäfer and Strimmer 2005), so that it can be inverted also with more features than rows.

    Args:
        values: Shape (n, D), finite.

    Returns:
        Shape (D, D), from 0 to 1.
    """
    scores = normal_scores(_sample(values))
    n, features = scores.shape
    scores = scores - scores.mean(axis=0)
    spread = scores.std(axis=0)
    scores = scores / np.where(spread > 0, spread, 1.0)
    correlation = scores.T @ scores / n
    np.fill_diagonal(correlation, 0.0)
    signal = (correlation**2).sum()
    noise = ((1 - correlation**2) ** 2).sum() / max(n - 1, 1) - features / max(n - 1, 1)
    shrinkage = min(max(noise / signal, 1e-6), 1.0) if signal > 0 else 1.0
    precision = np.linalg.inv(np.eye(features) + (1 - shrinkage) * correlation)
    scale = np.sqrt(np.diag(precision))
    strength = np.abs(precision / scale[:, None] / scale[None, :])
    return _symmetric(strength)


def mutual_information(values: NDArray[np.floating]) -> Strength:
    """Mutual information of ranks in nats, from equally filled bins.

    The bias of the counts is taken off (Miller 1955), and what is below zero then is zero. With b
    bins it cannot exceed log b.

    Args:
        values: Shape (n, D), finite.

    Returns:
        Shape (D, D).
    """
    rank = ranks(_sample(values))
    n, features = rank.shape
    bins = bins_of(n, features)
    binned = np.minimum((rank + 0.5) / n * bins, bins - 1).astype(np.int64)
    inside = np.zeros((n, features, bins), dtype=np.float32)
    np.put_along_axis(inside, binned[:, :, None], 1.0, axis=2)
    flat = inside.reshape(n, features * bins)
    share = flat.mean(axis=0, dtype=np.float64).reshape(features, bins)
    entropy = -_x_log_x(share).sum(axis=1)
    filled = (share > 0).sum(axis=1)
    result = np.zeros((features, features))
    for first in range(0, features, TOGETHER):  # a few features at a time bound the memory
        some = slice(first, first + TOGETHER)
        counts = inside[:, some].reshape(n, -1).T @ flat[:, first * bins :]
        joint = counts.astype(np.float64).reshape(-1, bins, features - first, bins) / n
        own = entropy[some, None] + entropy[first:]
        information = own + _x_log_x(joint).sum(axis=(1, 3))
        bias = (joint > 0).sum(axis=(1, 3)) - filled[first:] - filled[some, None] + 1
        result[some, first:] = information - bias / (2 * n)
        result[first:, some] = result[some, first:].T
    return _symmetric(np.maximum(result, 0.0))


MEASURES: dict[str, Callable[[NDArray[np.floating]], Strength]] = {
    "partial_correlation": partial_correlation,
    "mutual_information": mutual_information,
}


def bins_of(rows: int, features: int) -> int:
    """Bins a feature in `mutual_information`."""
    return int(np.clip(np.sqrt(rows / 20), 4, 16 if features <= 64 else 8))


def rank_features(strength: Strength, most: int | None = None) -> tuple[tuple[int, ...], ...]:
    """For each feature the others, the most dependent one first; ties by index.

    Args:
        strength: Shape (D, D).
        most: Length of a ranking at most; by default all D - 1 others.
    """
    features = len(strength)
    shown = features if most is None else min(features, most + 1)  # one of them may be itself
    order = np.argsort(-strength, axis=1, kind="stable")[:, :shown].tolist()
    return tuple(
        tuple(other for other in row if other != feature)[:most]
        for feature, row in enumerate(order)
    )


def chain(strength: Strength) -> tuple[int, ...]:
    """Order the features so that each comes after those that it depends on most.

    The first is the one that depends most on all others; each next one is the one that depends
    most on a feature already in the order (a maximum spanning tree; Prim 1957).

    >>> strength = np.array([[0.0, 0.1, 0.9], [0.1, 0.0, 0.5], [0.9, 0.5, 0.0]])
    >>> chain(strength)
    (2, 0, 1)

    Args:
        strength: Shape (D, D).

    Returns:
        Each feature once.
    """
    features = len(strength)
    order = [int(strength.sum(axis=1).argmax())] if features else []
    remaining = np.ones(features, dtype=bool)
    while len(order) < features:
        remaining[order] = False
        strongest = np.where(remaining, strength[order].max(axis=0), -np.inf)
        order.append(int(strongest.argmax()))
    return tuple(order)


def _sample(values: NDArray[np.floating]) -> NDArray[np.floating]:
    most = ROWS if values.shape[1] <= 128 else ROWS // 4
    if len(values) <= most:
        return values
    chosen: Sequence[int] = np.linspace(0, len(values) - 1, most).astype(np.int64).tolist()
    return values[chosen]


def _x_log_x(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return share * np.log(np.where(share > 0, share, 1.0))


def _symmetric(strength: Strength) -> Strength:
    strength = (strength + strength.T) / 2  # exactly symmetric, whatever the rounding
    np.fill_diagonal(strength, 0.0)
    return strength
