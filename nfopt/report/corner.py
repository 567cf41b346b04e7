"""A corner plot of data and samples: each pair of columns, data above the diagonal, samples below.

The flow is good where the picture looks the same on both sides of its diagonal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.data import LinePart, Prepared
from nfopt.dependence import mutual_information
from nfopt.events import Closing
from nfopt.flows import Stack
from nfopt.model import Flow
from nfopt.report.canvas import BLUE, GREY, VERMILION, Canvas, short

Array = NDArray[np.float64]

MOST = 8  # columns
ROWS = 4_000  # points of each
FEWEST = 1_000  # of them, where time does not count
FEWEST_IN_TIME = 200  # where it does
DRAWING = 1.0  # seconds that a picture takes beside its samples
FEW = 1_000  # rows by which worst fitted columns are told
MAX_MEASURED = 64  # columns whose mutual information is measured
BINS = 44
PANEL = 0.92  # inches
APART = 0.05
LEFT, BOTTOM, TOP, RIGHT = 0.9, 0.5, 0.78, 0.2  # margins
EDGE = 0.004  # share of the rows that may lie outside of a panel on each side
KERNEL = np.array([1.0, 2.0, 1.0]) / 4  # smooths the counts of few points
DATA_INK, SAMPLES_INK = (0.0, 0.38, 0.63), (0.80, 0.33, 0.0)


def chosen_columns(data: Array, samples: Array, most: int = MOST) -> tuple[int, ...]:
    """Choose columns to draw, in their own order: the most dependent ones and the worst fitted.

    Args:
        data: Shape (n, D).
        samples: Shape (m, D).
        most: Columns to choose; a third of them are those with the greatest distance of
            Kolmogorov and Smirnov between data and samples.
    """
    if data.shape[1] <= most or not len(samples):
        return most_dependent(data, most)
    chosen = most_dependent(data, most - most // 3)
    worst = np.argsort(-distances(data, samples), kind="stable")
    others = [int(column) for column in worst if column not in chosen]
    return tuple(sorted((*chosen, *others[: most // 3])))


def distances(data: Array, samples: Array) -> Array:
    """The greatest difference of both distribution functions, a column: shape (D,)."""
    few = [rows[:: max(1, len(rows) // FEW)] for rows in (data, samples)]
    both = np.concatenate(few)
    weights = np.repeat([1 / len(few[0]), -1 / len(few[1])], [len(rows) for rows in few])
    order = both.argsort(axis=0, kind="stable")
    climbing = np.abs(weights[order].cumsum(axis=0))
    # of equal values, only the last one's sum counts
    last = np.ones(both.shape, dtype=bool)
    last[:-1] = np.diff(np.take_along_axis(both, order, axis=0), axis=0) > 0
    return np.asarray(np.where(last, climbing, 0.0).max(axis=0))


def most_dependent(values: Array, most: int = MOST) -> tuple[int, ...]:
    """Choose the columns that depend most on each other, in their own order.

    Greedy: the pair with the most mutual information, then each time the column with the most to
    those already chosen.

    Args:
        values: Shape (n, D).
        most: Columns to choose.
    """
    features = values.shape[1]
    if features <= most:
        return tuple(range(features))
    if features > MAX_MEASURED:  # all pairs would take seconds: only the most correlated columns
        scaled = values - values.mean(axis=0)
        scaled /= np.where((spread := scaled.std(axis=0)) > 0, spread, 1.0)
        linear = np.abs(scaled.T @ scaled) / len(values)
        np.fill_diagonal(linear, 0.0)
        kept = np.sort(np.argsort(-linear.max(axis=1), kind="stable")[:MAX_MEASURED])
        return tuple(int(kept[k]) for k in most_dependent(values[:, kept], most))
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
        A PNG of at most `MOST` columns, see `chosen_columns`.
    """
    data, samples = data[:ROWS], samples[:ROWS]
    samples = samples[np.isfinite(samples).all(axis=1)]
    chosen = chosen_columns(data, samples)
    count = len(chosen)
    side = count * PANEL + (count - 1) * APART
    width = LEFT + max(side, 3.4) + RIGHT
    canvas = Canvas(width, BOTTOM + side + TOP)
    top = BOTTOM + side
    canvas.words([title], 0.15, top + TOP - 0.2, size=10, across=0.0, bold=True)
    legend = (("■ data above the diagonal", BLUE), ("■ samples below", VERMILION))
    for index, (label, colour) in enumerate(legend):
        x = 0.15 + 2.0 * index
        canvas.words([label], x, top + TOP - 0.45, size=8.5, across=0.0, colour=colour)
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
            density = _density(pair, (ranges[column], ranges[row]))
            canvas.cells(left, bottom, PANEL, PANEL, _shades(density, ink))
    for index, column in enumerate(chosen):
        name, low, high = short(columns[column], 14), *_ends(*ranges[index])
        across = LEFT + index * (PANEL + APART) + PANEL / 2
        canvas.words([name], across, 0.15, size=8.5)
        ends = [across - PANEL / 2 + 0.02, across + PANEL / 2 - 0.02]
        for text, x, alignment in zip((low, high), ends, (0.0, 1.0), strict=True):
            canvas.words([text], x, 0.36, size=6.5, across=alignment, colour=GREY)
        y = top - index * (PANEL + APART) - PANEL / 2
        canvas.words([name], LEFT - 0.1, y, size=8.5, across=1.0)
    return canvas.png()


