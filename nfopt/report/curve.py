"""The picture of a learning curve: validation NLL by step, with the rungs marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.report.canvas import BLUE, GREY, ORANGE, PALE, Canvas, width_of

Array = NDArray[np.float64]

WIDTH, HEIGHT = 5.6, 3.1  # inches
LEFT, RIGHT, BOTTOM, TOP = 0.85, 0.3, 0.62, 0.62  # margins
EARLY = 0.1  # share of a curve, at its start, that the range of the plot may leave out
MIN_POINTS = 8  # of a curve that is long enough for that


def curve_png(
    curve: Sequence[tuple[float, float]],
    *,
    title: str,
    rungs: Mapping[int, float] | None = None,
    ended: str = "",
    unit: str = "step",
) -> bytes:
    """Draw a learning curve.

    Args:
        curve: Steps and validation NLL in nats a row, in the order of the steps.
        title: Its first line.
        rungs: Validation NLL by rung, in percent of a trial's length, marked on the curve.
        ended: How it ended, written below the axis.
        unit: Label of the first axis.

    Returns:
        A PNG; of a curve without finite points a message.
    """
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.words([title], 0.15, HEIGHT - 0.2, size=10, across=0.0, bold=True)
    points = np.array([p for p in curve if all(map(math.isfinite, p))], dtype=float).reshape(-1, 2)
    label = "validation NLL, nats a row (lower is better)"
    canvas.words([label], 0.15, HEIGHT - 0.42, size=8.5, across=0.0, colour=GREY)
    if not len(points):
        canvas.words(["no finite value was measured"], WIDTH / 2, HEIGHT / 2, colour=GREY)
        return canvas.png()
    marks = _marks(points, rungs or {})
    shown = points[:, 1]
    if len(points) >= MIN_POINTS:
        shown = points[math.ceil(EARLY * len(points)) :, 1]
    x, y = Axis(0.0, points[-1, 0]), Axis(float(shown.min()), float(shown.max()), pad=0.06)
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM - TOP
    across = LEFT + width * x.share(points[:, 0])
    up = BOTTOM + height * y.share(points[:, 1])
    for value, text in y.ticks():
        level = BOTTOM + height * float(y.share(value))
        canvas.line([LEFT, LEFT + width], [level, level], PALE, 0.7)
        canvas.words([text], LEFT - 0.1, level, size=8, across=1.0, colour=GREY)
    for value, text in x.ticks():
        column = LEFT + width * float(x.share(value))
        canvas.words([text], column, BOTTOM - 0.16, size=8, colour=GREY)
    canvas.words([unit], LEFT + width / 2, 0.17, size=8.5, colour=GREY)
    canvas.line(*_below(across, up, BOTTOM + height), BLUE, 1.8)
    best = int(np.argmin(points[:, 1]))
    for row, percent in marks:
        if up[row] > BOTTOM + height:
            continue
        canvas.words(["●"], across[row], up[row], size=8, colour=BLUE)
        shift = 0.16 if up[row] < BOTTOM + 0.8 * height else -0.16
        canvas.words([f"{percent}%"], across[row], up[row] + shift, size=7.5, colour=BLUE)
    canvas.words(["●"], across[best], up[best], size=9, colour=ORANGE)
    text, left = f"best {points[best, 1]:.3f}", max(across[best], LEFT + 0.4)
    at = min(left, LEFT + width - 0.3), max(up[best] - 0.17, BOTTOM + 0.02)
    canvas.words([text], *at, size=8, bold=True)
    if ended:
        start = WIDTH - RIGHT - width_of(ended, 8.5)
        canvas.words([ended], start, 0.17, size=8.5, across=0.0, colour=GREY)
    return canvas.png()


def _below(across: Array, up: Array, top: float) -> tuple[Array, Array]:
    """Cut off the beginning of a curve that lies above the plot, up to where it enters."""
    inside = np.flatnonzero(up <= top)
    first = int(inside[0])
    x, y = across[first:], np.minimum(up[first:], top)
    if first == 0:
        return x, y
    share = (top - up[first]) / (up[first - 1] - up[first])
    entry = across[first] + share * (across[first - 1] - across[first])
    return np.concatenate([[entry], x]), np.concatenate([[top], y])


def _marks(points: Array, rungs: Mapping[int, float]) -> list[tuple[int, int]]:
    """The curve's point at each rung: (row, percent)."""
    if not rungs:
        return []
    whole = points[-1, 0] * 100.0 / max(rungs)  # the last point is the last rung
    rows = [int(np.argmin(np.abs(points[:, 0] - whole * p / 100.0))) for p in sorted(rungs)]
    return list(zip(rows, sorted(rungs), strict=True))


class Axis:
    """A range and the round numbers in it."""

    def __init__(self, low: float, high: float, pad: float = 0.0) -> None:
        room = (high - low) or max(abs(high), 1.0) * 0.1
        self.low, self.high = low - 2 * pad * room, high + pad * room
        if self.high <= self.low:
            self.high = self.low + 1.0

    def share(self, value: Array | float) -> Array:
        """Positions in the range, from 0 to 1."""
        return np.asarray((np.asarray(value) - self.low) / (self.high - self.low))

    def ticks(self, wanted: int = 5) -> list[tuple[float, str]]:
        """About so many round numbers, with their texts."""
        rough = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough)
        first = math.ceil(self.low / step)
        digits = max(0, -math.floor(math.log10(step) + 1e-9) + (step / power == 2.5))
        numbers = [n * step for n in range(first, math.floor(self.high / step) + 1)]
        return [(number, f"{number:,.{min(digits, 9)}f}") for number in numbers]
