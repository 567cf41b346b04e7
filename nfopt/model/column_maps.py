"""What is done to columns before a flow, as transforms of torch: bounds, asinh, quantiles, scale.

This file needs torch alone: a copy of it lies beside each flow that nfopt hands over to zuko.
Each transform maps all columns at once, x of shape (..., D), and leaves alone those that it is not
for; its tables have shape (D,), or (P, 1, D) for P flows that see x of shape (P, n, D). Gradients
are finite wherever the map is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Transform, constraints

STEPS = 54  # halvings of a cubic's inverse: more than the bits of float64
FAR = 1e12  # from which on arcsinh is the logarithm of twice its argument, to the last digit


class ColumnMap(Transform):
    """A map of each column by itself."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True


class Bounds(ColumnMap):
    """Take bounded columns to the line: by logit, or by log where one bound is infinite.

    Args:
        low: Lower bounds (open), or -inf.
        high: Upper bounds (open), or inf.
        at_low: What a value on the lower bound is taken for: of tied columns, the middle of the
            part of its cell that lies inside; of others the bound itself, which has no density.
        at_high: The same for the upper bound.
    """

    def __init__(self, low: Tensor, high: Tensor, at_low: Tensor, at_high: Tensor) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.at_low, self.at_high = at_low, at_high
        self.below, self.above = low.isfinite(), high.isfinite()

    def _logs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log(x - low), log(high - x), 0 where there is no bound, and who is outside."""
        x = torch.where(x == self.low, self.at_low, torch.where(x == self.high, self.at_high, x))
        from_low = torch.where(self.below, x - self.low, 1)
        to_high = torch.where(self.above, self.high - x, 1)
        outside = (from_low <= 0) | (to_high <= 0)
        return (
            torch.where(outside, 1, from_low).log(),
            torch.where(outside, 1, to_high).log(),
            outside,
        )

    def _call(self, x: Tensor) -> Tensor:
        low, high, outside = self._logs(x)
        bent = torch.where(self.below | self.above, low - high, x)
        return torch.where(outside, 0, bent)

    def _inverse(self, y: Tensor) -> Tensor:
        both = self.below & self.above
        part = (-y.abs()).exp()
        near = torch.where(both, self.high - self.low, 0) * part / (1 + part)
        between = torch.where(y < 0, self.low + near, self.high - near)
        one = torch.where(self.below, self.low + y.exp(), self.high - (-y).exp())
        x = torch.where(both, between, torch.where(self.below | self.above, one, y))
        return torch.minimum(torch.maximum(x, _next(self.low, 1)), _next(self.high, -1))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum the logs of the slopes: nats, shape (...); -inf for a row outside."""
        low, high, outside = self._logs(x)
        span = torch.where(self.below & self.above, self.high - self.low, 1).log()
        return torch.where(outside, -torch.inf, span - low - high).sum(-1)


