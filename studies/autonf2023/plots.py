"""Plots of what there is: weights over the steps, the oracles, fronts of NLL against cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from listing import MANUAL
from tables import PUBLISHED, compared, grouped, oracle_means, swept

from nfopt.autonf import front

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter, ScalarFormatter

Rows = Sequence[dict[str, Any]]


def draw(rows: Rows, folder: Path) -> list[Path]:
    """Write the plots; return their paths."""
    plots = {"weights.png": weights, "oracle.png": oracles, "fronts.png": fronts}
    return [path for name, plot in plots.items() if (path := plot(rows, folder / name))]


def weights(rows: Rows, path: Path) -> Path | None:
    """Planar's weight in each layer over the steps, a line a seed."""
    groups = grouped(rows, "one", "data", "what")
    if not groups:
        return None
    layers = len(groups[0][1][0]["weights"])
    figure, axes = plt.subplots(
        len(groups), layers, figsize=(2.6 * layers, 2.1 * len(groups)), squeeze=False, sharey=True
    )
    for line, ((data, what), some) in zip(axes, groups, strict=True):
        for layer, axis in enumerate(line):
            for row in some:
                records = row["history"]["records"]
                planar = [record["weights"][layer][0] for record in records]
                axis.plot([record["step"] for record in records], planar, lw=1)
            axis.set_ylim(-0.03, 1.03)
            axis.set_title(f"{data}, layer {layer + 1}", fontsize=8)
        line[0].set_ylabel("L_O" if what == "mixture" else "L_U")
    return _saved(figure, path)


def oracles(rows: Rows, path: Path) -> Path | None:
    """All flows trained alone, the best first, and what the searches chose."""
    tables = grouped(rows, "oracle", "data")
    if not tables:
        return None
    figure, axes = plt.subplots(1, len(tables), figsize=(3 * len(tables), 2.8), squeeze=False)
    found = dict(grouped(rows, "oracle-search", "data", "what"))
    for axis, ((data,), some) in zip(axes[0], tables, strict=True):
        means = oracle_means(some)
        order = sorted(means, key=means.__getitem__)
        axis.plot(range(1, len(order) + 1), [means[k] for k in order], color="0.7", lw=2)
        for what, mark in (("halving", "x"), ("gradient", "o")):
            chosen = ["".join(map(str, row["path"])) for row in found.get((data, what), [])]
            places = [order.index(k) + 1 for k in chosen if k in means]
            height = [means[order[place - 1]] for place in places]
            axis.scatter(places, height, marker=mark, s=30, alpha=0.7, label=what, zorder=3)
        axis.set_xscale("log", base=2)
        axis.set(title=data, xlabel="rank among all flows")
    axes[0][0].set_ylabel("validation NLL, nats")
    axes[0][-1].legend(fontsize=7)
    return _saved(figure, path)


def fronts(rows: Rows, path: Path) -> Path | None:
    """Validation NLL against cost: Grow at several prices, the other methods at the table's.

    Affine flows of one type that are far worse than all others are outside of the frame.
    """
    sweeps, methods = swept(rows), compared(rows)
    if not sweeps:
        return None
    names = list(dict.fromkeys(what for *_, what in methods))
    colours = {what: f"C{k}" for k, what in enumerate(names)}
    tables = list(dict.fromkeys(data for data, _ in sweeps))
    emphases = [e for e in ("train", "inverse") if e in {emphasis for _, emphasis in sweeps}]
    figure, axes = plt.subplots(
        len(emphases),
        len(tables),
        figsize=(3.4 * len(tables) + 1.6, 2.9 * len(emphases)),
        squeeze=False,
    )
    for (data, emphasis), points in sweeps.items():
        axis = axes[emphases.index(emphasis)][tables.index(data)]
        flat = [(cost, nll) for _, cost, nll in points]
        axis.step(*zip(*(flat[k] for k in front(flat)), strict=True), where="post", color="0.6")
        axis.scatter(*zip(*flat, strict=True), s=18, color="0.2", label="grow, by price")
        near = [nll for _, nll in flat]
        for (name, counted, what), some in methods.items():
            if (name, counted) == (data, emphasis) and what != "grow":
                cost = [row["cost"][emphasis] for row in some]
                nll = [row["validation_nll"] for row in some]
                near += nll if what in PUBLISHED or what not in MANUAL else []
                mark = "x" if what in MANUAL else "o"
                axis.scatter(cost, nll, s=22, marker=mark, color=colours[what], label=what)
        room = 0.08 * (max(near) - min(near))
        axis.set_ylim(min(near) - room, max(near) + room)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(ScalarFormatter())
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set(title=data, xlabel=f"cost of {emphasis}, relative")
    for line in axes:
        line[0].set_ylabel("validation NLL, nats")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center right", fontsize=7)
    return _saved(figure, path, right=1 - 1.6 / figure.get_figwidth())


def _saved(figure: Any, path: Path, right: float = 1.0) -> Path:
    figure.tight_layout(rect=(0, 0, right, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
