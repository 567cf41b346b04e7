"""A comparison as cells of a table, and as plain data for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nfopt.compare.run import NOT_COMPARED, Row, best_of, difference, passed_after

HEAD = ["method", "test", "behind the best", "parameters", "seconds", "score", "sample", ""]


def to_dict(rows: Sequence[Row], data: str, seconds: float) -> dict[str, Any]:
    """Give all of it as plain data.

    `behind` is how far a method's mean test log-likelihood is below that of the one which
    validates best, on the rows that both have a density for.
    """
    best = best_of(rows)
    peer = best_of([row for row in rows if not row.rival.ours])
    found: dict[str, Any] = {
        "data": data,
        "seconds_each": seconds,
        "best": None if best is None else best.rival.name,
        "best_peer": None if peer is None else peer.rival.name,
        "rows": [_to_dict(row, best, peer) for row in rows],
        "not_compared": NOT_COMPARED,
    }
    return found


def _to_dict(row: Row, best: Row | None, peer: Row | None) -> dict[str, Any]:
    known: dict[str, Any] = {"method": row.rival.name, "about": row.rival.about}
    if row.failed:
        return {**known, "failed": row.failed}
    known |= {
        "what": row.what,
        "seconds": row.seconds,
        "validation": row.validation,
        "test": row.test,
        "test_2se": row.test_2se,
        "rows_without_density": row.without,
        "parameters": row.parameters,
        "seconds_to_score_1000": row.score_seconds,
        "seconds_to_sample_1000": row.sample_seconds,
    }
    if best is not None and best is not row:
        known["behind"], known["behind_2se"] = difference(best, row)
    if row.rival.ours and peer is not None:
        known["seconds_to_pass_best_peer"] = passed_after(row, peer.validation)
    return known


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Give a table's lines: who validates best first, then the others, those that failed last."""
    best = best_of(rows)
    ordered = sorted(rows, key=lambda row: (bool(row.failed), -_or_low(row.validation)))
    return [_cells(row, best) for row in ordered]


def _cells(row: Row, best: Row | None) -> list[str]:
    if row.failed:
        return [row.rival.name, *["-"] * (len(HEAD) - 2), row.failed]
    behind = "-"
    if best is not None and row is not best:
        behind = "{:.3f} ({:.3f})".format(*difference(best, row))
    note = row.what
    if row.without:
        note = f"{row.without} rows have density 0; {note}"
    return [
        row.rival.name,
        f"{row.test:.3f} ({row.test_2se:.3f})",
        behind,
        "-" if row.parameters is None else f"{row.parameters:,}",
        _seconds(row.seconds),
        f"{1000 * row.score_seconds:.0f} ms",
        "-" if row.sample_seconds is None else f"{1000 * row.sample_seconds:.0f} ms",
        note,
    ]


def passed(rows: Sequence[Row]) -> list[str]:
    """Say for each of nfopt's rows when it passed the best peer's final validation score."""
    peer = best_of([row for row in rows if not row.rival.ours])
    lines = []
    for row in rows:
        if peer is None or not row.rival.ours or row.failed:
            continue
        after = passed_after(row, peer.validation)
        when = "never passed it" if after is None else f"passed it after {_seconds(after)} s"
        name = f"best peer {peer.rival.name} ({_seconds(peer.seconds)} s)"
        lines.append(f"{name}: {row.rival.name} {when}")
    return lines


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value < 9.95 else f"{value:.0f}"


def _or_low(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
