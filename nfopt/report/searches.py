"""Pictures of differentiable searches: weights, entropy, objectives and cost over the steps.

A PNG for each trial, from its whole history, and plotly figures of the best one and of the front of
NLL against cost, from the study's storage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.autonf import History, Record, front
from nfopt.report.canvas import BLUE, GREEN, GREY, ORANGE, PALE, VERMILION, Canvas, short, width_of
from nfopt.report.curve import Axis
from nfopt.report.figures import NLL, plain_figure, rounded

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Array = NDArray[np.float64]

WIDTH = 7.2  # inches
LEFT, RIGHT, TOP, BOTTOM = 1.75, 0.3, 0.72, 0.5  # margins
ROW, LEAST_ROW = 0.16, 0.035  # height of an option of a layer: preferred, and least
TALLEST = 7.0  # height of all options together, at most
PANEL, APART = 0.95, 0.34  # height of a panel, and the space between two
LABELS = 60  # options of all layers up to which their names are written
SHADE = np.array([0.0, 0.447, 0.698])  # blue


def history_of(trial: FrozenTrial) -> History | None:
    """The history of a trial's search, or None."""
    plain = trial.user_attrs.get(names.AUTONF)
    if plain is None:
        return None
    try:
        return msgspec.convert(plain, History)
    except msgspec.ValidationError:
        return None


# ---------------------------------------------------------------------------------- the PNG


def search_png(history: History, *, title: str) -> bytes:
    """Draw a search: each layer's weights, the objectives, the entropy and the expected cost.

    Args:
        history: Of the search.
        title: Its first line.
    """
    records = history.records
    layers, options = _shape(records), len(history.options)
    rows = layers * options
    high = min(TALLEST, max(LEAST_ROW * rows, min(ROW * rows, TALLEST)))
    courses = courses_of(records) if records else []
    height = TOP + high + BOTTOM + len(courses) * (PANEL + APART)
    canvas = Canvas(WIDTH, height)
    canvas.words([title], 0.15, height - 0.2, size=10, across=0.0, bold=True)
    label = "weight of each option of each layer over the steps, from white (0) to blue (1)"
    canvas.words([label], 0.15, height - 0.42, size=8.5, across=0.0, colour=GREY)
    if not records:
        canvas.words(["no record"], WIDTH / 2, height / 2, colour=GREY)
        return canvas.png()
    steps = np.array([record.step for record in records], dtype=float)
    bottom, wide = height - TOP - high, WIDTH - LEFT - RIGHT
    canvas.cells(LEFT, bottom, wide, high, _shades(records, steps))
    row = high / rows
    for layer in range(layers):
        level = bottom + high - layer * options * row
        canvas.line([LEFT, LEFT + wide], [level, level], GREY, 0.8)
        for k, name in enumerate(history.options) if rows <= LABELS else ():
            y = level - (k + 0.5) * row
            canvas.words([f"{layer + 1}  {short(name)}"], LEFT - 0.08, y, size=7.5, across=1.0)
        if rows > LABELS:
            y = level - options * row / 2
            canvas.words([f"layer {layer + 1}"], LEFT - 0.08, y, size=7.5, across=1.0)
    x = Axis(0.0, float(steps[-1]))
    across = LEFT + wide * x.share(steps)
    for name, lines in courses:
        bottom -= PANEL + APART
        _panel(canvas, name, lines, across, bottom, wide)
    for value, text in x.ticks():
        column = LEFT + wide * float(x.share(value))
        canvas.words([text], column, bottom - 0.14, size=8, colour=GREY)
    canvas.words(["step"], LEFT + wide / 2, bottom - 0.34, size=8.5, colour=GREY)
    return canvas.png()


def _shades(records: Sequence[Record], steps: Array) -> Array:
    """Colours of all weights at evenly spaced steps: (layers * options, columns, 3)."""
    table = np.array([np.ravel(record.weights) for record in records]).T
    at = np.linspace(0.0, steps[-1], 160)
    nearest = np.searchsorted(steps, at).clip(0, len(steps) - 1)
    return np.asarray(1 - table[:, nearest, None] * (1 - SHADE))


def _panel(
    canvas: Canvas,
    name: str,
    lines: Sequence[tuple[str, str, Array]],
    across: Array,
    bottom: float,
    wide: float,
) -> None:
    canvas.words([name], 0.15, bottom + PANEL + 0.12, size=8.5, across=0.0, colour=GREY)
    finite = np.concatenate([values[np.isfinite(values)] for _, _, values in lines])
    y = Axis(float(finite.min()), float(finite.max()), pad=0.06)
    for value, text in y.ticks(3):
        level = bottom + PANEL * float(y.share(value))
        canvas.line([LEFT, LEFT + wide], [level, level], PALE, 0.7)
        canvas.words([text], LEFT - 0.1, level, size=8, across=1.0, colour=GREY)
    right = LEFT + wide
    for label, colour, values in reversed(lines):
        known = np.isfinite(values)
        canvas.line(across[known], bottom + PANEL * y.share(values[known]), colour, 1.6)
        canvas.words([label], right, bottom + PANEL + 0.12, size=8, across=1.0, colour=colour)
        right -= width_of(label, 8) + 0.2


# ------------------------------------------------------------------------------ what is drawn


