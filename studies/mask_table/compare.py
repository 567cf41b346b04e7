"""Who finds the better masks? Every contender on every table, by seeds; then table and plot.

    python studies/mask_table/compare.py              # what is missing in results.jsonl, then show
    python studies/mask_table/compare.py --show       # results.md and regret.png of what there is
    python studies/mask_table/compare.py --quick      # two seeds, 60 evaluations, nothing kept
    python studies/mask_table/compare.py --tune       # both encodings, on seeds of their own

Seed by seed, so that what there is after Ctrl-C is a comparison on fewer seeds; a second call goes
on. A run's line holds the true NLL of the incumbent by evaluations: `chosen` as the sampler has it,
`raced` after the best six have been trained four times afresh (the same for everyone, not counted).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
BENCHMARK = HERE.parents[1] / "optunahub" / "package" / "benchmarks" / "nfopt_mask_table"
sys.path.insert(0, str(BENCHMARK))

import contenders  # noqa: E402
from contenders import CONTENDERS  # noqa: E402
from landscape import Emulator, Landscape, Pool, Table, left_out, random_pairs  # noqa: E402
from replay import Histories, simulate  # noqa: E402
from show import show  # noqa: E402

LOOKS = (20, 35, 50, 75, 100, 150, 200, 300, 400, 500, 600)
WORKERS = 4
STARTS = 12
"""Masks that all begin with; half of them at most are named designs."""

SETTINGS: dict[str, tuple[type[Pool] | type[Emulator], bool, int]] = {
    "noise": (Emulator, True, 600),
    "no noise": (Emulator, False, 600),
    "pool, noise": (Pool, True, 200),
}
"""Landscape, whether runs have noise, evaluations."""

ENCODING = {"TPE": "pairs", "GOMEA": "pairs"}
"""By contender what was better in `--tune`, in the mean over both tables and 200 and 600
evaluations; `full` for those not named."""

GUESS = {"TPE": 90.0, "evolution": 30.0}
"""Seconds of CPU of a run of 600 evaluations, before one is measured; 8 for those not named."""


@dataclass(frozen=True)
class Key:
    """What makes two runs the same."""

    table: str
    setting: str
    contender: str
    encoding: str
    seed: int


class Tables:
    """The tables in a folder, and the landscapes made of them, each once."""

    def __init__(self, folder: Path) -> None:
        loaded = {path.stem: Table.load(path).complete for path in sorted(folder.glob("*.npz"))}
        if not loaded:
            sys.exit(f"There is no table in {folder}: run make.py first.")
        self.tables = loaded
        # results of another table of the same name must not be mixed with these
        self.names = {
            f"{name}-{hashlib.sha256(t.curves.tobytes()).hexdigest()[:6]}": name
            for name, t in loaded.items()
        }
        self._made: dict[tuple[str, type], Any] = {}

    def landscape(self, name: str, kind: type[Pool] | type[Emulator]) -> Landscape:
        if (name, kind) not in self._made:
            self._made[name, kind] = kind(self.tables[self.names[name]])
        return self._made[name, kind]

    def starts(self, name: str, seed: int) -> np.ndarray:
        """The named designs, which a table begins with, and random pairs by the seed."""
        table = self.tables[self.names[name]]
        named = table.transformed[:6][[1, 5, 2, 0]]
        rng = np.random.default_rng([7, seed])
        pairs = random_pairs(named.shape[1:], STARTS - len(named), rng)
        return np.concatenate([named, pairs])


def run(tables: Tables, key: Key, evaluations: int) -> dict[str, Any]:
    """Play one run."""
    kind, noise, _ = SETTINGS[key.setting]
    landscape = tables.landscape(key.table, kind)
    contenders.EVALUATIONS = evaluations  # GOMEA must be told
    began = time.process_time()
    starts = tables.starts(key.table, key.seed)
    contender = CONTENDERS[key.contender](starts, key.seed, key.encoding == "pairs")
    history: Histories = simulate(
        contender,
        landscape,
        evaluations=evaluations,
        workers=min(WORKERS, contender.together or WORKERS),
        noise=noise,
        seed=key.seed,
        looks=LOOKS,
    )
    return {
        **asdict(key),
        "evaluations": evaluations,
        "chosen": history.chosen,
        "raced": history.raced,
        "lowest": min(history.truths),
        "distinct": len({mask.tobytes() for mask in history.masks}),
        "best": landscape.best,
        "usual": landscape.usual,
        "seconds": round(time.process_time() - began, 2),
    }


def done(path: Path) -> dict[Key, dict[str, Any]]:
    """Read what earlier calls have finished."""
    if not path.exists():
        return {}
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {Key(*(row[field] for field in Key.__dataclass_fields__)): row for row in rows}


def wanted(tables: Tables, given: argparse.Namespace) -> Iterator[Key]:
    """All runs, seed by seed."""
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        for setting in given.settings:
            for name, short in tables.names.items():
                if given.sets and short not in given.sets:
                    continue
                for contender in given.contenders:
                    encodings = [ENCODING.get(contender, "full")]
                    for encoding in ("full", "pairs") if given.tune else encodings:
                        yield Key(name, setting, contender, encoding, seed)


def hours(left: list[Key], seen: dict[Key, dict[str, Any]]) -> float:
    """Predict from what runs of the same kind took."""
    took: dict[tuple[str, str, str], float] = {}
    for key, row in seen.items():
        took[key.table.split("-")[0], key.setting, key.contender] = row["seconds"]
    seconds = 0.0
    for key in left:
        guess = GUESS.get(key.contender, 8.0) * SETTINGS[key.setting][2] / 600
        seconds += took.get((key.table.split("-")[0], key.setting, key.contender), guess)
    return seconds / 3600


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare samplers on the mask tables.")
    parser.add_argument("--tables", type=Path, default=BENCHMARK / "tables")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--settings", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--contenders", nargs="*", default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--show", action="store_true")
    given = parser.parse_args()
    path = given.results or HERE / ("tuning.jsonl" if given.tune else "results.jsonl")
    if given.tune:
        given.first_seed, given.seeds, given.settings = 1000, 3, ["noise"]
    if given.quick:
        given.seeds = 2
    tables = Tables(given.tables)
    for name, short in tables.names.items():
        table = tables.tables[short]
        fitted = tables.landscape(name, Emulator)
        print(f"{name}: {len(table)} masks, noise {table.noise:.3f} nats, ", end="")
        print(f"best known {fitted.best:.3f}, random pairs {fitted.usual:.3f} (emulator)")
        for sampler, (count, r2, rank) in left_out(table).items():
            print(f"  left out {sampler}: {count} masks, R2 {r2:.2f}, rank correlation {rank:.2f}")
    seen = {} if given.quick else done(path)
    left = [] if given.show else [key for key in wanted(tables, given) if key not in seen]
    print(f"{len(left)} runs to do, about {hours(left, seen):.2f} hours of CPU", flush=True)
    try:
        for key in left:
            evaluations = 60 if given.quick else SETTINGS[key.setting][2]
            row = json.loads(json.dumps(run(tables, key, evaluations)))
            seen[key] = row
            if not given.quick:
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
            last = list(row["raced"].values())[-1]
            share = (last - row["best"]) / (row["usual"] - row["best"])
            print(f"{key}: regret {share:.3f}, {row['seconds']:.0f} s", flush=True)
    except KeyboardInterrupt:
        print("Stopped; what is done is written, and the same command goes on.", file=sys.stderr)
        sys.exit(130)
    current = [row for key, row in seen.items() if key.table in tables.names]
    show(current, None if given.quick or given.tune else path.parent)


if __name__ == "__main__":
    main()
