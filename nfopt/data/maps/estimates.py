"""Robust and careful estimates of a column: quantiles, spread, mean and deviation, weighted or not.

All hold from 1e-300 to 1e300: differences are taken of halves, squares of shares.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_RANGES = (0.25, 0.1, 0.05, 0.01, 0.001)  # lower ends of the quantile ranges that give a scale
_LARGEST = np.finfo(np.float64).max


def quantiles(column: Array, levels: Sequence[float], weights: Array | None = None) -> Array:
    """Interpolate between the middles of the sorted rows (Hazen), weighted or not.

    Args:
        column: Shape (n,), finite.
        levels: From 0 to 1.
        weights: Non-negative, shape (n,), or None.
    """
    order = np.argsort(column, kind="stable")
    values = column[order]
    weight = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)[order]
    values, weight = values[weight > 0.0], weight[weight > 0.0]
    middles = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
    # halves, as the difference of two values need not be finite
    interpolated: Array = 2.0 * np.interp(levels, middles, 0.5 * values)
    return interpolated


def spread(column: Array, weights: Array | None = None) -> float:
    """Give the interquartile range in a normal's deviations; where it is 0, the next wider one's.

    The deviation is never asked: one far value would decide it.
    """
    levels = [level for low in _RANGES for level in (low, 1.0 - low)]
    halves = 0.5 * quantiles(column, levels, weights)
    for number, low in enumerate(_RANGES):
        width = halves[2 * number + 1] - halves[2 * number]
        if width > 0.0:
            return float(width / NormalDist().inv_cdf(1.0 - low))
    end = NormalDist().inv_cdf(1.0 - 0.5 / len(column))
    return float((0.5 * column.max() - 0.5 * column.min()) / end)


def moments(column: Array, weights: Array | None) -> tuple[float, float]:
    """Give mean and deviation; neither squares nor sums overflow or vanish."""
    # Shifting first keeps the digits of a column that is large against its deviation.
    shift = 0.5 * float(column[0])
    moved = 0.5 * column - shift
    unit = float(np.max(np.abs(moved)))
    if unit == 0.0 or not np.isfinite(unit):
        return 2.0 * shift, 2.0 * unit
    moved = moved / unit
    mean = float(np.average(moved, weights=weights))
    scale = float(np.sqrt(np.average((moved - mean) ** 2, weights=weights)))
    return 2.0 * (mean * unit + shift), 2.0 * (scale * unit)


def finite(x: Array) -> Array:
    """Take what overflowed as the largest number."""
    return np.clip(x, -_LARGEST, _LARGEST)
