"""The picture of a flow's structure: one row a layer, one column a feature, letters in colour.

A coupling layer shows its mask. An autoregressive layer shows each feature's position in its order,
and its adjacency as a small matrix below. A layer that mixes all features is a labelled grey bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfopt import adjacency as graph
from nfopt.layers import Autoregressive, Coupling, Elementwise, Layer, Permutation
from nfopt.report.canvas import BLUE, GREY, INK, Canvas, short, width_of
from nfopt.spec import FlowSpec

Colours = NDArray[np.float64]

SHADES = {"C": (0.34, 0.71, 0.91), "T": (0.95, 0.69, 0.16), "I": (0.91, 0.91, 0.91)}
MEANING = {"C": "conditions", "T": "is transformed", "I": "is idle"}
FIRST, LAST = np.array((0.93, 0.96, 0.93)), np.array((0.0, 0.45, 0.33))  # positions in an order
EDGE, NO_EDGE = (0.0, 0.45, 0.70), (0.94, 0.94, 0.94)

WIDEST = 9.6  # inches that the columns take at most
CELL = (0.02, 0.34)  # inches of a column, least and most
ROW, BAR, GAP = 0.26, 0.17, 0.025  # inches: a layer with a mask, a layer without, between layers
LETTERS = 0.105  # inches of a column from which on letters are drawn
MATRIX = 1.7  # inches of a matrix
MATRICES = 4  # drawn at most
MARGIN = 0.15


@dataclass(frozen=True)
class _Grid:
    """Positions of the columns, in inches."""

    left: float
    cell: float
    features: int

    @property
    def width(self) -> float:
        return self.cell * self.features

    @property
    def centres(self) -> NDArray[np.float64]:
        return np.asarray(self.left + self.cell * (np.arange(self.features) + 0.5))


def masks_png(spec: FlowSpec, columns: Sequence[str], *, title: str = "") -> bytes:
    """Draw a flow's layers, from the data (top) to the base.

    Args:
        spec: The flow.
        columns: D names.
        title: Put before the first line.

    Returns:
        A PNG. Beyond about 90 features there are colours without letters and names.
    """
    features = spec.features
    cell = float(np.clip(WIDEST / features, *CELL))
    labels = [f"{number}  {layer.words()}" for number, layer in enumerate(spec.layers, 1)]
    left = MARGIN + 0.12 + max((width_of(label, 8.5) for label in labels), default=0.0)
    grid = _Grid(left, cell, features)
    shown = [short(name, 16) for name in columns]
    named = cell >= LETTERS
    size = float(np.clip(cell * 72 * 0.62, 5.5, 9.0))
    tall = max(width_of(name, size) for name in shown) if named else 0.0
    upright = tall < cell * 0.92
    names_height = (0.2 if upright else tall + 0.08) if named else 0.3
    heights = [ROW if _row(layer, features) is not None else BAR for layer in spec.layers]
    matrices = _matrices(spec.layers)[:MATRICES]
    below = 0.34 + (MATRIX + 0.42 if matrices else 0.0)
    least = 0.0
    if matrices:
        least = 0.3 + len(matrices) * (MATRIX + 0.3)
    body = sum(heights) + GAP * len(heights)
    total = 0.42 + names_height + body + below + MARGIN
    head = f"{title}: {_summary(spec)}" if title else _summary(spec)
    width = max(left + grid.width + MARGIN + 0.1, least, width_of(head, 10, bold=True) + 0.4, 5.0)
    canvas = Canvas(width, total)
    top = total - 0.2
    canvas.words([head], MARGIN, top, size=10, across=0.0, bold=True)
    top -= 0.22
    _names(canvas, grid, shown, top - names_height, size, named=named, upright=upright)
    bottom = top - names_height
    for layer, label, height in zip(spec.layers, labels, heights, strict=True):
        bottom -= height
        _layer(canvas, grid, layer, label, bottom, height)
        bottom -= GAP
    _legend(canvas, spec.layers, bottom - 0.15)
    for index, (label, matrix) in enumerate(matrices):
        _matrix(canvas, label, matrix, 0.3 + index * (MATRIX + 0.3), MARGIN)
    return canvas.png()


def _summary(spec: FlowSpec) -> str:
    given = f", given {spec.context_features} more" if spec.context_features else ""
    count = spec.parameter_count()
    return f"{len(spec.layers)} layers on {spec.features} features{given}, {count:,} parameters"


def _names(
    canvas: Canvas,
    grid: _Grid,
    names: Sequence[str],
    bottom: float,
    size: float,
    *,
    named: bool,
    upright: bool,
) -> None:
    if named:
        bottom += 0.1 if upright else 0.04
        across, rotation = (0.5, 0.0) if upright else (0.0, 90.0)
        canvas.words(names, grid.centres, bottom, size=size, across=across, rotation=rotation)
        return
    ends = [0, grid.features - 1]  # no room for all
    for column, across in zip(ends, (0.0, 1.0), strict=True):
        x = grid.left + (0 if across == 0 else grid.width)
        canvas.words([f"{column + 1}: {names[column]}"], x, bottom + 0.12, size=8, across=across)


def _row(layer: Layer, features: int) -> tuple[Colours, list[str]] | None:
    """Colours and letters of a layer's cells, or None where a layer has no mask."""
    match layer:
        case Coupling():
            return np.array([[SHADES[letter] for letter in layer.mask]]), list(layer.mask)
        case Autoregressive():
            order = graph.topological_order(layer.adjacency())
            if layer.order is not None:
                order = layer.order
            position = np.argsort(order)
            share = position[:, None] / max(1, features - 1)
            return ((1 - share) * FIRST + share * LAST)[None], [str(p + 1) for p in position]
        case Elementwise():
            return np.array([[SHADES["T"]] * features]), ["T"] * features
        case Permutation():
            return np.array([[SHADES["I"]] * features]), [str(p + 1) for p in layer.order]
        case _:
            return None


