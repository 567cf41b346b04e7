"""Does `--minutes` bound the whole call, and was what it delivers trained?

Each command runs in a process of its own, on a generated table; its wall-clock seconds are those of
the whole process, imports and exit included. It is within the bound where they are at most 10% or
10 seconds, whichever is more, over what was asked for. Time of other work on the machine counts, so
run it on a quiet core.

    python studies/minutes/run.py                        # all cells: about 30 minutes
    python studies/minutes/run.py --features 5 1000 --minutes 0.5
    python studies/minutes/run.py --table                # what is in results.jsonl, as a table

A cell that is in results.jsonl already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
FEATURES, MINUTES, COMMANDS = (5, 60, 300, 1000), (0.5, 1.0, 2.0), ("fit", "search")
ROWS = 2000
SHARE, SECONDS = 0.1, 10.0  # that a call may take longer, whichever is more
LATE = 600.0  # seconds over the time after which a command is ended

Cell = tuple[int, float, str]


def table_of(features: int) -> NDArray[np.float64]:
    """Make a table of dependent columns with heavy tails, shape (ROWS, features)."""
    rng = np.random.default_rng(features)
    hidden = max(2, features // 3)
    mixed = rng.normal(size=(ROWS, hidden)) @ rng.normal(size=(hidden, features))
    return np.asarray(np.sinh(mixed / np.sqrt(hidden)) + 0.3 * rng.normal(size=mixed.shape))


def most(minutes: float) -> float:
    """Wall-clock seconds that a call of so many minutes may take."""
    return 60 * minutes + max(SHARE * 60 * minutes, SECONDS)


def measure(cell: Cell) -> dict[str, Any]:
    """Run one command and tell what it took and delivered."""
    features, minutes, command = cell
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "table.npy", table_of(features))
        words = [sys.executable, "-m", "nfopt", command, "table.npy", "--minutes", f"{minutes:g}"]
        began = time.monotonic()
        done = subprocess.run(
            [*words, "--json"],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=60 * minutes + LATE,
        )
        seconds = time.monotonic() - began
        found: dict[str, Any] = {
            "features": features,
            "minutes": minutes,
            "command": command,
            "seconds": round(seconds, 1),
            "code": done.returncode,
        }
        if done.returncode:
            return found | {"said": done.stderr.strip().splitlines()[-1:]}
        told = json.loads(done.stdout)
        info = json.loads((folder / told["out"] / "flow.json").read_text(encoding="utf-8"))["info"]
        return found | {
            "steps": info["steps"],
            "test_nll": told["test_nll"],
            "left_out": told["left_out"],
        }


def verdict(result: dict[str, Any]) -> str:
    """Say whether a cell is as it should be."""
    if result["seconds"] > most(result["minutes"]):
        return "OVER"
    if result["code"]:
        return "refused"
    return "within" if min(result["steps"]) > 0 else "UNTRAINED"


def read() -> dict[Cell, dict[str, Any]]:
    """Read what was measured before, the latest of each cell."""
    if not RESULTS.exists():
        return {}
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    each = [json.loads(line) for line in lines if line.strip()]
    return {(one["features"], one["minutes"], one["command"]): one for one in each}


def show(results: dict[Cell, dict[str, Any]]) -> str:
    """Write a table in Markdown."""
    lines = [
        "| command | D | `--minutes` | wall, s | at most, s | | steps of the members | left out |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (features, minutes, command), one in sorted(results.items(), key=lambda kv: kv[0][::-1]):
        steps = ", ".join(map(str, one.get("steps", ()))) or " ".join(one.get("said", ()))
        left = "; ".join(one.get("left_out", ())) or "-"
        lines.append(
            f"| `{command}` | {features:,} | {minutes:g} | {one['seconds']:.0f}"
            f" | {most(minutes):.0f} | {verdict(one)} | {steps} | {left} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--features", type=int, nargs="+", default=FEATURES)
    parser.add_argument("--minutes", type=float, nargs="+", default=MINUTES)
    parser.add_argument("--commands", nargs="+", default=COMMANDS, choices=COMMANDS)
    parser.add_argument("--table", action="store_true", help="run nothing")
    chosen = parser.parse_args()
    cells = [(d, m, c) for m in chosen.minutes for d in chosen.features for c in chosen.commands]
    for cell in [] if chosen.table else cells:
        if cell not in read():
            result = measure(cell)
            with RESULTS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(result) + "\n")
            print(f"{cell}: {result['seconds']} s, {verdict(result)}", file=sys.stderr, flush=True)
    results = read()
    print(show(results))
    return 0 if all(verdict(one) in ("within", "refused") for one in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
