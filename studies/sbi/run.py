"""Posteriors of sbibm's tasks in the same processor seconds: nfopt beside sbi.

Each cell (method, task, simulations, seed) is computed once and is a line of results.jsonl; a
second call goes on where the first stopped.

    python studies/sbi/run.py --core 1            # what is missing, 10,000 simulations first
    python studies/sbi/run.py --only "slcp.*nfopt"
    python studies/sbi/run.py --list              # what is missing, and run nothing
    python studies/sbi/run.py --tables            # what was done, as markdown
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
SECONDS = 60.0
TASKS = ("two_moons", "gaussian_linear", "gaussian_mixture", "slcp", "bernoulli_glm")
METHODS = ("nfopt search", "sbi nsf", "sbi zuko_nsf", "sbi's Optuna guide")
FLOOR = "nfopt fit"  # without a search, from the first seed
SEEDS, SIMULATIONS = (0, 1, 2), (10_000, 1_000)


class Cell(NamedTuple):
    simulations: int
    seed: int
    task: str
    method: str


def plan() -> list[Cell]:
    """All cells, in the order in which they are computed."""
    cells = [
        Cell(count, seed, task, method)
        for count in SIMULATIONS
        for seed in SEEDS
        for task in TASKS
        for method in (*METHODS, FLOOR)
        if method != FLOOR or seed == SEEDS[0]
    ]
    return sorted(cells, key=lambda cell: (cell.simulations < SIMULATIONS[0], cell.seed))


def commit() -> str:
    """The commit that runs, with + where the package differs from it."""
    git = ["git", "-C", str(HERE)]
    words = (["rev-parse", "--short=9", "HEAD"], ["status", "--porcelain", "--", ":/nfopt"])
    head, changed = (
        subprocess.run([*git, *some], capture_output=True, text=True, check=True).stdout.strip()
        for some in words
    )
    return head + ("+" if changed else "")


def finished(path: Path) -> dict[Cell, dict[str, Any]]:
    """Read what earlier calls have finished."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {Cell(*(line[name] for name in Cell._fields)): line for line in lines}


def execute(cell: Cell) -> dict[str, Any] | None:
    """Compute a cell in a process of its own; None if it failed, which is said."""
    words = [cell.method, cell.task, str(cell.simulations), str(SECONDS), str(cell.seed)]
    ended = subprocess.run(
        [sys.executable, str(HERE / "cell.py"), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if ended.returncode:
        print(f"failed: {ended.stderr.strip()[-1500:]}", file=sys.stderr, flush=True)
        return None
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def tables(done: dict[Cell, dict[str, Any]]) -> list[str]:
    """One table for each number of simulations: C2ST and log-density, means over the seeds."""
    lines = []
    for count in SIMULATIONS:
        lines += [f"### {count:,} simulations", "", f"| task | {' | '.join((*METHODS, FLOOR))} |"]
        lines += ["|---" * (2 + len(METHODS)) + "|"]
        for task in TASKS:
            row = [
                [one for cell, one in done.items() if cell[0] == count and cell[2:] == (task, name)]
                for name in (*METHODS, FLOOR)
            ]
            lines.append(f"| {task} | {' | '.join(map(summary, row))} |")
        lines.append("")
    return lines


def summary(seeds: list[dict[str, Any]]) -> str:
    """Mean C2ST and log-density of some seeds, and how many these are."""
    if not seeds:
        return "not run"
    distances = [np.mean(one["c2st"]) for one in seeds]
    density = np.mean([one["log_prob"] for one in seeds])
    spread = f" (± {np.std(distances, ddof=1):.3f}, {len(seeds)} seeds)" if len(seeds) > 1 else ""
    return f"{np.mean(distances):.3f}{spread}; {density:.2f}"


def main() -> None:
    """Compute what is missing, list it, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", default="", help="a regular expression of cells")
    parser.add_argument("--core", type=int, help="the processor core that all runs on")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    parser.add_argument("--list", action="store_true", help="name what is missing, run nothing")
    parser.add_argument("--tables", action="store_true", help="print the tables, run nothing")
    given = parser.parse_args()
    done = finished(given.results)
    if given.tables:
        print("\n".join(tables(done)))
        return
    left = [
        cell
        for cell in plan()
        if cell not in done and re.search(given.only, " ".join(map(str, cell)))
    ]
    here = commit()
    print(f"{len(left)} of {len(plan())} cells to do", flush=True)
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    for cell in left:
        print(*cell, flush=True)
        if not given.list and (found := execute(cell)) is not None:
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**cell._asdict(), **found, "commit": here}) + "\n")


if __name__ == "__main__":
    main()
