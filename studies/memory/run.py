"""How much memory do `nfopt fit` and `nfopt search` take on large tables?

Each command runs in a process of its own, whose greatest resident memory the system tells. The
tables are made with a seed and written as NPY into a temporary folder.

    python studies/memory/run.py                  # about 6 minutes, 400 MB of disk
    python studies/memory/run.py --quick          # small tables, to see that it works
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FEATURES = 8
ROWS, MANY = 300_000, 5_000_000
BAR = 2.0  # GiB beside the data, for ROWS
GIB = 1 << 30
CHUNK = 250_000  # rows made at a time, so that this process stays small


@dataclass(frozen=True)
class Measured:
    """One command: greatest resident memory in GiB, seconds, and what it printed."""

    peak: float
    seconds: float
    code: int
    out: str
    err: str


def make(path: Path, rows: int, seed: int = 0) -> None:
    """Write a table in which each column follows the one before, shape (rows, FEATURES)."""
    rng = np.random.default_rng(seed)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(rows, FEATURES))
    for begin in range(0, rows, CHUNK):
        x = rng.normal(size=(min(CHUNK, rows - begin), FEATURES))
        for column in range(1, FEATURES):
            x[:, column] = 0.5 * x[:, column] + np.sin(2.0 * x[:, column - 1])
        table[begin : begin + len(x)] = x
    table.flush()


def measure(words: list[str], folder: Path) -> Measured:
    """Run a command in a folder and wait for it."""
    began = time.monotonic()
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        process = subprocess.Popen([sys.executable, *words], cwd=folder, stdout=out, stderr=err)
        _, status, used = os.wait4(process.pid, 0)  # of this process alone, unlike RUSAGE_CHILDREN
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
        peak = used.ru_maxrss * unit / GIB
        return Measured(peak, seconds, process.returncode, out.read(), err.read())


def main() -> int:
    """Measure, and print a table and whether the bar is kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--minutes", type=float, default=1.0, help="of each run")
    parser.add_argument("--many-minutes", type=float, default=2.0, help="of the run on most rows")
    parser.add_argument("--quick", action="store_true", help="a 30th of the rows")
    chosen = parser.parse_args()
    rows, many = (ROWS // 30, MANY // 30) if chosen.quick else (ROWS, MANY)
    kept = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        imports = measure(["-c", "import nfopt.api, nfopt.cli"], folder)
        print("| command | rows | data, GiB | peak, GiB | beside the data, GiB | time, s |")
        print("|---|---|---|---|---|---|")
        print(f"| the imports alone | | | {imports.peak:.2f} | | {imports.seconds:.0f} |")
        for command, count, minutes in (
            ("fit", rows, chosen.minutes),
            ("search", rows, chosen.minutes),
            ("search", many, chosen.many_minutes),
        ):
            path = folder / f"rows{count}.npy"
            if not path.exists():
                make(path, count)
            size = count * FEATURES * 8 / GIB
            words = ["-m", "nfopt", command, path.name, "--minutes", f"{minutes:g}", "--json"]
            done = measure([*words, "--threads", "1"], folder)
            if done.code:
                print(done.err, file=sys.stderr)
                return 1
            beside = done.peak - size
            kept &= beside < BAR or count == many
            print(
                f"| `nfopt {command} --minutes {minutes:g}` | {count:,} | {size:.2f}"
                f" | {done.peak:.2f} | {beside:.2f} | {done.seconds:.0f} |",
                flush=True,
            )
            for line in done.err.splitlines():
                if "the search uses" in line:
                    print(line, file=sys.stderr)
            told = json.loads(done.out)
            print(f"{command}, {count:,} rows: test NLL {told['test_nll']:.4f}", file=sys.stderr)
    print(f"\nunder {BAR:g} GiB beside the data for {rows:,} rows: {'yes' if kept else 'NO'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
