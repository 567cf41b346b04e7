"""Marginal maps that two or four numbers describe: standardise and asinh."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.estimates import finite, moments, quantiles, spread

Array = NDArray[np.float64]


class Map(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """A fitted map as plain data; its tag is the kind's name."""

    def check(self) -> None:
        """Refuse numbers that no fit gives.

        Raises:
            ValueError: If one is not finite, or what must be positive or rise does not.
        """


def check_numbers(numbers: Sequence[float], positive: Sequence[float]) -> None:
    """Raise ValueError unless all are finite, and those above 0 that must be."""
    if not all(map(math.isfinite, [*numbers, *positive])):
        raise ValueError("its numbers must be finite")
    if positive and min(positive) <= 0.0:
        raise ValueError(f"its spread is {min(positive):g}")


class Standardise(Map, frozen=True, tag="standardise"):
    """z = (x - mean) / scale, by mean and deviation."""

    mean: float
    scale: float

    def check(self) -> None:
        """Refuse numbers that no fit gives."""
        check_numbers([self.mean], positive=[self.scale])

    @classmethod
    def fit(cls, column: Array, weights: Array | None) -> Standardise:
        """Take mean and deviation."""
        return cls(*moments(column, weights))

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Map values, and give the log of the slope."""
        with np.errstate(over="ignore"):
            # halves keep the difference of two large numbers finite
            z = (0.5 * x - 0.5 * self.mean) / (0.5 * self.scale)
        return z, np.full(len(x), -np.log(self.scale))

    def inverse(self, z: Array) -> Array:
        """Map back."""
        with np.errstate(over="ignore"):
            return finite(z * self.scale + self.mean)


class Asinh(Map, frozen=True, tag="asinh"):
    """z = (asinh((x - median) / width) - mean) / scale: far values come in by their logarithm.

    The width is twice the interquartile range in a normal's deviations, so that the bulk is nearly
    straight, and no far value moves it.
    """

    median: float
    width: float
    mean: float
    scale: float

    def check(self) -> None:
        """Refuse numbers that no fit gives."""
        check_numbers([self.median, self.mean], positive=[self.width, self.scale])

    @classmethod
    def fit(cls, column: Array, weights: Array | None) -> Asinh:
        """Take median and interquartile range; where that is 0 the next wider range that is not."""
        median = float(quantiles(column, [0.5], weights)[0])
        width = 2.0 * spread(column, weights)
        bent = _asinh(column, median, width)
        return cls(median, width, *moments(bent, weights))

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Map values, and give the log of the slope."""
        z = (_asinh(x, self.median, self.width) - self.mean) / self.scale
        half = np.hypot(0.5 * x - 0.5 * self.median, 0.5 * self.width)
        return z, -np.log(half) - np.log(2.0) - np.log(self.scale)

    def inverse(self, z: Array) -> Array:
        """Map back."""
        bent = z * self.scale + self.mean
        far = np.abs(bent) > 20.0
        with np.errstate(over="ignore"):
            near = self.width * np.sinh(np.where(far, 0.0, bent))
            beyond = np.exp(np.abs(bent) + np.log(0.5) + np.log(self.width))
            x = np.where(far, np.copysign(beyond, bent), near) + self.median
        return finite(x)


def _asinh(x: Array, median: float, width: float) -> Array:
    """Take asinh((x - median) / width), also where the quotient has no float64."""
    half = 0.5 * x - 0.5 * median
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = half / (0.5 * width)
        beyond = np.log(np.abs(half)) - np.log(0.5 * width) + np.log(2.0)
    return np.where(np.abs(ratio) > 1e12, np.copysign(beyond, half), np.arcsinh(ratio))
