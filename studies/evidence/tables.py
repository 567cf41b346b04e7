"""The views of results.jsonl as markdown: search against fit, versus, evolution, ladder, autonf."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from cells import (
    AUTONF,
    FIT,
    NO_EVOLUTION,
    ONE,
    PEERS,
    SEARCH,
    STEPS,
    Cell,
)

Result = dict[str, Any]


def tables(rows: Sequence[Result], scores: Path) -> Iterator[str]:
    """Write all views of the rows of one commit; empty ones are left out.

    Args:
        rows: Of results.jsonl.
        scores: Folder of the test rows' log-densities, for paired standard errors.
    """
    rows = [row for row in rows if "failed" not in row]
    if not rows:
        yield "Nothing is done yet."
        return
    yield f"Commit {rows[0]['commit']}; test log-likelihood, nats a row."
    for title, first, second in (
        ("`search` against `fit`", SEARCH, FIT),
        ("With the evolution and without", SEARCH, NO_EVOLUTION),
        ("`autonf` against `fit`", AUTONF, FIT),
    ):
        for size, seconds in sizes(rows):
            lines = list(against(rows, first, second, size, seconds))
            if lines:
                yield f"\n## {title}, {_size(size)}, {_minutes(seconds)}\n"
                yield f"| set | {second} | {first} | gain | seeds |"
                yield "|---|---|---|---|---|"
                yield from lines
    for size, seconds in sizes(rows):
        lines = list(versus(rows, size, seconds, scores))
        if lines:
            yield f"\n## Versus, {_size(size)}, {_minutes(seconds)}, seed 0\n"
            yield from lines
    for size, seconds in sizes(rows):
        lines = list(ladder(rows, size, seconds))
        if lines:
            yield f"\n## Ladder, {_size(size)}, {_minutes(seconds)}\n"
            yield from lines


def sizes(rows: Sequence[Result]) -> list[tuple[int, int]]:
    """List the rows and seconds that occur: all rows first, short runs first."""
    found = {(row["rows"], row["seconds"]) for row in rows}
    return sorted(found, key=lambda pair: (bool(pair[0]), pair))


def against(
    rows: Sequence[Result], first: str, second: str, size: int, seconds: int
) -> Iterator[str]:
    """Compare two methods table by table, paired over seeds: the mean gain and twice its error."""
    here = [row for row in rows if (row["rows"], row["seconds"]) == (size, seconds)]
    for name in dict.fromkeys(row["set"] for row in here):
        of = {(r["method"], r["seed"]): r["test"] for r in here if r["set"] == name}
        seeds = sorted({seed for _, seed in of if {(first, seed), (second, seed)} <= of.keys()})
        if not seeds:
            continue
        gain, error = paired([of[first, seed] - of[second, seed] for seed in seeds])
        firsts, seconds_ = (mean(of[method, seed] for seed in seeds) for method in (first, second))
        told = f"{gain:+.3f}" + (f" ± {error:.3f}" if len(seeds) > 1 else "")
        yield f"| {name} | {seconds_:.3f} | {firsts:.3f} | {told} | {len(seeds)} |"


def paired(differences: Sequence[float]) -> tuple[float, float]:
    """Mean of differences and two standard errors of it; nan for a single one."""
    if len(differences) < 2:
        return mean(differences), math.nan
    return mean(differences), 2 * stdev(differences) / math.sqrt(len(differences))


def versus(rows: Sequence[Result], size: int, seconds: int, scores: Path) -> Iterator[str]:
    """Put all methods beside each other, table by table, from seed 0."""
    methods = (FIT, SEARCH, ONE, *PEERS)
    here = [r for r in rows if (r["rows"], r["seconds"], r["seed"]) == (size, seconds, 0)]
    for name in dict.fromkeys(row["set"] for row in here):
        of = {r["method"]: r for r in here if r["set"] == name and r["method"] in methods}
        peers = {method: of[method] for method in PEERS if method in of}
        if not peers:
            continue
        best = max(of, key=lambda method: of[method]["validation"])
        peer = max(peers, key=lambda method: peers[method]["validation"])
        yield f"**{name}**\n"
        yield (
            "| method | test (2 s.e.) | behind the best (2 s.e.) | parameters | score 1,000 |"
            " sample 1,000 | processor seconds |"
        )
        yield "|---" * 7 + "|"
        for method in sorted(of, key=lambda method: -of[method]["validation"]):
            row = of[method]
            behind = "-" if method == best else _behind(of[best], row, scores)
            zero = f", {n} rows of density 0" if (n := row["without_density"]) else ""
            sample = row["sample_seconds"]
            yield (
                f"| {method} | {row['test']:.3f} ({row['test_2se']:.3f}{zero}) | {behind}"
                f" | {row['parameters']:,} | {1000 * row['score_seconds']:.0f} ms"
                f" | {'-' if sample is None else f'{1000 * sample:.0f} ms'}"
                f" | {row['cpu_seconds']:.0f} |"
            )
        if ONE in of:
            after = passed(of[ONE], peers[peer]["validation"])
            when = "never passes it" if after is None else f"passes it after {after:.1f}"
            yield (
                f"\nBest peer: {peer}, {peers[peer]['cpu_seconds']:.0f} processor seconds;"
                f" one flow of `fit` {when} (validation NLL, from the start of its process).\n"
            )


def _behind(best: Result, row: Result, scores: Path) -> str:
    try:
        pair = [np.load(scores / f"{cell_of(one).name}.npy").astype(float) for one in (best, row)]
    except FileNotFoundError:
        return f"{best['test'] - row['test']:.3f}"
    both = np.isfinite(pair[0]) & np.isfinite(pair[1])
    gain = (pair[0] - pair[1])[both]
    return f"{gain.mean():.3f} ({2 * gain.std(ddof=1) / math.sqrt(len(gain)):.3f})"


def cell_of(row: Result) -> Cell:
    """Give the cell that a row is of."""
    return Cell(row["method"], row["set"], row["rows"], row["seconds"], row["seed"])


def passed(row: Result, validation: float) -> float | None:
    """Seconds after which a curve's validation log-likelihood was above a value."""
    return next((seconds for seconds, nll in row.get("curve", ()) if -nll > validation), None)


def ladder(rows: Sequence[Result], size: int, seconds: int) -> Iterator[str]:
    """Write the mean over the seeds, step by step."""
    here = [
        row
        for row in rows
        if (row["rows"], row["seconds"]) == (size, seconds) and row["method"] in STEPS
    ]
    names = dict.fromkeys(r["set"] for r in here if r["method"] == "engine")
    if not names:
        return
    yield "| step | " + " | ".join(names) + " |"
    yield "|---" * (1 + len(names)) + "|"
    for method, step in STEPS.items():
        cells = []
        for name in names:
            on = {
                r["seed"] for r in here if r["set"] == name and r["method"] == "engine"
            }  # the same seeds for every step
            found = [
                r["test"]
                for r in here
                if (r["set"], r["method"]) == (name, method) and r["seed"] in on
            ]
            cells.append(f"{mean(found):.3f}" if len(found) == len(on) else "-")
        yield f"| {step} | " + " | ".join(cells) + " |"


def _size(rows: int) -> str:
    return f"{rows} rows" if rows else "all rows"


def _minutes(seconds: int) -> str:
    return f"{seconds / 60:g} minutes"
