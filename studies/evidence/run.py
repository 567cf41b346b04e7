"""All evidence by one runner: each cell once, a line of results.jsonl, whatever needs it.

A cell is a method on a table for some seconds from a seed, at a commit. A second call goes on where
the first stopped. nfopt's commands run as a user would run them, on one thread; peers and the steps
of the ladder run through nfopt.compare, each in a process of its own.

    python studies/evidence/run.py --data DIR --core 1                # DIR/*.npz: train, val, test
    python studies/evidence/run.py --data DIR --part versus --only "magic, all"
    python studies/evidence/run.py --list                             # what is to be done
    python studies/evidence/run.py --tables                           # what was done, as markdown
    python studies/evidence/run.py --data DIR --quick --results /tmp/quick/results.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from cells import ONE, Cell, drawn, plan, todo
from tables import tables

HERE = Path(__file__).parent
QUICK = 6  # seconds, to see whether all of it runs
COMMANDS = ("fit", "search", "autonf")


def of_command(method: str) -> bool:
    """Whether a method runs as a command; of `ONE` the curve by processor seconds is wanted."""
    return method.split()[0] in COMMANDS and method != ONE


def commit() -> str:
    """The commit that runs, with + where the package or this study differs from it."""
    git = ["git", "-C", str(HERE)]
    head = subprocess.run(
        [*git, "rev-parse", "--short=9", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    paths = [":/nfopt", *(str(path) for path in HERE.glob("*.py"))]
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", *paths], capture_output=True, text=True, check=True
    ).stdout.strip()
    return head + ("+" if changed else "")


def finished(path: Path) -> list[dict[str, Any]]:
    """Read what earlier calls have finished."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def table(cell: Cell, data: Path, folder: Path) -> Path:
    """Give a cell's table: the file itself, or one of some of its rows."""
    path = data / f"{cell.set}.npz"
    if not cell.rows:
        return path
    with np.load(path, allow_pickle=False) as file:
        parts = drawn({name: file[name] for name in file.files}, cell.set, cell.rows, cell.seed)
    small = folder / f"{cell.set}_{cell.rows}.npz"
    np.savez(small, **parts)
    return small


def command(cell: Cell, data: Path, folder: Path, clock: str = "wall") -> list[str]:
    """Write the command line of one of nfopt's commands, as a user would type it."""
    nfopt = ["-m", "nfopt"] if clock == "wall" else [str(HERE / "clocked.py")]
    method, *options = cell.method.split()
    words = [sys.executable, *nfopt, method, str(data), *options]
    words += ["--minutes", f"{cell.seconds / 60:g}", "--threads", "1", "--seed", str(cell.seed)]
    words += ["--out", str(folder / "flow"), "--json"]
    if method != "fit":
        words += ["--storage", f"sqlite:///{folder / 'study.db'}", "--no-pictures"]
    return words


def execute(cell: Cell, data: Path, scores: Path, clock: str = "wall") -> dict[str, Any] | None:
    """Compute a cell; None if it failed, which is said."""
    if not (data / f"{cell.set}.npz").is_file():
        print(f"failed: there is no {cell.set}.npz in {data}", file=sys.stderr, flush=True)
        return None
    folder = Path(tempfile.mkdtemp(prefix="nfopt-evidence-"))
    try:
        rows, out = table(cell, data, folder), folder / "cell"
        measure = [sys.executable, str(HERE / "cell.py"), cell.method, str(rows)]
        measure += [str(cell.seconds), str(cell.seed), str(out)]
        found: dict[str, Any] = {}
        if of_command(cell.method):
            answer, wall, cpu = timed(command(cell, rows, folder, clock), folder)
            if answer is None:
                return None
            kept = ("trials", "complete", "pruned", "members")
            found = {key: answer[key] for key in kept if key in answer} | {"clock": clock}
            measured = timed([*measure, "--flow", str(folder / "flow")], folder)[0]
        else:
            measured, wall, cpu = timed(measure, folder)
        if measured is None:
            return None
        found |= json.loads(out.with_suffix(".json").read_text())
        if "failed" not in found:
            scores.mkdir(parents=True, exist_ok=True)
            shutil.copy(out.with_suffix(".npy"), scores / f"{cell.name}.npy")
        return found | {"wall_seconds": round(wall, 1), "cpu_seconds": round(cpu, 1)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def timed(words: list[str], folder: Path) -> tuple[dict[str, Any] | None, float, float]:
    """Run a process in a folder; give its JSON (or {}), wall and processor seconds."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        words, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if ended.returncode:
        print(f"failed: {ended.stderr.strip()[-1500:]}", file=sys.stderr, flush=True)
        return None, wall, cpu
    return json.loads(ended.stdout) if ended.stdout.strip() else {}, wall, cpu


def main() -> None:
    """Compute what is missing, list it, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with NPZ files")
    parser.add_argument("--part", choices=[*plan()], help="only this part of the evidence")
    parser.add_argument("--only", default="", help="a regular expression of cells")
    parser.add_argument("--core", type=int, help="the processor core that all runs on")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="seconds of nfopt's commands: by the wall, or of the processor beside other work",
    )
    parser.add_argument("--commit", help="of the tables; without it: the last one")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} seconds a cell")
    parser.add_argument("--list", action="store_true", help="name what is missing, run nothing")
    parser.add_argument("--tables", action="store_true", help="print the tables, run nothing")
    given = parser.parse_args()
    scores = given.results.parent / "scores"
    rows = finished(given.results)
    if given.tables:
        wanted = given.commit or (rows[-1]["commit"] if rows else "")
        print("\n".join(tables([r for r in rows if r["commit"] == wanted], scores / wanted)))
        return
    here = commit()
    cells = [
        cell
        for part, some in plan().items()
        if given.part in (None, part)
        for cell in some
        if re.search(given.only, cell.name)
    ]
    if given.quick:
        cells = list(dict.fromkeys(replace(cell, seconds=QUICK) for cell in cells))
    left = todo(cells, rows, here)
    hours = sum(cell.seconds for cell in left) / 3600
    print(
        f"{len(left)} of {len(cells)} cells to do at {here}, at most {hours:.1f} hours", flush=True
    )
    if given.list:
        print("\n".join(cell.name for cell in left))
        return
    if given.data is None:
        parser.error("--data is needed: a folder of NPZ files")
    if given.core is not None:
        os.sched_setaffinity(0, {given.core})
    given.results.parent.mkdir(parents=True, exist_ok=True)
    for cell in left:
        print(cell.name, flush=True)
        found = execute(cell, given.data.resolve(), scores / here, given.clock)
        if found is not None:
            with given.results.open("a") as file:
                file.write(json.dumps({"commit": here, **asdict(cell), **found}) + "\n")
            print({key: found.get(key) for key in ("test", "test_2se", "failed")}, flush=True)


if __name__ == "__main__":
    main()
