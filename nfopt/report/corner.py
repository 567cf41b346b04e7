"""The picture of a flow beside its data: every two columns, data above the diagonal, samples below.

The flow is good where the picture looks the same on both sides of its diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.dependence import mutual_information
from nfopt.report.canvas import BLUE, GREY, VERMILION, Canvas, short

Array = NDArray[np.float64]

MOST = 8  # columns
ROWS = 4_000  # points of each
LOOKED_AT = 64  # columns whose dependence is measured; of more, those with the largest ranges last
BINS = 44
PANEL = 0.92  # inches
APART = 0.05
LEFT, BOTTOM, TOP, RIGHT = 0.9, 0.5, 0.78, 0.2  # margins
EDGE = 0.004  # of the rows on each side may lie outside of a panel
KERNEL = np.array([1.0, 2.0, 1.0]) / 4  # takes the grain out of few points
DATA_INK, SAMPLES_INK = (0.0, 0.38, 0.63), (0.80, 0.33, 0.0)


def most_dependent(values: Array, most: int = MOST) -> tuple[int, ...]:
    """Choose the columns that depend most on each other, in their own order.

    The pair with the most mutual information begins; then again and again the column that adds the
    most to it.

    Args:
        values: Shape (n, D).
        most: Columns to choose.
    """
    features = values.shape[1]
    if features <= most:
        return tuple(range(features))
    if features > LOOKED_AT:  # all pairs would take seconds: the most correlated ones are looked at
        scaled = values - values.mean(axis=0)
        scaled /= np.where((spread := scaled.std(axis=0)) > 0, spread, 1.0)
        linear = np.abs(scaled.T @ scaled) / len(values)
        np.fill_diagonal(linear, 0.0)
        looked = np.sort(np.argsort(-linear.max(axis=1), kind="stable")[:LOOKED_AT])
        return tuple(int(looked[k]) for k in most_dependent(values[:, looked], most))
    strength = mutual_information(values)
    chosen = list(map(int, np.unravel_index(int(strength.argmax()), strength.shape)))
    while len(chosen) < most:
        gain = strength[chosen].sum(axis=0)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
    return tuple(sorted(chosen))


def corner_png(data: Array, samples: Array, columns: Sequence[str], *, title: str) -> bytes:
    """Draw data beside samples.

    Args:
        data: Shape (n, D), on its own scale.
        samples: Shape (m, D).
        columns: D names.
        title: The first line.

    Returns:
        A PNG of at most `MOST` columns, those that depend most on each other.
    """
    data, samples = data[:ROWS], samples[:ROWS]
    samples = samples[np.isfinite(samples).all(axis=1)]
    chosen = most_dependent(data)
    count = len(chosen)
    side = count * PANEL + (count - 1) * APART
    width = LEFT + max(side, 3.4) + RIGHT
    canvas = Canvas(width, BOTTOM + side + TOP)
    top = BOTTOM + side
    canvas.words([title], 0.15, top + TOP - 0.2, size=10, across=0.0, bold=True)
    at = 0.15
    for said, colour in (
        ("■ data above the diagonal", BLUE),
        ("■ samples below", VERMILION),
    ):
        canvas.words([said], at, top + TOP - 0.45, size=8.5, across=0.0, colour=colour)
        at += 2.0
    ranges = [_range(data[:, column]) for column in chosen]
    for row in range(count):
        for column in range(count):
            left, bottom = LEFT + column * (PANEL + APART), top - row * (PANEL + APART) - PANEL
            if row == column:
                _marginal(
                    canvas, data[:, chosen[row]], samples[:, chosen[row]], ranges[row], left, bottom
                )
                continue
            rows, ink = (data, DATA_INK) if column > row else (samples, SAMPLES_INK)
            pair = rows[:, [chosen[column], chosen[row]]]
            found = _density(pair, (ranges[column], ranges[row]))
            canvas.cells(left, bottom, PANEL, PANEL, _shades(found, ink))
    for place, column in enumerate(chosen):
        name, low, high = short(columns[column], 14), *_ends(*ranges[place])
        across = LEFT + place * (PANEL + APART) + PANEL / 2
        canvas.words([name], across, 0.15, size=8.5)
        ends = [across - PANEL / 2 + 0.02, across + PANEL / 2 - 0.02]
        for text, x, side_of in zip((low, high), ends, (0.0, 1.0), strict=True):
            canvas.words([text], x, 0.36, size=6.5, across=side_of, colour=GREY)
        canvas.words([name], LEFT - 0.1, top - place * (PANEL + APART) - PANEL / 2, size=8.5,
                     across=1.0)  # fmt: skip
    return canvas.png()


def _range(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, [EDGE, 1 - EDGE])
    room = 0.06 * (high - low) or 0.5
    return float(low - room), float(high + room)


def _density(pair: Array, ranges: Sequence[tuple[float, float]]) -> Array:
    """Count points in cells, the first row on top, a little smoothed, as a share of all."""
    counts = np.histogram2d(pair[:, 1], pair[:, 0], BINS, range=[ranges[1], ranges[0]])[0]
    for _ in range(2):  # rows, then columns
        wide = np.pad(counts, ((1, 1), (0, 0)))
        counts = (KERNEL[0] * wide[:-2] + KERNEL[1] * wide[1:-1] + KERNEL[2] * wide[2:]).T
    return np.asarray(counts[::-1] / max(1, len(pair)))


def _shades(density: Array, ink: tuple[float, float, float]) -> Array:
    """Colour a density: white where there is nothing, the ink where it is greatest."""
    top = float(np.quantile(density, 0.995))
    share = np.clip(density / top, 0, 1)[:, :, None] ** 0.5 if top > 0 else density[:, :, None]
    light = 1 - share * (1 - np.array(ink))
    return np.asarray(np.where(share > 0, light, 0.985))


def _marginal(
    canvas: Canvas,
    data: Array,
    samples: Array,
    limits: tuple[float, float],
    left: float,
    bottom: float,
) -> None:
    """Draw both histograms as outlines."""
    canvas.cells(left, bottom, PANEL, PANEL, np.full((1, 1, 3), 0.985))
    outlines = []
    for values in (data, samples):
        counts = np.histogram(values, BINS, range=limits)[0] / max(1, len(values))
        outlines.append(np.convolve(counts, KERNEL, "same"))
    tallest = max(float(outline.max()) for outline in outlines) or 1.0
    x = left + PANEL * (np.arange(BINS) + 0.5) / BINS
    for outline, colour in zip(outlines, (BLUE, VERMILION), strict=True):
        canvas.line(x, bottom + 0.92 * PANEL * outline / tallest + 0.02, colour, 1.3)


def _ends(low: float, high: float) -> tuple[str, str]:
    """Write a range's ends to the digits that its width allows."""
    digits = 1 - math.floor(math.log10(high - low))
    if -5 <= digits <= 5:
        return f"{low:.{max(digits, 0)}f}", f"{high:.{max(digits, 0)}f}"
    return f"{low:.2g}", f"{high:.2g}"