class Asinh(ColumnMap):
    """Take asinh((x - median) / width) of the columns that are `on`."""

    def __init__(self, median: Tensor, width: Tensor, on: Tensor) -> None:
        super().__init__()
        self.median, self.width, self.on = median, width, on

    def _half(self, x: Tensor) -> Tensor:
        """Give half the distance: of two large numbers the whole may have no float."""
        return torch.where(self.on, 0.5 * x - 0.5 * self.median, 0)

    def _call(self, x: Tensor) -> Tensor:
        half = self._half(x)
        ratio = half / (0.5 * self.width)
        far = ratio.abs() > FAR
        size = torch.where(far, half.abs(), 1).log() - (0.5 * self.width).log() + math.log(2)
        near = torch.where(far, 0, ratio).asinh()
        return torch.where(self.on, torch.where(far, half.sign() * size, near), x)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.where(self.on, self.median + self.width * y.sinh(), y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum the logs of the slopes, nats, shape (...)."""
        half, width = self._half(x).abs(), 0.5 * self.width
        long, short = torch.maximum(half, width), torch.minimum(half, width)
        slope = long.log() + 0.5 * torch.log1p((short / long) ** 2) + math.log(2)
        return torch.where(self.on, -slope, 0).sum(-1)


class Quantile(ColumnMap):
    """Take columns by a monotone cubic between knots, by a logarithm beyond.

    Args:
        knots: Rising, shape (..., D, K); a column has `count` of them.
        scores: What they are mapped to.
        slopes: At the knots.
        count: Knots of each column, or 0 for a column that stays as it is.
    """

    def __init__(self, knots: Tensor, scores: Tensor, slopes: Tensor, count: Tensor) -> None:
        super().__init__()
        self.on = count > 0
        self.last = (count - 1).clamp_min(1)
        numbers = torch.arange(knots.shape[-1], device=knots.device)
        padding = numbers > self.last.unsqueeze(-1)
        self.knots, self.scores = (one.masked_fill(padding, torch.inf) for one in (knots, scores))
        self.slopes = slopes

    def _ends(self, table: Tensor, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Find the piece that holds x, by the knots or the scores; give both at its ends."""
        at = (x.unsqueeze(-1) >= table).sum(-1) - 1
        at = torch.minimum(at.clamp_min(0), self.last - 1)
        tables = (self.knots, self.scores, self.slopes)
        return at, [_pick(one, place) for one in tables for place in (at, at + 1)]

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y and the log of the slope."""
        at, (left, right, low, high, first, last) = self._ends(self.knots, x)
        width, rise = right - left, high - low
        part = ((x - left) / width).clamp(0, 1)
        rest = 1 - part
        y = part * part * (3 - 2 * part) * rise
        y = low + y + part * rest * (rest * first - part * last) * width
        slope = 6 * part * rest * rise / width
        slope = slope + rest * (1 - 3 * part) * first + part * (3 * part - 2) * last
        slope = slope.log()
        for way, score, tail, gap in ((-1, low, first, left - x), (1, high, last, x - right)):
            beyond = torch.log1p(tail * gap.clamp_min(0))
            out = (gap > 0) & ((at == 0) if way < 0 else (at == self.last - 1))
            y = torch.where(out, score + way * beyond, y)
            slope = torch.where(out, tail.log() - beyond, slope)
        return torch.where(self.on, y, x), torch.where(self.on, slope, 0)

    def _call(self, x: Tensor) -> Tensor:
        return self._both(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        at, (left, right, low, high, first, last) = self._ends(self.scores, y)
        width, rise = right - left, high - low
        one, two = first * width, 3 * rise - (2 * first + last) * width
        three, wanted = (first + last) * width - 2 * rise, y - low
        part, step = torch.zeros_like(y), 1.0
        for _ in range(STEPS):
            step = step / 2
            more = part + step
            part = torch.where(((three * more + two) * more + one) * more <= wanted, more, part)
        x = left + (part + step / 2) * width
        x = torch.where((at == 0) & (y < low), left - torch.expm1(low - y) / first, x)
        top = (at == self.last - 1) & (y > high)
        x = torch.where(top, right + torch.expm1(y - high) / last, x)
        return torch.where(self.on, x, y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum the logs of the slopes, nats, shape (...)."""
        return self._both(x)[1].sum(-1)


class Standardise(ColumnMap):
    """Take (x - mean) / scale."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def _call(self, x: Tensor) -> Tensor:
        return (0.5 * x - 0.5 * self.mean) / (0.5 * self.scale)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.mean + self.scale * y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum the logs of the slopes, nats, shape (...)."""
        return -self.scale.log().expand_as(y).sum(-1)


KINDS: dict[str, Callable[..., ColumnMap]] = {
    "bounds": Bounds,
    "asinh": Asinh,
    "quantile": Quantile,
    "standardise": Standardise,
}


def _pick(table: Tensor, at: Tensor) -> Tensor:
    """Look up a number in each column's row of a table (..., D, K), by positions (..., D)."""
    return table.expand(*at.shape, table.shape[-1]).gather(-1, at.unsqueeze(-1)).squeeze(-1)


def _next(bound: Tensor, way: int) -> Tensor:
    """Give the first number inside a bound."""
    return bound.nextafter(torch.full_like(bound, way * torch.inf)).where(bound.isfinite(), bound)
