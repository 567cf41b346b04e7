"""A picture of a comparison: how the validation score rose, and where each method ended."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from nfopt.compare.run import Row
from nfopt.files import replacing


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw validation log-likelihood against seconds as PNG.

    A line is the best so far while a method trained, a dot what it delivered.

    Raises:
        OSError: If the file can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shown = [row for row in rows if not row.failed and math.isfinite(row.validation)]
    for number, row in enumerate(shown):
        colour = f"C{number % 10}"
        if row.curve:
            axes.plot(*zip(*_best_so_far(row), strict=True), color=colour)
        axes.plot([row.seconds], [row.validation], "o", color=colour, label=row.rival.name)
    if shown:
        ends = [row.validation for row in shown]
        room = 0.3 * (max(ends) - min(ends)) + 0.1  # the first checks are far below
        axes.set_ylim(min(ends) - room, max(ends) + room)
        axes.legend(frameon=False)
    axes.set_xlabel("seconds")
    axes.set_ylabel("validation log-likelihood, nats a row")
    with replacing(path) as beside, beside.open("wb") as file:
        figure.savefig(file, format="png", dpi=150)


def _best_so_far(row: Row) -> list[tuple[float, float]]:
    best, line = -math.inf, []
    for seconds, nll in row.curve:
        best = max(best, -nll)
        line.append((seconds, best))
    return line
