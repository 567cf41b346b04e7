"""Run the chaos test several times in a row and write a table: run.py --runs 10.

Kinds: postgres (120 trials, 6 workers, two restarts of the database), journal, grpc (30 trials, 3
workers). Needs the extras `dev`. See tests/runner/chaos.py for what is done and what is looked at.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.runner.chaos import Outcome, Postgres, chaos, proxy

COLUMNS = (
    "finished",
    "running",
    "twice",
    "killed",
    "restarts",
    "expired",
    "failed",
    "wasted",
    "rebuilt",
    "crashes",
    "seconds",
)


def run(kind: str, folder: Path, seed: int) -> tuple[Outcome, int]:
    """Run once; give what came of it and the trials asked for."""
    if kind == "postgres":
        server = Postgres(folder / "postgres")
        try:
            found = chaos(
                server.url,
                folder,
                trials=120,
                workers=6,
                restart=server.restart,
                restarts=2,
                seed=seed,
                limit=1800.0,
            )
        finally:
            server.close()
        return found, 120
    if kind == "grpc":
        with proxy(folder) as url:
            return chaos(url, folder, trials=30, workers=3, seed=seed), 30
    return chaos(f"journal:///{folder}/chaos.log", folder, trials=30, workers=3, seed=seed), 30


def main() -> int:
    """Write a row a run; 1 if one has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--kind", choices=("postgres", "journal", "grpc"), default="postgres")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    bad = 0
    with options.out.open("a", encoding="utf-8") as file:

        def write(*cells: object) -> None:
            line = f"| {' | '.join(map(str, cells))} |"
            print(line, flush=True)
            print(line, file=file, flush=True)

        write("storage", "run", *COLUMNS, "faults")
        write(*["---"] * (len(COLUMNS) + 3))
        for number in range(options.runs):
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                found, trials = run(options.kind, Path(folder), number)
            told = asdict(found)
            cells = [
                f"{told[name]:.2g}" if name in ("wasted", "rebuilt") else f"{told[name]:.0f}"
                for name in COLUMNS
            ]
            faults = found.faults(trials)
            bad += bool(faults)
            write(options.kind, number + 1, *cells, "; ".join(faults) or "none")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
