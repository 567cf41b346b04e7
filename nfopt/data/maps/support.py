"""Where a column's values may lie, and how they come to the line: bounds, ties, grids.

One rule holds wherever values come in, for training and for scoring: bounds are open, but a value
of a tied column may lie on one, as its cell reaches inside. `settled` takes it at the middle of
that part of its cell, and `dequantised` spreads it there.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["identity", "logit", "log", "upper"]

_DECIMALS = 12  # of a step and a first value, up to which a grid's values are rounded to them


class ColumnHint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be done with a column before its marginal map.

    Attributes:
        low: Lower bound (open), or None.
        high: Upper bound (open), or None.
        step: Width within which uniform noise is added to tied values, or None.
    """

    low: float | None = None
    high: float | None = None
    step: float | None = None

    def __post_init__(self) -> None:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        finite = all(end is None or math.isfinite(end) for end in (self.low, self.high))
        if not (finite and low < high):
            raise ValueError(f"`bounds` must rise, got {self.low} and {self.high}")
        if self.step is not None and not 0.0 < self.step < math.inf:
            raise ValueError(f"`step` must be positive and finite, got {self.step}")

    @property
    def kind(self) -> Kind:
        """The map: "logit" of two bounds, "log" of a lower, "upper" of an upper one."""
        if self.low is not None:
            return "log" if self.high is None else "logit"
        return "identity" if self.high is None else "upper"


def outside(column: Array, hint: ColumnHint) -> NDArray[np.bool_]:
    """Say which values have density 0: beyond a bound, or on one where the column is not tied."""
    beyond = np.zeros(len(column), dtype=np.bool_)
    if hint.low is not None:
        beyond |= column < hint.low if hint.step is not None else column <= hint.low
    if hint.high is not None:
        beyond |= column > hint.high if hint.step is not None else column >= hint.high
    return beyond


def settled(column: Array, hint: ColumnHint) -> Array:
    """Take values on a bound of a tied column at the middle of their cell's inner part."""
    if hint.step is None or hint.kind == "identity":
        return column
    low, high = _cell(column, hint)
    return np.where((column == hint.low) | (column == hint.high), low + 0.5 * (high - low), column)


def bent(column: Array, hint: ColumnHint) -> tuple[Array, Array]:
    """Take a column from its bounds to the line; also the log of the slope, -inf outside."""
    low, high = hint.low, hint.high
    if low is None and high is None:
        return column, np.zeros(len(column))
    out = outside(column, hint)
    column = settled(column, hint)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = None if low is None else np.log(column - low)
        below = None if high is None else np.log(high - column)
        if above is not None and below is not None and low is not None and high is not None:
            line, slope = above - below, np.log(high - low) - above - below
        elif above is not None:
            line, slope = above, -above
        elif below is not None:
            line, slope = -below, -below
    return np.where(out, np.nan, line), np.where(out, -np.inf, slope)


def unbent(line: Array, hint: ColumnHint) -> Array:
    """Take a column from the line back between its bounds."""
    low, high = hint.low, hint.high
    if low is None and high is None:
        return line
    with np.errstate(over="ignore"):
        if low is not None and high is not None:
            # From the nearer bound: exact in both tails.
            part = np.exp(-np.abs(line))
            near = (high - low) * part / (1.0 + part)
            x = np.where(line < 0.0, low + near, high - near)
        elif low is not None:
            x = low + np.exp(line)
        else:
            x = (high if high is not None else 0.0) - np.exp(-line)
    least = -np.finfo(np.float64).max if low is None else np.nextafter(low, np.inf)
    greatest = np.finfo(np.float64).max if high is None else np.nextafter(high, -np.inf)
    return np.clip(x, least, greatest)


