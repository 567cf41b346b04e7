"""The marginal map by quantiles: a monotone cubic to normal scores, with logarithmic tails."""

from __future__ import annotations

import itertools
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.estimates import finite, quantiles
from nfopt.data.maps.kinds import Map, check_numbers

Array = NDArray[np.float64]

_TINY = np.finfo(np.float64).tiny
_TAILS = (0.002, 0.01)  # quantiles beside the even ones, where enough rows lie beyond them
_EVEN = 33  # evenly spaced quantiles, at most
_ROWS_A_KNOT = 20  # training rows, at least
_ROWS_BEYOND = 5  # a tail's quantile
_STEPS = 80  # of the search for a cubic's inverse; bisection alone needs 53
_ROUNDING = 2.0**-53


class Quantile(Map, frozen=True, tag="quantile"):
    """A monotone cubic from quantiles to normal scores, with logarithmic tails.

    Between knots the cubic Hermite polynomial whose slopes are harmonic means of the two secants'
    (Fritsch and Butland 1984), which rises everywhere; beyond the last knot
    y + log(1 + slope * distance).

    Attributes:
        knots: Values, rising.
        scores: What they are mapped to, rising.
        slopes: At the knots, positive.
    """

    knots: tuple[float, ...]
    scores: tuple[float, ...]
    slopes: tuple[float, ...]

    def check(self) -> None:
        """Refuse numbers that no fit gives."""
        check_numbers([*self.knots, *self.scores], positive=self.slopes)
        if len({len(self.knots), len(self.scores), len(self.slopes)}) > 1 or len(self.knots) < 2:
            raise ValueError("`knots`, `scores` and `slopes` must be two or more, of each alike")
        for name, numbers in (("knots", self.knots), ("scores", self.scores)):
            if any(after <= before for before, after in itertools.pairwise(numbers)):
                raise ValueError(f"`{name}` must rise")
        knots, scores, slopes = self._arrays()
        half = 0.5 * knots[1:] - 0.5 * knots[:-1]
        steepest = np.maximum(slopes[:-1], slopes[1:])
        # up to three times the secant a cubic rises everywhere (Fritsch and Carlson 1980)
        if np.any((steepest > _TINY) & (steepest * half > 1.5 * np.diff(scores))):
            raise ValueError("`slopes` must be below three times those from knot to knot")

    @classmethod
    def fit(cls, column: Array, weights: Array | None) -> Quantile:
        """Take up to 37 quantiles, fewer where rows are few; tied ones are one knot."""
        levels = _levels(len(column))
        knots, knot = np.unique(quantiles(column, levels, weights), return_inverse=True)
        normal = np.array([NormalDist().inv_cdf(level) for level in levels])
        scores = np.bincount(knot, normal) / np.bincount(knot)
        if len(knots) < 2:
            end = NormalDist().inv_cdf(1.0 - 0.5 / len(column))
            knots = np.array([column.min(), column.max()])
            scores = np.array([-end, end])
        with np.errstate(over="ignore"):
            secants = 0.5 * np.diff(scores) / np.diff(0.5 * knots)
        secants = np.clip(secants, _TINY, 1e300)
        less, more = np.minimum(secants[:-1], secants[1:]), np.maximum(secants[:-1], secants[1:])
        inner = 2.0 * less / (1.0 + less / more)
        slopes = np.concatenate((secants[:1], inner, secants[-1:]))
        return cls(tuple(knots.tolist()), tuple(scores.tolist()), tuple(slopes.tolist()))

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Map values, and give the log of the slope."""
        knots, scores, slopes = self._arrays()
        at = _piece(knots, x)
        width = 0.5 * knots[at + 1] - 0.5 * knots[at]
        with np.errstate(over="ignore"):
            part = np.clip((0.5 * x - 0.5 * knots[at]) / width, 0.0, 1.0)
        z, slope = _cubic(
            part, scores[at + 1] - scores[at], slopes[at] * width, slopes[at + 1] * width
        )
        z += scores[at]
        with np.errstate(divide="ignore"):
            slope = np.log(slope) - np.log(2.0) - np.log(width)
        for end, outside, way in ((0, x < knots[0], -1.0), (-1, x > knots[-1], 1.0)):
            if outside.any():
                # in logarithms, as neither the distance nor its product need be finite
                apart = np.log(2.0) + np.log(np.abs(0.5 * x[outside] - 0.5 * knots[end]))
                beyond = np.logaddexp(0.0, np.log(slopes[end]) + apart)
                z[outside] = scores[end] + way * beyond
                slope[outside] = np.log(slopes[end]) - beyond
        return z, slope

    def inverse(self, z: Array) -> Array:
        """Map back; between knots by Newton's method inside a bracket."""
        knots, scores, slopes = self._arrays()
        wanted = np.clip(z, scores[0], scores[-1])
        at = _piece(scores, wanted)
        width = 0.5 * knots[at + 1] - 0.5 * knots[at]
        rise, first, last = scores[at + 1] - scores[at], slopes[at] * width, slopes[at + 1] * width
        wanted = wanted - scores[at]
        low, high = np.zeros(len(z)), np.ones(len(z))
        part = np.clip(wanted / rise, 0.0, 1.0)
        for _ in range(_STEPS):
            value, slope = _cubic(part, rise, first, last)
            above = value > wanted
            low, high = np.where(above, low, part), np.where(above, part, high)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = part - (value - wanted) / slope
            following = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
            settled = not np.any(np.abs(following - part) > _ROUNDING)
            part = following
            if settled:
                break
        x = 2.0 * ((1.0 - part) * (0.5 * knots[at]) + part * (0.5 * knots[at + 1]))
        for end, outside, way in ((0, z < scores[0], -1.0), (-1, z > scores[-1], 1.0)):
            if outside.any():
                risen = np.abs(z[outside] - scores[end])
                with np.errstate(over="ignore"):
                    # log(exp(risen) - 1) without overflow
                    apart = np.exp(risen + np.log(-np.expm1(-risen)) - np.log(slopes[end]))
                    x[outside] = knots[end] + way * apart
        return finite(np.where(np.isnan(z), np.nan, x))

    def _arrays(self) -> tuple[Array, Array, Array]:
        return np.array(self.knots), np.array(self.scores), np.array(self.slopes)


def _piece(knots: Array, x: Array) -> NDArray[np.intp]:
    return np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)


def _cubic(part: Array, rise: Array, first: Array, last: Array) -> tuple[Array, Array]:
    """Evaluate cubics at `part` of their width, 0 to 1, and their slopes against that part.

    Args:
        part: Where.
        rise: Over the whole width.
        first: Slope times half the width, at the beginning; at most the rise.
        last: The same at the end.
    """
    rest = 1.0 - part
    value = part * part * (3.0 - 2.0 * part) * rise
    value += 2.0 * part * rest * (rest * first - part * last)
    slope = 6.0 * part * rest * rise
    slope += 2.0 * (rest * (1.0 - 3.0 * part) * first + part * (3.0 * part - 2.0) * last)
    return value, slope


def _levels(rows: int) -> list[float]:
    even = max(2, min(_EVEN, rows // _ROWS_A_KNOT))
    tails = [tail for tail in _TAILS if tail * rows >= _ROWS_BEYOND]
    first = 0.03 if even == _EVEN else 1.0 / (even + 1.0)
    inner = np.linspace(first, 1.0 - first, even).tolist()
    return [*tails, *inner, *(1.0 - tail for tail in reversed(tails))]
