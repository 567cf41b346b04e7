"""The plotly figures of a study: pure functions of its rows and of the best flow.

They are small, since a dashboard stores them in the study itself: plain layout, rounded numbers, a
limited number of points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfopt.layers import Autoregressive, Coupling, Permutation, Reverse
from nfopt.masks import pair_coverage, parse
from nfopt.report.canvas import BLUE, GREY, ORANGE, VERMILION, short
from nfopt.report.rows import Row, front, improvements, measured
from nfopt.spec import FlowSpec

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

POINTS = 300  # trials of a figure, beside the best ones
DIGITS = 5  # of a number
MAX_NAMED, MAX_CELLS = 40, 64  # columns with names, and cells a side, of a coverage matrix
NLL = "validation NLL (nats a row)"


def best_by_trials(rows: Sequence[Row]) -> Figure:
    """Draw the best NLL so far against the trials that had ended."""
    ended = {row.number: count for count, row in enumerate(rows, 1)}
    return _best(rows, lambda row: ended[row.number], "Best so far, by trials", "trials ended")


def best_by_seconds(rows: Sequence[Row]) -> Figure:
    """Draw the best NLL so far against the seconds of training, of all workers together."""
    spent = dict(
        zip((row.number for row in rows), accumulate(row.seconds for row in rows), strict=True)
    )
    return _best(
        rows,
        lambda row: spent[row.number],
        "Best so far, by training time",
        "seconds of training, all workers together",
    )


def _best(rows: Sequence[Row], x_of: Callable[[Row], float], title: str, axis: str) -> Figure:
    figure = plain_figure(title, axis, NLL)
    steps, every = improvements(rows), _thin([row for row, _ in measured(rows)])
    _add(figure, every, [x_of(row) for row in every], "a trial", GREY, mode="markers", size=5)
    x = [x_of(row) for row in [*steps, *rows[-1:]]] if steps else []
    line = steps + steps[-1:]
    _add(figure, line, x, "the best so far", BLUE, mode="lines+markers", shape="hv")
    if steps:  # the first trials are often far off
        nlls = sorted(nll for _, nll in measured(rows))
        low, high = nlls[0], nlls[round(0.9 * (len(nlls) - 1))]
        room = max(high - low, 0.02 * abs(low), 1e-3)
        figure.update_yaxes(range=[rounded(low - 0.08 * room), rounded(high + 0.15 * room)])
    return figure


def pareto(rows: Sequence[Row]) -> Figure:
    """Draw the NLL of every complete trial against its parameters, and the front of both."""
    figure = plain_figure("NLL against parameters", "parameters", NLL)
    figure.update_xaxes(type="log")
    every = _thin([row for row, _ in measured(rows) if row.parameters is not None])
    _add(figure, every, [row.parameters for row in every], "a trial", GREY, mode="markers", size=5)
    best = front(rows)
    _add(
        figure, best, [row.parameters for row in best], "none is smaller and better", VERMILION,
        mode="lines+markers", shape="hv",
    )  # fmt: skip
    return figure


def coverage_of(spec: FlowSpec) -> NDArray[np.int64]:
    """Count, for each pair of columns, the layers that map one conditioned on the other.

    Permutations are followed back to the data's columns; mixing by linear layers is not counted.

    Args:
        spec: A flow.

    Returns:
        Shape (D, D): entry (i, j) is the number of layers that map i conditioned on j.
    """
    where = np.arange(spec.features)  # the data's column at each position
    total = np.zeros((spec.features, spec.features), dtype=np.int64)
    for layer in spec.layers:
        match layer:
            case Coupling():
                total[np.ix_(where, where)] += pair_coverage(parse([layer.mask]))
            case Autoregressive():
                total[np.ix_(where, where)] += layer.adjacency()
            case Permutation():
                where = where[list(layer.order)]
            case Reverse():
                where = where[::-1]
    return total


def coverage(spec: FlowSpec, columns: Sequence[str], *, title: str) -> Figure:
    """Draw a flow's coverage matrix: in how many layers the row's column sees another one.

    Args:
        spec: A flow.
        columns: D names.
        title: Its first line.
    """
    import plotly.graph_objects as go

    counts: NDArray[Any] = coverage_of(spec)
    # plotly takes some HTML in its texts
    labels = [escape(f"{number}: {short(name, 18)}") for number, name in enumerate(columns, 1)]
    if len(counts) > MAX_CELLS:
        edges = np.linspace(0, len(counts), MAX_CELLS + 1).round().astype(int)[:-1]
        summed = np.add.reduceat(np.add.reduceat(counts, edges, axis=0), edges, axis=1)
        widths = np.diff([*edges, len(counts)])
        counts = np.round(summed / widths[:, None] / widths[None, :], 2)
        labels = [f"{edge + 1}" for edge in edges]
    elif len(counts) > MAX_NAMED:
        labels = [str(number) for number in range(1, len(counts) + 1)]
    figure = plain_figure(title, "conditioned on", "mapped")
    figure.add_trace(
        go.Heatmap(
            z=counts.tolist(),
            x=labels,
            y=labels,
            colorscale=[[0, "#ffffff"], [0.001, "#d8e7f3"], [1, BLUE]],
            colorbar={"title": {"text": "layers"}, "thickness": 12},
            xgap=1,
            ygap=1,
        )
    )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(type="category", autorange="reversed", showgrid=False)
    return figure


def plain_figure(title: str, x: str, y: str) -> Figure:
    """An empty figure with two named axes."""
    import plotly.graph_objects as go

    figure = go.Figure()
    plain: dict[str, Any] = {"gridcolor": "#e6e6e6", "zeroline": False, "automargin": True}
    figure.update_layout(
        template=go.layout.Template(),  # the default one is larger than all points together
        title={"text": title},
        xaxis={"title": {"text": x}, **plain},
        yaxis={"title": {"text": y}, **plain},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
        plot_bgcolor="white",
        margin={"l": 60, "r": 20, "t": 70, "b": 50},
    )
    return figure


def _add(
    figure: Figure,
    rows: Sequence[Row],
    x: Sequence[float | None],
    name: str,
    colour: str,
    *,
    mode: str,
    size: int = 8,
    shape: str = "linear",
) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(
            x=[None if value is None else rounded(value) for value in x],
            y=[None if row.nll is None else rounded(row.nll) for row in rows],
            customdata=[row.number for row in rows],
            hovertemplate="trial %{customdata}: %{y}<extra></extra>",
            name=name,
            mode=mode,
            marker={"color": ORANGE if mode != "markers" else colour, "size": size},
            line={"color": colour, "width": 2, "shape": shape},
            opacity=0.6 if mode == "markers" else 1.0,
        )
    )


def _thin(rows: Sequence[Row]) -> list[Row]:
    """At most `POINTS` rows, evenly spaced."""
    if len(rows) <= POINTS:
        return list(rows)
    return [rows[k] for k in np.linspace(0, len(rows) - 1, POINTS).round().astype(int)]


def rounded(value: float) -> float:
    """A number to `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")
