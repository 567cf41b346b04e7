"""The claims of Gonsior et al. (2021) on tables: is searched conditional structure worth it?

Each job is written to results.jsonl when it ends; a second call goes on where the first stopped.
The predicted hours are printed before anything is trained.

    python studies/gonsior2021/run.py --data DIR              # DIR/*.npz with train, val, test
    python studies/gonsior2021/run.py                         # without: the named sets
    python studies/gonsior2021/run.py --data DIR --part 0/2   # every second set, beside --part 1/2
    python studies/gonsior2021/run.py --only graphs           # couplings, graphs, smaller
    python studies/gonsior2021/run.py --sets magic,htru2      # some of the sets
    python studies/gonsior2021/run.py --plan                  # only the predicted hours
    python studies/gonsior2021/run.py --tables                # tables.md and plots of what is there
    python studies/gonsior2021/run.py --show                  # the tables on the screen
    python studies/gonsior2021/run.py --quick                 # minutes, to see that it works
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from claims import FILES, FULL, NAMED, QUICK, TINY, Job, Sets, execute, jobs, needs, predicted
from plots import draw
from rows import Rows, rows_of
from verdicts import tables

HERE = Path(__file__).parent
KINDS = ("couplings", "graphs", "smaller")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of NPZ files")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of jobs, with commas")
    parser.add_argument("--sets", help="names of sets, with commas; all by default")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="a share of the jobs")
    parser.add_argument("--results", type=Path, help="a folder; by default this one")
    for flag in ("plan", "tables", "show", "quick"):
        parser.add_argument(f"--{flag}", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    length = QUICK if asked.quick else FULL
    folder = asked.results or (Path(tempfile.gettempdir()) / "gonsior2021" if asked.quick else HERE)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.jsonl"
    sets: Sets = TINY if asked.quick else NAMED if asked.data is None else FILES
    if asked.tables or asked.show:
        show(file, length, sets, folder if asked.tables else None)
        return

    @cache
    def table(name: str) -> Rows:
        return rows_of(name, asked.data if sets is FILES else None)

    part, parts = (int(number) for number in asked.part.split("/"))
    kinds, names = asked.only.split(","), asked.sets and asked.sets.split(",")
    every = list(jobs(length, sets))
    order = list(dict.fromkeys(job.data for job in every))
    mine = [
        job for job in every
        if job.kind in kinds
        and (not names or job.data in names)
        and order.index(job.data) % parts == part  # what a job needs is of its own set
    ]  # fmt: skip
    left = [job for job in mine if job.key not in finished(file)]
    announce(left, table, length)
    if asked.plan:
        return
    for job in left:
        done = finished(file)
        missing = [key for key in needs(job) if key not in done]
        if missing:
            print(f"{job.key} waits for {missing[0]}", file=sys.stderr, flush=True)
            continue
        row = execute(job, table(job.data), done, length)
        append(file, row)
        print(said(job, row), file=sys.stderr, flush=True)
    show(file, length, sets, folder)


def announce(left: list[Job], table: Any, length: Any) -> None:
    """Print how long it will take, by kind of job and in all."""
    hours = predicted(left, table, length)
    parts = ", ".join(f"{kind} {each:.2f}" for kind, each in hours.items())
    total = sum(hours.values())
    print(f"{len(left)} jobs, about {total:.2f} hours on one core: {parts}", file=sys.stderr)
    sys.stderr.flush()


def finished(file: Path) -> dict[str, dict[str, Any]]:
    """Read the finished jobs' rows; a line that was cut short does not count."""
    rows = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["key"]] = row
    return rows


def append(file: Path, row: dict[str, Any]) -> None:
    """Write a line; one before it that was cut short stays a line of its own."""
    cut = file.exists() and file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n")
    with file.open("a") as handle:
        handle.write("\n" * cut + json.dumps(row) + "\n")


def said(job: Job, row: dict[str, Any]) -> str:
    """A line on how a job went."""
    means = []
    for entry in row["entries"]:
        every = [x for final in entry["finals"] for x in final["test"]]
        means.append(f"{entry['design']} {sum(every) / len(every):.3f}")
    return f"{job.key}: {', '.join(means[:8])}; {row['cpu']:.0f} s of CPU"


def show(file: Path, length: Any, sets: Sets, folder: Path | None) -> None:
    """Print the tables of what is there; with a folder write them and the plots too."""
    rows = list(finished(file).values())
    text = tables(rows, length, sets)
    print(text)
    if folder is not None and rows:
        (folder / "tables.md").write_text(text + "\n")
        for path in draw(rows, sets, folder):
            print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
