"""The section on the fit in base space: histograms that are flat where the flow is right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.layers import Autoregressive, Coupling, Elementwise, Identity
from nfopt.report.page.facts import Facts
from nfopt.report.page.markup import LEFT_OUT, NOTHING, Html, el, joined
from nfopt.report.page.svg import svg

Array = NDArray[np.float64]

MOST = 8  # coordinates that are drawn
FEW_ROWS = 500  # with fewer there are fewer bins
FEWEST = 20  # rows
KEEPING = (Autoregressive, Coupling, Elementwise, Identity)  # layers that leave columns in place
WIDTH, HEIGHT, LEFT, BOTTOM = 240, 130, 26, 18


def base_space(facts: Facts) -> Html:
    """Draw how test rows are distributed in the base, with bands for chance."""
    if facts.flow is None or facts.data is None:
        return NOTHING
    _, val, test = facts.data.lines.parts
    part, whose = (test, "test rows") if len(test) else (val, "validation rows, it was chosen on")
    if len(part) < FEWEST:
        return el("p", f"There are too few rows to tell: {len(part)} {whose}.")
    if not facts.closing.fits("the report's section on the fit in base space"):
        return LEFT_OUT
    from nfopt.report.page import pit

    found = pit.uniforms(facts.flow, part)
    rows = len(found.radius)
    effective = pit.effective(found.weights, rows)
    bins = 20 if effective >= FEW_ROWS else 10
    half = pit.band(effective, bins)
    heights = [pit.histogram(u, found.weights, bins) for u in found.coordinates.T]
    off = np.array([np.abs(height - 1).max() for height in heights])
    outside = int((off > half).sum())
    shown = np.sort(np.argsort(-off, kind="stable")[:MOST])
    names = coordinate_names(facts)
    radius = pit.histogram(found.radius, found.weights, bins)
    out = "leaves" if np.abs(radius - 1).max() > half else "stays within"
    some = f" The {MOST} that are farthest from flat are drawn." if len(off) > MOST else ""
    lost = f" {found.lost:,} rows without a density are left out." if found.lost else ""
    words = (
        f"{rows:,} {whose}, mapped by the flow to its base: what is flat there, it has learnt. The"
        " grey band holds a whole histogram of exactly uniform rows 19 times in 20. The distance"
        f" from the centre {out} it, and {outside} of {len(off)} coordinates leave it, where chance"
        f" alone makes about {0.05 * len(off):.1f} do so.{some}{lost}"
    )
    drawn = [_drawn("distance from the centre", radius, half)]
    drawn += [_drawn(names[k], heights[k], half) for k in shown]
    note = (
        "A bulge in the middle says that the flow is too wide, a valley that it is too narrow, a"
        " slope that it is shifted. A mixture maps each row by a member drawn with the probability"
        " that it gives the row (probability integral transform: Dawid 1984)."
    )
    return joined([
        el("p", words),
        el("div", *drawn, class_="small"),
        el("p", note, class_="soft"),
    ])  # fmt: skip


def coordinate_names(facts: Facts) -> Sequence[str]:
    """The columns, where each coordinate of the base belongs to one; else their numbers."""
    assert facts.flow is not None
    layers = [layer for spec in facts.flow.specs for layer in spec.layers]
    if all(isinstance(layer, KEEPING) for layer in layers):
        return [str(column) for column in facts.columns]
    return [f"coordinate {k}" for k in range(1, len(facts.columns) + 1)]


def _drawn(name: str, heights: Array, half: float) -> Html:
    """A histogram as steps, with its band and the line at 1."""
    wide, high = WIDTH - LEFT, HEIGHT - BOTTOM
    top = 1.15 * max(float(heights.max()), 1 + half)
    at = [f"{high * (1 - height / top):.1f}" for height in heights]
    step = wide / len(heights)
    path = f"M{LEFT} {at[0]}" + "".join(
        f"V{y}H{LEFT + step * (place + 1):.1f}" for place, y in enumerate(at)
    )
    low, up = (high * (1 - max(0.0, 1 + side * half) / top) for side in (-1, 1))
    one = high * (1 - 1 / top)
    parts = [
        el("path", d=f"M{LEFT} {up:.1f}h{wide}V{low:.1f}h-{wide}z", class_="band"),
        el("path", d=f"M{LEFT} {one:.1f}h{wide}M{LEFT} {high}h{wide}", class_="grid"),
        el("path", d=path, class_="line blue"),
        el("text", "1", x=LEFT - 6, y=f"{one + 4:.1f}", class_="end"),
        el("text", "0", x=LEFT, y=HEIGHT - 3),
        el("text", "1", x=WIDTH - 2, y=HEIGHT - 3, class_="end"),
    ]
    picture = svg(WIDTH, HEIGHT, f"Histogram of {name}", *parts)
    return el("figure", picture, el("figcaption", name))
