"""Tables and plot of a comparison: regret of the incumbent, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

OURS = "evolution"
DRAWS = 4000
Curves = dict[tuple[str, str, str], dict[int, np.ndarray]]
"""By table, setting and contender, and by evaluations: one regret a seed."""
COLOURS = {
    "evolution": "#d62728",
    "evolution, no screening": "#ff9896",
    "classic": "#8c564b",
    "random pairs": "#7f7f7f",
    "TPE": "#1f77b4",
    "NSGA-II": "#17becf",
    "CMA-ES": "#2ca02c",
    "CatCMAwM": "#98df8a",
    "GOMEA": "#9467bd",
    "hill climber": "#000000",
    "UMDA": "#bcbd22",
}


def regrets(rows: Sequence[dict[str, Any]], what: str) -> Curves:
    """Regrets of the incumbent, `chosen` or `raced`.

    0 is the best that is known (by the landscape, or by any run), 1 a random balanced complement
    pair.
    """
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        place = row["table"], row["setting"]
        best[place] = min(best.get(place, np.inf), row["best"], row["lowest"])
    found: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for row in rows:
        low = best[row["table"], row["setting"]]
        name = row["contender"] + (", pairs" if row["encoding"] == "pairs" else "")
        curves = found.setdefault((row["table"], row["setting"], name), {})
        for count, nll in row[what].items():
            regret = (nll - low) / (row["usual"] - low)
            curves.setdefault(int(count), []).append(regret)
    return {
        key: {count: np.array(values) for count, values in curves.items()}
        for key, curves in found.items()
    }


def interval(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float, float]:
    """Mean and 95% bootstrap interval over seeds."""
    drawn = rng.choice(values, size=(DRAWS, len(values))).mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(values.mean()), float(low), float(high)


def difference(
    a: np.ndarray, b: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Mean of a - b and 95% bootstrap interval; seeds are drawn for each on its own."""
    drawn = [rng.choice(x, size=(DRAWS, len(x))).mean(axis=1) for x in (a, b)]
    low, high = np.quantile(drawn[0] - drawn[1], (0.025, 0.975))
    return float(a.mean() - b.mean()), float(low), float(high)


def show(rows: Sequence[dict[str, Any]], folder: Path | None) -> None:
    """Print tables and what holds; with a folder write them to results.md, and draw the plot."""
    if not rows:
        print("No results yet.")
        return
    found, own = regrets(rows, "raced"), regrets(rows, "chosen")
    tables = sorted({key[0] for key in found})
    lines = []
    for setting in dict.fromkeys(key[1] for key in found):
        lines += [*written(found, own, tables, setting), ""]
    lines += verdicts(found, tables)
    print("\n".join(lines))
    if folder is not None:
        (folder / "results.md").write_text("\n".join(lines) + "\n")
        draw(found, tables, folder / "regret.png")


def looked_at(found: Curves, setting: str) -> list[int]:
    """200 and 600 evaluations, or what there is."""
    counts = sorted({n for key in found if key[1] == setting for n in found[key]})
    return [n for n in counts if n in (200, 600)] or counts[-1:]


def written(found: Curves, own: Curves, tables: Sequence[str], setting: str) -> list[str]:
    """The table of a setting, in Markdown."""
    rng = np.random.default_rng(0)
    columns = [(table, count) for table in tables for count in looked_at(found, setting)]
    heads = [f"{table.split('-')[0]}, {count}" for table, count in columns]
    lines = [f"### {setting}", "", "| sampler | seeds | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(columns) + 2) + "|")
    for name in dict.fromkeys(key[2] for key in found if key[1] == setting):
        cells, seeds = [], set()
        for table, count in columns:
            values = found.get((table, setting, name), {}).get(count)
            if values is None:
                cells.append("")
                continue
            seeds.add(len(values))
            mean, low, high = interval(values, rng)
            theirs = own[table, setting, name][count].mean()
            cells.append(f"{mean:.3f} [{low:.3f}, {high:.3f}] ({theirs:.3f})")
        told = "/".join(str(n) for n in sorted(seeds))
        lines.append(f"| {name} | {told} | " + " | ".join(cells) + " |")
    return lines


def verdicts(found: Curves, tables: Sequence[str]) -> list[str]:
    """How the default stands against each other sampler, by the interval of the difference."""
    rng = np.random.default_rng(0)
    lines = [f"### `{OURS}` against each", ""]
    for setting in dict.fromkeys(key[1] for key in found):
        for table in tables:
            ours = found.get((table, setting, OURS), {})
            for count in looked_at(found, setting):
                if count not in ours:
                    continue
                words: dict[str, list[str]] = {"better than": [], "undecided": [], "worse than": []}
                for (of, also, name), curves in found.items():
                    if (of, also) != (table, setting) or name == OURS or count not in curves:
                        continue
                    mean, low, high = difference(ours[count], curves[count], rng)
                    verdict = (
                        "better than" if high < 0 else "worse than" if low > 0 else "undecided"
                    )
                    words[verdict].append(f"{name} ({mean:+.3f} [{low:+.3f}, {high:+.3f}])")
                told = "; ".join(f"{key} {', '.join(said)}" for key, said in words.items() if said)
                lines.append(f"- {setting}, {table.split('-')[0]}, {count}: {told}.")
    return lines


def draw(found: Curves, tables: Sequence[str], path: Path) -> None:
    """Regret against evaluations, a panel for each table and setting."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    settings = list(dict.fromkeys(key[1] for key in found))
    figure, axes = pyplot.subplots(
        len(settings),
        len(tables),
        figsize=(6.0 * len(tables), 3.6 * len(settings)),
        squeeze=False,
        layout="constrained",
    )
    rng = np.random.default_rng(0)
    for down, setting in enumerate(settings):
        for across, table in enumerate(tables):
            panel = axes[down, across]
            for (of, also, name), curves in found.items():
                if (of, also) != (table, setting):
                    continue
                counts = sorted(curves)
                points = np.array([interval(curves[n], rng) for n in counts])
                colour = COLOURS.get(name.removesuffix(", pairs"), "#444444")
                width = 2.2 if name == OURS else 1.1
                panel.plot(counts, points[:, 0], color=colour, linewidth=width, label=name)
                panel.fill_between(
                    counts, points[:, 1], points[:, 2], color=colour, alpha=0.12, linewidth=0
                )
            panel.set_title(f"{table.split('-')[0]}: {setting}")
            panel.set_xlabel("evaluations")
            panel.set_ylabel("regret (1: a random pair)")
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
