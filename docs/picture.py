"""Draw docs/picture.png: data beside samples of a flow that `nfopt fit` saved.

nfopt fit magic --minutes 1
python docs/picture.py nfopt-runs/magic-fit
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from PIL import Image

import nfopt
from nfopt.data import load

# column: (what it is called in the picture, its range there, logarithmic)
COLUMNS = {
    "fLength": ("length", (9, 200), True),
    "fSize": ("log size", (2.0, 4.2), False),
    "fConc": ("concentration", (0.03, 0.82), False),
    "fM3Long": ("3rd moment", (-90, 110), False),
}
BINS = 70
DATA, SAMPLES, GREY = "#1f5fa8", "#d1600f", "#555555"
KERNEL = np.array([1, 4, 6, 4, 1]) / 16  # takes the grain out of 19,000 points


def main() -> None:
    """Read the flow, draw as many samples as the data has rows, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of a flow for magic")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("picture.png"))
    chosen = parser.parse_args()
    flow = nfopt.load(chosen.model)
    table = load("magic", on_warning=lambda text: None)
    places = [table.columns.index(column) for column in COLUMNS]
    data = table.values[:, places]
    samples = flow.sample(len(table.values), seed=0)[:, places]
    draw(data, samples, -float(flow.info["scores"]["test_nll"]), chosen.out)


def draw(data: NDArray[np.float64], samples: NDArray[np.float64], score: float, out: Path) -> None:
    """Draw a square of panels: data above the diagonal, samples below, both on it."""
    mpl.rcParams |= {
        "font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": "#9a9a9a",
        "axes.linewidth": 0.7, "xtick.color": "#555555", "ytick.color": "#555555",
    }  # fmt: skip
    count = len(COLUMNS)
    figure, axes = plt.subplots(count, count, figsize=(7.6, 7.6), dpi=110)
    figure.subplots_adjust(0.085, 0.075, 0.985, 0.9, wspace=0.07, hspace=0.07)
    edges = [edges_of(limits, log) for _, limits, log in COLUMNS.values()]
    for row in range(count):
        for column in range(count):
            panel = axes[row, column]
            if row == column:
                margin(panel, data[:, row], samples[:, row], edges[row])
            else:
                above = column > row
                pair(panel, data if above else samples, column, row, edges,
                     DATA if above else SAMPLES)  # fmt: skip
            dress(panel, row, column, count)
    figure.align_ylabels()
    left = 0.085
    for word, colour, weight in (
        ("data", DATA, "bold"), ("and", GREY, "normal"),
        ("samples", SAMPLES, "bold"), ("of a flow", GREY, "normal"),
    ):  # fmt: skip
        text = figure.text(left, 0.955, word, color=colour, size=15, weight=weight)
        left = text.get_window_extent().x1 / figure.bbox.width + 0.011
    said = "magic, 4 of 10 columns · nfopt fit magic --minutes 1 · mean test log-likelihood"
    figure.text(0.085, 0.924, f"{said} {score:.2f} nats a row", color=GREY, size=8.5)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture.quantize(128).save(out, optimize=True)  # a palette: a third of the bytes
    plt.close(figure)


def edges_of(limits: tuple[float, float], log: bool) -> NDArray[np.float64]:
    """Bins of equal width, on the axis as it is drawn."""
    return np.geomspace(*limits, BINS + 1) if log else np.linspace(*limits, BINS + 1)


def smooth(counts: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Average along an axis."""
    return np.apply_along_axis(np.convolve, axis, counts, KERNEL, mode="same")


def margin(
    panel: Axes, data: NDArray[np.float64], samples: NDArray[np.float64], edges: NDArray[np.float64]
) -> None:
    """Draw one column's distribution, data filled, samples as a line."""
    for values, colour in ((data, DATA), (samples, SAMPLES)):
        counts = smooth(np.histogram(values, edges)[0].astype(float), 0)
        middle = np.sqrt(edges[1:] * edges[:-1]) if edges[0] > 0 else (edges[1:] + edges[:-1]) / 2
        if colour == DATA:
            panel.fill_between(middle, counts, color=colour, alpha=0.25, linewidth=0)
        panel.plot(middle, counts, color=colour, linewidth=1.3)
    panel.set_ylim(0, None)


def pair(
    panel: Axes,
    values: NDArray[np.float64],
    x: int,
    y: int,
    edges: list[NDArray[np.float64]],
    colour: str,
) -> None:
    """Draw the density of two columns."""
    counts = np.histogram2d(values[:, y], values[:, x], [edges[y], edges[x]])[0]
    counts = smooth(smooth(counts, 0), 1)
    shades = mpl.colors.LinearSegmentedColormap.from_list(
        "", ["#ffffff", mpl.colors.to_rgba(colour, 0.45), colour, "#14110f"]
    )
    panel.pcolormesh(
        edges[x], edges[y], counts, cmap=shades, rasterized=True,
        norm=mpl.colors.PowerNorm(0.5, 0, np.quantile(counts, 0.999)),
    )  # fmt: skip


def dress(panel: Axes, row: int, column: int, count: int) -> None:
    """Set ranges, ticks and names; only the outer panels have them."""
    names = list(COLUMNS.values())
    label, limits, log = names[column]
    panel.set_xscale("log" if log else "linear")
    panel.set_xlim(*limits)
    if row != column:
        panel.set_yscale("log" if names[row][2] else "linear")
        panel.set_ylim(*names[row][1])
    for axis, outer, is_log in (
        (panel.xaxis, row == count - 1, log),
        (panel.yaxis, column == 0 and row != 0, names[row][2] and row != column),
    ):
        if is_log:
            axis.set_major_locator(mpl.ticker.FixedLocator([10, 30, 100]))
            axis.set_minor_locator(mpl.ticker.NullLocator())
            axis.set_major_formatter(mpl.ticker.ScalarFormatter())
        else:
            axis.set_major_locator(mpl.ticker.MaxNLocator(3))
        axis.set_tick_params(length=2.5, width=0.6, labelsize=8)
        if not outer:
            axis.set_ticks([])
    if row == count - 1:
        panel.set_xlabel(label)
    if column == 0:
        panel.set_ylabel(names[row][0])


if __name__ == "__main__":
    main()