def _layer(
    canvas: Canvas, grid: _Grid, layer: Layer, label: str, bottom: float, height: float
) -> None:
    middle = bottom + height / 2
    canvas.words([label], grid.left - 0.12, middle, size=8.5, across=1.0, colour=INK)
    row = _row(layer, grid.features)
    if row is None:
        colours = np.full((1, 1, 3), 0.86)
        canvas.cells(grid.left, bottom, grid.width, height, colours)
        if layer.kind != "identity":
            canvas.words(["all features"], grid.left + grid.width / 2, middle, size=7, colour=GREY)
        return
    colours, letters = row
    canvas.cells(grid.left, bottom, grid.width, height, colours, apart=grid.cell >= LETTERS)
    if grid.cell < LETTERS:
        return
    widest = max(map(len, letters))
    size = float(np.clip(grid.cell * 72 * (0.75 if widest < 2 else 0.5), 4.5, 9.5))
    dark = colours[0].mean(axis=1) < 0.45
    for mine, colour in ((~dark, INK), (dark, "white")):
        chosen = np.flatnonzero(mine)
        canvas.words(
            [letters[k] for k in chosen], grid.centres[chosen], middle, size=size, colour=colour
        )


def _legend(canvas: Canvas, layers: Sequence[Layer], middle: float) -> None:
    used = [x for x in "CTI" if any(isinstance(y, Coupling) and x in y.mask for y in layers)]
    if "T" not in used and any(isinstance(layer, Elementwise) for layer in layers):
        used.append("T")
    x = MARGIN + 0.05
    for letter in used:
        canvas.cells(x, middle - 0.07, 0.14, 0.14, np.array([[SHADES[letter]]]))
        canvas.words([letter], x + 0.07, middle, size=8)
        label = MEANING[letter]
        canvas.words([label], x + 0.2, middle, size=8.5, across=0.0, colour=GREY)
        x += 0.4 + width_of(label, 8.5)
    if any(isinstance(layer, Autoregressive) for layer in layers):
        shades = np.linspace(0, 1, 12)[None, :, None]
        canvas.cells(x, middle - 0.07, 0.36, 0.14, (1 - shades) * FIRST + shades * LAST)
        label = "position in the order, first to last"
        canvas.words([label], x + 0.44, middle, size=8.5, across=0.0, colour=GREY)


def _matrices(layers: Sequence[Layer]) -> list[tuple[str, graph.Adjacency]]:
    """The distinct adjacencies, labelled with the numbers of their layers."""
    by_bytes: dict[bytes, tuple[list[str], graph.Adjacency]] = {}
    for number, layer in enumerate(layers, 1):
        if isinstance(layer, Autoregressive):
            matrix = layer.adjacency()
            by_bytes.setdefault(matrix.tobytes(), ([], matrix))[0].append(str(number))
    return [
        (f"layer{'s' if len(numbers) > 1 else ''} {', '.join(numbers)}", matrix)
        for numbers, matrix in by_bytes.values()
    ]


def _matrix(
    canvas: Canvas, label: str, matrix: graph.Adjacency, left: float, bottom: float
) -> None:
    """Draw an adjacency: cell (i, j) is dark where feature i depends on feature j."""
    features = len(matrix)
    size = min(MATRIX, 0.3 * features)
    bottom += MATRIX - size
    colours = np.where(matrix[:, :, None], EDGE, NO_EDGE)
    canvas.cells(left, bottom, size, size, colours, apart=features <= 40)
    edges = int(matrix.sum())
    canvas.words(
        [f"{short(label, 24)}: {edges:,} edges"], left, bottom + size + 0.27, size=8, across=0.0
    )
    canvas.words(
        ["row depends on column"], left, bottom + size + 0.11, size=7.5, across=0.0, colour=BLUE
    )
