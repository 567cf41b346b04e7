"""The section on calibration: whether a conditional flow is as sure as it may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfopt.report.page.facts import Facts
from nfopt.report.page.markup import LEFT_OUT, NOTHING, Html, el, joined, table
from nfopt.report.page.svg import svg

Array = NDArray[np.float64]

MOST = 8  # columns that are drawn
SAMPLES = 100  # for each row
SECONDS, FEWEST, ROWS = 4.0, 100, 500  # that all of them may take, by what they cost; rows
WIDTH, HEIGHT, LEFT, BOTTOM = 240, 130, 46, 18


def calibration(facts: Facts) -> Html:
    """Draw the ranks of test rows among samples given their context, with bands for chance."""
    if facts.flow is None or facts.data is None or not facts.flow.context_columns:
        return NOTHING
    from nfopt.calibration import ALL, FEWEST_ROWS, band, calibrate, deviation

    _, val, test = facts.data.lines.parts
    part, whose = (test, "test rows") if len(test) else (val, "validation rows, it was chosen on")
    if len(part) < FEWEST_ROWS:
        return el("p", f"There are too few rows to tell: {len(part)} {whose}.")
    cost = None if facts.delivered is None else facts.delivered.number("sample_1000", of="costs")
    least = FEWEST * SAMPLES * (cost or 1.0) / 1000
    if not facts.closing.fits("the report's section on calibration", least):
        return LEFT_OUT
    most = int(np.clip(1000 * SECONDS / (cost or 1.0) / SAMPLES, FEWEST, ROWS))
    plain = facts.data.lines.blank
    values = plain.on_grid(plain.inverse(part.line))
    found = calibrate(facts.flow, values, part.context, samples=SAMPLES, rows=most)
    rows, tests = len(found.together), found.tests()
    curves = {name: deviation(ranks, SAMPLES) for name, ranks in found.every().items()}
    half = band(rows, SAMPLES, np.random.default_rng(0), columns=len(curves))
    outside = [name for name, curve in curves.items() if np.abs(curve).max() > half]
    off = sorted(curves, key=lambda name: (name != ALL, -tests[name].deviation))[: MOST + 1]
    some = f" The {MOST} that are farthest off are drawn." if len(curves) > MOST + 1 else ""
    words = (
        f"The ranks of {rows:,} {whose}, among {SAMPLES} samples given each row's context: their"
        " distribution less a uniform one, which is 0 where the density is exact. The grey band"
        " holds all the curves of an exact density together 19 times in 20;"
        f" {len(outside) or 'none'} of {len(curves)} leave{'s' * (len(outside) == 1)} it.{some}"
    )
    cells = [
        [
            name,
            f"{tests[name].deviation:.3f}",
            f"{tests[name].p_value:.2g}",
            f"{tests[name].spread:.2f}",
            f"{tests[name].shift:+.3f}",
        ]
        for name in off
    ]
    numbers = ("greatest distance", "p-value", "spread (1)", "shift (0)")
    note = (
        "Above and then below the line: the density is too narrow, its spread above 1; below and"
        " then above: too wide; on one side: shifted. Of single columns (simulation-based"
        " calibration, Talts et al. 2018), and of all together by the distance from random points"
        " (TARP, Lemos et al. 2023)."
    )
    return joined([
        el("p", words),
        el("div", *(_drawn(name, curves[name], half) for name in off), class_="small"),
        el("p", note, class_="soft"),
        table({"column": str, **dict.fromkeys(numbers, int)}, cells),
    ])  # fmt: skip


def _drawn(name: str, curve: Array, half: float) -> Html:
    """A curve around 0, with its band."""
    wide, high = WIDTH - LEFT, HEIGHT - BOTTOM
    top = 1.15 * max(float(np.abs(curve).max()), half)

    def y(value: float) -> float:
        return high / 2 * (1 - value / top)

    across = LEFT + wide * np.arange(len(curve) + 1) / len(curve)
    line = zip(across, [0.0, *curve], strict=True)
    path = "M" + "L".join(f"{x:.1f} {y(value):.1f}" for x, value in line)
    band = f"M{LEFT} {y(half):.1f}h{wide}V{y(-half):.1f}h-{wide}z"
    parts = [
        el("path", d=band, class_="band"),
        el("path", d=f"M{LEFT} {y(0):.1f}h{wide}M{LEFT} {high}h{wide}", class_="grid"),
        el("path", d=path, class_="line blue"),
        *(
            el("text", f"{value:+.2f}", x=LEFT - 4, y=f"{y(value) + 4:.1f}", class_="end")
            for value in (half, -half)
        ),
        el("text", "0", x=LEFT, y=HEIGHT - 3),
        el("text", "1", x=WIDTH - 2, y=HEIGHT - 3, class_="end"),
    ]
    picture = svg(WIDTH, HEIGHT, f"Calibration of {name}", *parts)
    return el("figure", picture, el("figcaption", name))
