"""The plotly figures of this package as static SVG: a page then needs no script and no library.

What they use is drawn: lines, steps and points on linear or logarithmic axes, and a heatmap.
Colours are classes of style.css, which has light and dark ones; the pointer over a point tells its
trial.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfopt.report.canvas import BLUE, GREEN, GREY, ORANGE, VERMILION
from nfopt.report.curve import Axis
from nfopt.report.page.markup import Html, el, joined, text

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Array = NDArray[np.float64]

CLASSES = {BLUE: "blue", ORANGE: "orange", VERMILION: "vermilion", GREY: "grey", GREEN: "blue"}
WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 78, 12, 10, 46
LETTER = 6.6  # width of a letter of an axis, about
LEVELS = 8  # of a heatmap's colour
MOST_NAMED = 24  # rows of a heatmap that have names


def chart(figure: Figure) -> Html:
    """Draw one of this package's figures, its title and what its colours mean below it."""
    plain = figure.to_plotly_json()
    traces, layout = plain["data"], plain["layout"]
    title = el("span", layout["title"]["text"], class_="title")
    heat = next((trace for trace in traces if trace["type"] == "heatmap"), None)
    if heat is not None:
        greatest = max((max(row) for row in heat["z"]), default=0)
        drawn, keys = _heatmap(heat, layout), [text(f"The fullest colour stands for {greatest:g}.")]
    else:
        drawn = _lines(traces, layout)
        keys = [el("span", trace["name"], class_=f"key {_colour(trace)}") for trace in traces]
    return el("figure", drawn, el("figcaption", title, el("br"), *keys))


def svg(width: float, height: float, said: str, *inside: Html) -> Html:
    """A picture of a width and height, with what it shows in words."""
    box, widest = f"0 0 {width:g} {height:g}", f"max-width:{1.25 * width:.0f}px"
    return el("svg", *inside, viewBox=box, style=widest, role="img", aria_label=said)


def _lines(traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any]) -> Html:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    points = [_points(trace) for trace in traces]
    every = np.concatenate([*points, np.zeros((0, 2))])
    x, y = _scale(every[:, 0], layout["xaxis"], 0.02), _scale(every[:, 1], layout["yaxis"], 0.05)
    parts = []
    for share, said in y.ticks():
        level = TOP + high * (1 - share)
        parts.append(el("path", d=f"M{LEFT} {level:.1f}h{wide}", class_="grid"))
        parts.append(el("text", said, x=LEFT - 8, y=f"{level + 4:.1f}", class_="end"))
    for share, said in x.ticks():
        at = f"{LEFT + wide * share:.1f}"
        parts.append(el("text", said, x=at, y=TOP + high + 17, class_="middle"))
    parts += _names_of_axes(layout)
    inside = []
    for trace, own in zip(traces, points, strict=True):
        place = np.stack([wide * x.shares(own[:, 0]), high * (1 - y.shares(own[:, 1]))], axis=1)
        inside.append(_trace(trace, place))
    # a picture in the picture cuts off what lies beyond the axes
    plot = el("svg", *inside, x=LEFT, y=TOP, width=wide, height=high)
    return svg(WIDTH, HEIGHT, layout["title"]["text"], *parts, plot)


