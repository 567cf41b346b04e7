"""The differentiable search on real tables: what is published of AutoNF, an oracle, and rivals.

Each job is written to results.jsonl when it ends; a second call goes on where the first stopped.
The predicted hours are printed before anything is trained.

    python studies/autonf2023/run.py --data DIR            # DIR/*.npz with train, val, test
    python studies/autonf2023/run.py                       # without: the named sets
    python studies/autonf2023/run.py --only oracle         # one, two, oracle; several with commas
    python studies/autonf2023/run.py --data DIR --part 0/2 # every second job, beside --part 1/2
    python studies/autonf2023/run.py --plan                # only the predicted hours
    python studies/autonf2023/run.py --tables              # only tables and plots of what is there
    python studies/autonf2023/run.py --quick               # minutes, to see that it works
    python studies/autonf2023/run.py --data DIR --match "two/.*/grow/.*/0.02/0" \
        --seconds 240 --results results_240.jsonl          # some jobs, with more time for each
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from experiments import execute, predicted
from listing import FULL, QUICK, Job, jobs
from plots import draw
from tables import best_of_oracle, print_tables

from nfopt.study.dataset import Source, read

HERE = Path(__file__).parent
QUICK_RESULTS = Path(tempfile.gettempdir()) / "autonf2023" / "results.jsonl"
SETS = {
    "one": ("power_head",),
    "two": ("power_head", "gasturbine", "miniboone_vt"),
    # the last two were trained when the settings stood
    "oracle": ("magic", "htru2", "satimage", "gasturbine", "power_head"),
}
MORE = ("higgs35k", "bsds300r_mini")  # of experiment two, with --all
NAMED = {"one": ("magic",), "two": ("magic", "penbased"), "oracle": ("magic", "penbased")}
TINY = {"one": ("wine",), "two": ("wine",), "oracle": ("wine",)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of NPZ files")
    parser.add_argument("--only", default="one,oracle,two")
    parser.add_argument("--part", default="0/1", metavar="K/N", help="a share of the jobs")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--seconds", type=float, help="of one method in experiment two")
    parser.add_argument("--match", default="", help="only jobs whose names match: a pattern")
    for flag in ("all", "plan", "tables", "quick"):
        parser.add_argument(f"--{flag}", action="store_true")
    asked = parser.parse_args()
    length = QUICK if asked.quick else FULL
    if asked.seconds:
        length = replace(length, two_seconds=asked.seconds)
    file = asked.results or (QUICK_RESULTS if asked.quick else HERE / "results.jsonl")
    sets: dict[str, Any] = TINY if asked.quick else NAMED if asked.data is None else dict(SETS)
    if asked.all and asked.data is not None:
        sets["two"] = (*SETS["two"], *MORE)
    torch.set_num_threads(1)
    file.parent.mkdir(parents=True, exist_ok=True)

    @cache
    def source(name: str) -> Source:
        path = None if asked.data is None or asked.quick else asked.data / f"{name}.npz"
        return read(name if path is None else path, seed=0, on_warning=lambda text: None)

    def open_jobs() -> list[Job]:
        rows = done(file)
        every = jobs(
            length, asked.only.split(","), sets, lambda *about: best_of_oracle(rows, *about)
        )
        known = {row["key"] for row in rows}
        return [job for job in every if job.key not in known and re.match(asked.match, job.key)]

    if asked.tables:
        show(file)
        return
    left, known = open_jobs(), {}
    hours = sum(predicted(job, source(job.data), length, known) for job in left) / 3600
    print(f"{len(left)} jobs, about {hours:.2f} hours on one core", file=sys.stderr, flush=True)
    if asked.plan:
        return
    part, parts = (int(text) for text in asked.part.split("/"))

    def mine() -> list[Job]:
        return [job for job in open_jobs() if crc32(job.key.encode()) % parts == part]

    while left := mine():  # again, for the seeds that follow from others
        for job in left:
            row = execute(job, source(job.data), length)
            with file.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
            what = f"test NLL {row['test_nll']:.3f}" if "test_nll" in row else row["path"]
            print(f"{job.key}: {what}, {row['seconds']:.1f} s", file=sys.stderr, flush=True)
    show(file)


def show(file: Path) -> None:
    """Print the tables of what is there, and write the plots beside it."""
    rows = done(file)
    print_tables(rows)
    for path in draw(rows, file.parent):
        print(f"wrote {path}", file=sys.stderr)


def done(file: Path) -> list[dict[str, Any]]:
    """Read the finished jobs' rows."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


if __name__ == "__main__":
    main()