def _shape(records: Sequence[Record]) -> int:
    return len(records[0].weights) if records else 1


def courses_of(records: Sequence[Record]) -> list[tuple[str, list[tuple[str, str, Array]]]]:
    """The panels of a search by name, with their lines: label, colour, values."""

    def values(of: Sequence[float | None]) -> Array:
        return np.array([math.nan if value is None else value for value in of], dtype=float)

    bounds = [
        ("L_U", BLUE, values([record.upper_bound for record in records])),
        ("L_O", ORANGE, values([record.mixture for record in records])),
    ]
    entropy = values([sum(record.entropy) / len(record.entropy) for record in records])
    cost = values([record.expected_cost for record in records])
    panels = [
        ("NLL of shared weights, nats a row: no result", bounds),
        ("entropy of the weights, nats a layer", [("entropy", GREEN, entropy)]),
        ("expected cost, in cheapest layers", [("cost", VERMILION, cost)]),
    ]
    finite = [
        (name, [line for line in lines if np.isfinite(line[2]).any()]) for name, lines in panels
    ]
    return [(name, lines) for name, lines in finite if lines]


# ------------------------------------------------------------------------------ plotly figures


def search_figures(trials: Sequence[FrozenTrial], best: int | None) -> dict[str, Figure]:
    """The figures of a study of differentiable searches, by their names in the study.

    Args:
        trials: Of the study.
        best: Number of the one whose search is drawn, or None.
    """
    figures: dict[str, Figure] = {}
    points = points_of(trials)
    if points:
        figures["nfopt-5-nll-and-cost"] = nll_and_cost(points)
    history = None if best is None else history_of(trials[best])
    if history is not None and (records := history.records):
        figures["nfopt-6-weights"] = weights(history, title=f"Weights of trial {best}'s search")
        figures["nfopt-7-course"] = course(records, title=f"Course of trial {best}'s search")
    return figures


def points_of(trials: Sequence[FrozenTrial]) -> list[tuple[int, float, float, Any]]:
    """Number, cost, validation NLL and price of the winners of all searches."""
    points = []
    for trial in trials:
        raced = trial.user_attrs.get(names.CANDIDATES)
        if trial.state is TrialState.COMPLETE and raced and raced[0].get("nll") is not None:
            best: Mapping[str, Any] = raced[0]
            points.append(
                (trial.number, float(best["cost"]), float(best["nll"]), trial.params.get("price"))
            )
    return points


def nll_and_cost(points: Sequence[tuple[int, float, float, Any]]) -> Figure:
    """Draw the winners' NLL against their cost, and the front of both."""
    import plotly.graph_objects as go

    figure = plain_figure("NLL against cost", "cost, in cheapest layers", NLL)
    kept = front([(cost, nll) for _, cost, nll, _ in points])
    for name, colour, mode, chosen in (
        ("a search", GREY, "markers", list(range(len(points)))),
        ("none is cheaper and better", VERMILION, "lines+markers", kept),
    ):
        some = [points[k] for k in chosen]
        figure.add_trace(
            go.Scatter(
                x=[rounded(cost) for _, cost, _, _ in some],
                y=[rounded(nll) for _, _, nll, _ in some],
                customdata=[[number, price] for number, _, _, price in some],
                hovertemplate="trial %{customdata[0]}, price %{customdata[1]}: %{y}<extra></extra>",
                name=name,
                mode=mode,
                line={"color": colour, "shape": "hv"},
            )
        )
    return figure


def weights(history: History, *, title: str) -> Figure:
    """Draw each option's weight in each layer over the steps."""
    import plotly.graph_objects as go

    records = history.records
    figure = plain_figure(title, "step", "layer and option")
    table = np.array([np.ravel(record.weights) for record in records]).T
    labels = [f"{layer + 1} {name}" for layer in range(_shape(records)) for name in history.options]
    figure.add_trace(
        go.Heatmap(
            z=np.round(table, 3).tolist(),
            x=[record.step for record in records],
            y=labels,
            zmin=0,
            zmax=1,
            colorscale=[[0, "#ffffff"], [1, BLUE]],
            colorbar={"title": {"text": "weight"}, "thickness": 12},
        )
    )
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def course(records: Sequence[Record], *, title: str) -> Figure:
    """Draw objectives, entropy and expected cost over the steps, one above the other."""
    import plotly.graph_objects as go

    figure = plain_figure(title, "step", "")
    panels = courses_of(records)
    for number, (name, lines) in enumerate(panels):
        axis = "y" if not number else f"y{number + 1}"
        top = 1 - number / len(panels)
        plain = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True}
        figure.update_layout({
            f"yaxis{axis[1:]}": {
                "domain": [top - 0.85 / len(panels), top],
                "title": {"text": name.partition(",")[0]},
                **plain,
            }
        })  # fmt: skip
        for label, colour, values in lines:
            figure.add_trace(
                go.Scatter(
                    x=[record.step for record in records],
                    y=[rounded(v) if math.isfinite(v) else None for v in values.tolist()],
                    name=label,
                    yaxis=axis,
                    mode="lines",
                    line={"color": colour, "width": 2},
                )
            )
    figure.update_layout(xaxis={"anchor": "free", "position": 0.0})
    return figure