def _range(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, [EDGE, 1 - EDGE])
    room = 0.06 * (high - low) or 0.5
    return float(low - room), float(high + room)


def _density(pair: Array, ranges: Sequence[tuple[float, float]]) -> Array:
    """The share of the points in each cell, slightly smoothed, the first row on top."""
    counts = np.histogram2d(pair[:, 1], pair[:, 0], BINS, range=[ranges[1], ranges[0]])[0]
    for _ in range(2):  # rows, then columns
        wide = np.pad(counts, ((1, 1), (0, 0)))
        counts = (KERNEL[0] * wide[:-2] + KERNEL[1] * wide[1:-1] + KERNEL[2] * wide[2:]).T
    return np.asarray(counts[::-1] / max(1, len(pair)))


def _shades(density: Array, ink: tuple[float, float, float]) -> Array:
    """Colours of a density: white where it is 0, the ink where it is greatest."""
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
    """The ends of a range, with as many digits as its width needs."""
    digits = 1 - math.floor(math.log10(high - low))
    if -5 <= digits <= 5:
        return f"{low:.{max(digits, 0)}f}", f"{high:.{max(digits, 0)}f}"
    return f"{low:.2g}", f"{high:.2g}"


def rows_in(closing: Closing, sampling: float | None, seconds: float) -> tuple[int, float]:
    """Say how many points a picture may have, and how many seconds it then takes.

    Args:
        closing: What there is time for.
        sampling: Seconds that 1,000 samples take, where that is known.
        seconds: That the samples may take at most, unless that makes too few of them.
    """
    limited = closing.ends is not None
    if sampling is None:
        sampling = 1_000 / FEWEST_IN_TIME * closing.inverse if limited else 1.0
    seconds = min(seconds, max(0.0, closing.left() - DRAWING))
    rows = seconds / max(sampling / 1_000, 1e-9)
    rows = min(ROWS, max(FEWEST_IN_TIME if limited else FEWEST, int(min(rows, ROWS))))
    return rows, DRAWING + rows * sampling / 1_000


def corner_of(flow: Flow, data: Prepared, *, title: str, seed: int = 0, rows: int = ROWS) -> bytes:
    """Draw a flow's samples beside training rows; a conditional flow sees the rows' own context.

    Args:
        flow: A trained flow.
        data: What it was trained on.
        title: The picture's first line.
        seed: Of the samples.
        rows: Points of each at most.
    """
    part, plain = _some(data.lines.parts[0], rows), data.lines.blank
    samples = flow.sample(len(part), seed=seed, context=part.context)
    values = plain.on_grid(plain.inverse(part.line))
    return corner_png(values, samples, data.columns, title=title)


def member_flow(stack: Stack, member: int, data: Prepared, marginals: str) -> Flow:
    """Take one member of a trained stack as a flow."""
    return Flow.of(stack, data.under(marginals).preprocessing, members=[member])


def _some(part: LinePart, rows: int) -> LinePart:
    """Take some rows, evenly spaced."""
    if len(part) <= rows:
        return part
    return part.take(np.linspace(0, len(part) - 1, rows).round().astype(np.int64))
