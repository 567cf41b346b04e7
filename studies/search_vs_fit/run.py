"""Does `nfopt search` find more than `nfopt fit` in the same time?

Both commands run on the same table, with the same minutes, on one thread each, as a user would run
them. Each run is written to results.jsonl when it ends; a second call goes on where the first
stopped.

    python studies/search_vs_fit/run.py --data DIR            # DIR/*.npz with train, val, test
    python studies/search_vs_fit/run.py                       # without: the named sets
    python studies/search_vs_fit/run.py --quick               # half a minute each
    python studies/search_vs_fit/run.py --data DIR --jobs 2   # two runs side by side
    python studies/search_vs_fit/run.py --data DIR --methods fit "fit --members 5" search
    python studies/search_vs_fit/run.py --data DIR --rows 500 --minutes 3   # few rows
    python studies/search_vs_fit/run.py --data DIR --rows 500 --minutes 3 --seeds 3  # each its own
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NAMED = ("magic", "penbased", "digits")


@dataclass(frozen=True)
class Run:
    """One command on one table."""

    method: str
    data: str
    minutes: float
    seed: int

    @property
    def key(self) -> tuple[str, str, float, int]:
        """What makes two runs the same."""
        return self.method, Path(self.data).stem, self.minutes, self.seed

    def command(self, out: Path) -> list[str]:
        """The command line, as a user would type it."""
        nfopt = [sys.executable, "-m", "nfopt"]
        method, *options = self.method.split()
        common = ["--minutes", f"{self.minutes:g}", "--threads", "1", "--seed", str(self.seed)]
        where = ["--out", str(out / "flow"), "--json"]
        if method == "search":
            where += ["--storage", f"sqlite:///{out / 'study.db'}"]
        return [*nfopt, method, self.data, *options, *common, *where]


def done(path: Path) -> dict[tuple[str, str, float, int], dict[str, object]]:
    """Read what earlier calls have finished."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {(r["method"], r["data"], r["minutes"], r["seed"]): r for r in rows}


def execute(run: Run, results: Path) -> None:
    """Run one command and write its row."""
    out = Path(tempfile.mkdtemp(prefix="nfopt-study-"))
    began = time.monotonic()
    try:
        ended = subprocess.run(run.command(out), capture_output=True, text=True, check=False)
        if ended.returncode:
            print(f"{run.key} failed: {ended.stderr.strip()[-2000:]}", file=sys.stderr, flush=True)
            return
        answer = json.loads(ended.stdout)
        method, data, minutes, seed = run.key
        row = {"method": method, "data": data, "minutes": minutes, "seed": seed}
        row["wall_seconds"] = round(time.monotonic() - began, 1)
        row |= {key: answer[key] for key in KEPT if key in answer}
        spec = json.loads((out / "flow" / "flow.json").read_text())
        row["members"] = len(spec.get("members", [1]))
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
    finally:
        shutil.rmtree(out, ignore_errors=True)


KEPT = (
    "trials",
    "best",
    "validation_nll",
    "members_test_nll",
    "test_nll",
    "test_nll_2se",
    "parameters",
    "structure",
)


def table(results: Path, minutes: float) -> Iterator[str]:
    """Write the runs of one length as markdown: test log-likelihoods (twice their s.e.)."""
    rows = [r for r in done(results).values() if r["minutes"] == minutes]
    methods = sorted({str(r["method"]) for r in rows})
    yield "| data | " + " | ".join(methods) + " |"
    yield "|---" * (1 + len(methods)) + "|"
    for data in sorted({str(r["data"]) for r in rows}):
        cells = []
        for method in methods:
            mine = [r for r in rows if r["method"] == method and r["data"] == data]
            cells.append(
                ", ".join(f"{-r['test_nll']:.3f} ({r['test_nll_2se']:.3f})" for r in mine)  # type: ignore[operator]
            )
        yield f"| {data} | " + " | ".join(cells) + " |"


def fewer(data: str, rows: int, seed: int, folder: Path) -> str:
    """Write a table with so many of its training rows, a quarter as many for validation.

    Each seed has its own rows. miniboone_vt is without its column 4, nine per cent of which is one
    value.
    """
    path = Path(data)
    parts = dict(np.load(path, allow_pickle=False).items())
    if path.stem == "miniboone_vt":
        parts = {name: np.delete(array, 4, axis=1) for name, array in parts.items()}
    rng = np.random.default_rng(seed)
    for name, count in (("train", rows), ("val", rows // 4)):
        parts[name] = parts[name][rng.permutation(len(parts[name]))[:count]]
    written = folder / str(seed) / f"{path.stem}_{rows}.npz"
    written.parent.mkdir(exist_ok=True)
    np.savez(written, **parts)
    return str(written)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, help="folder with NPZ files")
    parser.add_argument("--sets", nargs="*", help="only these")
    parser.add_argument("--methods", nargs="*", default=["fit", "search"])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, help="training rows of each table; needs --data")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    given = parser.parse_args()
    minutes = 0.5 if given.quick else given.minutes
    found = [str(p) for p in sorted(given.data.glob("*.npz"))] if given.data else list(NAMED)
    if given.sets:
        stems = {Path(data).stem: data for data in found}
        found = [stems[name] for name in given.sets if name in stems]
    tables = dict.fromkeys(range(given.seeds), found)
    if given.rows and given.data:
        folder = Path(tempfile.mkdtemp(prefix="nfopt-study-rows-"))
        tables = {
            seed: [fewer(data, given.rows, seed, folder) for data in found] for seed in tables
        }
    runs = [
        Run(method, data, minutes, seed)
        for seed, some in tables.items()
        for data in some
        for method in given.methods
    ]
    finished = done(given.results)
    left = [run for run in runs if run.key not in finished]
    hours = len(left) * minutes / 60 / given.jobs
    print(f"{len(left)} of {len(runs)} runs to do, about {hours:.1f} hours", flush=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda run: execute(run, given.results), left))
    print("\n".join(table(given.results, minutes)))


if __name__ == "__main__":
    main()