def dequantised(column: Array, hint: ColumnHint, uniform: Array) -> Array:
    """Spread tied values uniformly over their cell, value +- step / 2, cut at the bounds.

    The likelihood of the spread values is bounded, and its mean is a lower bound on the
    log-probability of the rounded ones (Theis et al. 2016, section 3.1).

    Args:
        column: Shape (n,); values that lie outside stay as they are.
        hint: Of the column.
        uniform: From 0 to below 1, shape (n,); see `row_noise`.
    """
    if hint.step is None:
        return column
    low, high = _cell(column, hint)
    return np.where(outside(column, hint), column, low + uniform * (high - low))


def on_grid(column: Array, hint: ColumnHint, ends: tuple[float, float]) -> Array:
    """Put spread values back on the grid of a tied column, between its ends.

    Args:
        column: Shape (n,).
        hint: Of the column, with a step.
        ends: Least and greatest value of the data.
    """
    if hint.step is None:
        return column
    first, last = ends
    cells = np.clip(np.rint((column - first) / hint.step), 0.0, np.rint((last - first) / hint.step))
    values = first + cells * hint.step
    decimals = max(_decimals(round(first, _DECIMALS)), _decimals(hint.step))
    if decimals <= _DECIMALS:  # the numbers as they are written: 0.3, not 0.1 + 0.2
        values = np.round(values, decimals)
    return values + 0.0  # no -0.0


def row_hashes(values: Array) -> NDArray[np.uint64]:
    """Hash each row to 64 bits; equal rows, -0.0 being 0.0, have equal hashes.

    Args:
        values: Shape (n, D), finite.
    """
    total = np.zeros(len(values), dtype=np.uint64)
    for position in range(values.shape[1]):
        total ^= (values[:, position] + 0.0).view(np.uint64)  # + 0.0 turns -0.0 into 0.0
        total = _mixed(total)
    return total


def row_noise(values: Array, columns: list[int], seed: int, part: int) -> dict[int, Array]:
    """Draw uniform noise from the content of the rows, so that equal rows in any file have it too.

    Of equal rows the first has always the same noise, the second another, and so on.

    Args:
        values: Shape (n, D), finite: features, then context.
        columns: Which columns need noise.
        seed: Of the model.
        part: Of the split: 0, 1, 2 for training, validation, test, so that equal rows of two parts
            differ.

    Returns:
        By column, from 0 to below 1, shape (n,).
    """
    hashes = row_hashes(values)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sizes = np.diff(starts, append=len(ordered))
    nth = np.empty(len(values), dtype=np.uint64)
    nth[order] = np.arange(len(ordered)) - np.repeat(starts, sizes)
    keys = np.full(len(values), seed % (1 << 64), dtype=np.uint64)
    for number in (np.uint64(part), hashes, nth):
        keys = _mixed(keys ^ number)
    noise: dict[int, Array] = {}
    for column in columns:
        bits = _mixed(keys ^ np.uint64(column)) >> np.uint64(11)
        noise[column] = bits.astype(np.float64) * 2.0**-53
    return noise


def _cell(column: Array, hint: ColumnHint) -> tuple[Array, Array]:
    """Give the ends of each value's cell, strictly inside the bounds."""
    step = hint.step or 0.0
    low, high = column - 0.5 * step, column + 0.5 * step
    if hint.low is not None:
        low = np.maximum(low, np.nextafter(hint.low, np.inf))
    if hint.high is not None:
        high = np.minimum(high, np.nextafter(hint.high, -np.inf))
    return low, high


def _mixed(total: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Finish with splitmix64's mixing (Steele et al. 2014); wraps around on purpose."""
    total = total + np.uint64(0x9E3779B97F4A7C15)
    total ^= total >> np.uint64(30)
    total *= np.uint64(0xBF58476D1CE4E5B9)
    total ^= total >> np.uint64(27)
    total *= np.uint64(0x94D049BB133111EB)
    total ^= total >> np.uint64(31)
    return total


def _decimals(number: float) -> int:
    text = np.format_float_positional(number, trim="-")
    return len(text.partition(".")[2])
