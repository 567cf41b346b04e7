"""Plots of what there is: learning curves, and how far the evolved flow is from its rivals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from claims import MIXING, Sets
from inference import compare, margin
from verdicts import DESIGNS, NAMES, RIVALS, Rows, entries, sample

mpl.use("Agg")
from matplotlib import pyplot as plt


def draw(rows: Rows, sets: Sets, folder: Path) -> list[Path]:
    """Write the plots; return their paths."""
    found = []
    for mixing in MIXING:
        some = [r for r in rows if r["kind"] == "couplings" and r["mixing"] == mixing]
        names = [n for n in (*sets.claims, *sets.controls) if entries(some, n, "parity")]
        if names:
            found.append(_curves(some, names, mixing, folder / f"curves_{mixing}.png"))
    path = folder / "differences.png"
    if _differences(rows, sets, path):
        found.append(path)
    return found


def _curves(rows: Rows, names: Sequence[str], mixing: str, path: Path) -> Path:
    figure, axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 3), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for design in DESIGNS:
            curves = [
                final["curve"]
                for _, entry in entries(rows, name, design)
                for final in entry["finals"]
            ]
            if curves:
                steps = [step for step, _ in curves[0]]
                every = [np.interp(steps, *zip(*curve, strict=True)) for curve in curves if curve]
                axis.plot(steps, np.mean(every, axis=0), label=design, lw=1.2)
        low, high = axis.get_ylim()
        axis.set_ylim(low, low + 0.4 * (high - low))
        axis.set(title=name, xlabel="steps")
    axes[0][0].set_ylabel("validation NLL, nats")
    axes[0][-1].legend(fontsize=6)
    figure.suptitle(NAMES[mixing])
    return _save(figure, path)


def _differences(rows: Rows, sets: Sets, path: Path) -> bool:
    lines: list[tuple[str, Any]] = []
    for mixing in MIXING:
        some = [r for r in rows if r["kind"] == "couplings" and r["mixing"] == mixing]
        for name in (*sets.claims, *sets.controls):
            lines += _lines(some, name, RIVALS, mixing)
    for count in sorted({r["rows"] for r in rows if r["kind"] == "graphs"}):
        some = [r for r in rows if r["kind"] == "graphs" and r["rows"] == count]
        for name in sets.graphs:
            lines += _lines(some, name, ("width", "m"), f"{count or 'all'} rows")
    if not lines:
        return False
    figure, axis = plt.subplots(figsize=(6, 1 + 0.16 * len(lines)))
    for place, (_, one) in enumerate(lines):
        scale = one.margin
        axis.plot([one.low / scale, one.high / scale], [place, place], color="0.5", lw=1)
        axis.plot(one.difference / scale, place, "o", color="C0", ms=3)
    axis.axvspan(-1, 1, color="0.9")
    axis.set_yticks(range(len(lines)), [text for text, _ in lines], fontsize=5)
    axis.set_xscale("symlog", linthresh=2)
    axis.set(xlabel="evolved less rival, in margins (left: better)", ylim=(len(lines), -1))
    _save(figure, path)
    return True


def _lines(rows: Rows, name: str, rivals: Sequence[str], where: str) -> list[tuple[str, Any]]:
    found = []
    for rival in rivals:
        one, other = sample(rows, name, "evolved"), sample(rows, name, rival)
        if one and other:
            features = next(row["features"] for row in rows if row["data"] == name)
            comparison = compare(one, other, margin(features), draws=2000)
            found.append((f"{name}, {where}: {rival}", comparison))
    return found


def _save(figure: Any, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path