def _names_of_axes(layout: Mapping[str, Any]) -> list[Html]:
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    below, side = (layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
    turned = f"translate(12 {middle:g}) rotate(-90)"
    return [
        el("text", below, x=LEFT + (WIDTH - LEFT - RIGHT) / 2, y=HEIGHT - 6, class_="middle"),
        el("text", side, transform=turned, class_="middle"),
    ]


def _points(trace: Mapping[str, Any]) -> Array:
    pairs = zip(trace["x"], trace["y"], strict=True)
    return np.array(
        [[math.nan if v is None else v for v in pair] for pair in pairs], dtype=float
    ).reshape(-1, 2)


def _trace(trace: Mapping[str, Any], place: Array) -> Html:
    colour, parts = _colour(trace), []
    kept = np.isfinite(place).all(axis=1)
    if "lines" in trace["mode"] and kept.any():
        steps = trace["line"].get("shape") == "hv"
        (x, y), *others = place[kept].round(1)
        path = f"M{x:g} {y:g}" + "".join(
            f"H{x:g}V{y:g}" if steps else f"L{x:g} {y:g}" for x, y in others
        )
        parts.append(el("path", d=path, class_=f"line {colour}"))
    if "markers" in trace["mode"]:
        faint, size = ("", 3.5) if "lines" in trace["mode"] else (" faint", 2.5)
        circles = []
        for number in np.flatnonzero(kept):
            x, y = place[number].round(1)
            said = el("title", _tip(trace, int(number)))
            circles.append(el("circle", said, cx=f"{x:g}", cy=f"{y:g}", r=size))
        parts.append(el("g", *circles, class_=f"fill {colour}{faint}"))
    return joined(parts)


def _tip(trace: Mapping[str, Any], number: int) -> str:
    custom = trace["customdata"][number]
    known = {"y": trace["y"][number], "customdata": custom}
    if isinstance(custom, Sequence):
        known |= {f"customdata[{place}]": value for place, value in enumerate(custom)}
    said = trace["hovertemplate"].replace("<extra></extra>", "")
    return re.sub(r"%\{([^}]*)\}", lambda found: str(known.get(found[1], "")), said)


def _colour(trace: Mapping[str, Any]) -> str:
    return CLASSES.get(trace["line"]["color"], "blue")


class _Scale:
    """An axis from 0 to 1, of numbers or of their logarithms."""

    def __init__(self, axis: Axis, log: bool) -> None:
        self._axis, self._log = axis, log

    def shares(self, values: Array) -> Array:
        return self._axis.share(np.log10(values) if self._log else values)

    def ticks(self) -> list[tuple[float, str]]:
        if not self._log:
            return [(float(self._axis.share(value)), said) for value, said in self._axis.ticks()]
        low, high = math.floor(self._axis.low), math.ceil(self._axis.high)
        steps = (1,) if high - low > 3 else (1, 2, 5)
        values = [step * 10.0**power for power in range(low, high + 1) for step in steps]
        shares = [float(self._axis.share(math.log10(value))) for value in values]
        return [(s, f"{v:,.10g}") for s, v in zip(shares, values, strict=True) if 0 <= s <= 1]


def _scale(values: Array, axis: Mapping[str, Any], pad: float) -> _Scale:
    log = axis.get("type") == "log"
    finite = values[np.isfinite(values) & (values > 0 if log else True)]
    found = np.log10(finite) if log else finite
    low, high = (float(found.min()), float(found.max())) if len(found) else (0.0, 1.0)
    if "range" in axis:
        (low, high), pad = axis["range"], 0.0
    if log and high - low < 0.5:  # room for a round number or two
        low, high, pad = low - 0.25, high + 0.25, 0.0
    return _Scale(Axis(low, high, pad), log)


def _heatmap(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> Html:
    """Draw a square matrix, one path a shade; rows and columns have the same names."""
    cells = np.asarray(trace["z"], dtype=float)
    rows = len(cells)
    names = [html.unescape(str(name)) for name in trace["y"]]  # plotly's are HTML
    shown = names if rows <= MOST_NAMED else []
    left = 24 + LETTER * max(map(len, shown), default=0)
    wide = max(160.0, min(WIDTH - left, 24.0 * rows))
    size = wide / rows
    top = float(cells.max()) or 1.0
    level = np.ceil(LEVELS * cells / top).astype(int)
    parts = []
    for shade in range(1, LEVELS + 1):
        filled = np.argwhere(level == shade)
        path = "".join(f"M{left + size * j:.1f} {size * i:.1f}h{size:.1f}v{size:.1f}h-{size:.1f}z"
                       for i, j in filled)  # fmt: skip
        if path:
            opacity = f"{shade / LEVELS:.3g}"
            parts.append(el("path", d=path, class_="fill blue", fill_opacity=opacity))
    parts.append(el("path", d=f"M{left:.1f} 0h{wide:g}v{wide:g}h-{wide:g}z", class_="grid"))
    for place, name in enumerate(shown):
        middle = size * (place + 0.5)
        parts.append(el("text", name, x=f"{left - 6:.1f}", y=f"{middle + 4:.1f}", class_="end"))
        at = f"{left + middle:.1f}"
        parts.append(el("text", place + 1, x=at, y=f"{wide + 15:.1f}", class_="middle"))
    below, side = (layout[axis]["title"]["text"] for axis in ("xaxis", "yaxis"))
    turned, at = f"translate(12 {wide / 2:.1f}) rotate(-90)", f"{left + wide / 2:.1f}"
    parts.append(el("text", below, x=at, y=f"{wide + 34:.1f}", class_="middle"))
    parts.append(el("text", side, transform=turned, class_="middle"))
    return svg(left + wide + 2, wide + 40, layout["title"]["text"], *parts)
