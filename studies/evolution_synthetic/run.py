"""Compares the evolution with its presets and with baselines, on problems whose truth is known.

Each run is a line of results.jsonl; a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from baselines import BASELINES
from problems import PROBLEMS, Problem

from nfopt.evolution.engine import Evolution, Record, Settings
from nfopt.evolution.genome.genome import Genome

SETTINGS = {
    "default": Settings(),
    "no screening": Settings(screening=False),
    "classic": Settings.classic(),
}
AT = (50, 100, 200, 400, 600)
NOISES = (1 / 3, 0.0)


class Core:
    """The evolution, driven as the baselines are."""

    def __init__(self, problem: Problem, settings: Settings, rng: np.random.Generator) -> None:
        self.evolution, self.rng, self.number = Evolution(problem.layout, settings=settings), rng, 0

    def ask(self) -> Genome:
        self.proposal = self.evolution.ask(self.rng)
        return self.proposal.genome

    def tell(self, genome: Genome, value: float) -> None:
        record = Record(
            self.number,
            genome,
            "complete",
            (value,),
            operator=self.proposal.operator,
            parents=self.proposal.parents,
        )
        self.evolution.tell(record)
        self.number += 1

    def incumbent(self) -> Genome:
        found = self.evolution.incumbent()
        assert found is not None
        return found.genome


def trial(problem: Problem, noise: float, name: str, seed: int, budget: int) -> dict[str, float]:
    """Regret of the incumbent, and CPU milliseconds an evaluation."""
    rng, errors = np.random.default_rng([11, seed]), np.random.default_rng([5, seed])
    if name in SETTINGS:
        search = Core(problem, SETTINGS[name], rng)
    else:
        search = BASELINES[name](problem.layout, rng)
    found: dict[str, float] = {}
    start = time.process_time()
    for number in range(1, budget + 1):
        genome = search.ask()
        search.tell(genome, problem.true(genome) + noise * problem.spread * errors.normal())
        if number in AT:
            found[str(number)] = problem.regret(search.incumbent())
    found["ms"] = 1e3 * (time.process_time() - start) / budget
    return found


def table(rows: list[dict], at: tuple[int, int]) -> str:
    """Mean regret, with its standard error and the number of seeds, after so many evaluations."""
    lines = []
    for noise in NOISES:
        names = [p for p in PROBLEMS if any(r["problem"] == p for r in rows)]
        head = [f"{p}, {n}" for p in names for n in at]
        lines += [f"\nnoise {noise:.2f} of the spread\n", "| | " + " | ".join(head) + " |"]
        lines.append("|---" * (len(head) + 1) + "|")
        for name in (*SETTINGS, *BASELINES):
            cells = []
            for problem, n in product(names, map(str, at)):
                of = [
                    r[n]
                    for r in rows
                    if (r["problem"], r["noise"], r["name"]) == (problem, noise, name) and n in r
                ]
                error = np.std(of, ddof=1) / np.sqrt(len(of)) if len(of) > 1 else np.nan
                cells.append(f"{np.mean(of):.3f} ({error:.3f}, {len(of)})" if of else "")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=600)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=PROBLEMS)
    parser.add_argument("--names", nargs="+", default=[*SETTINGS, *BASELINES])
    parser.add_argument("--quick", action="store_true", help="two seeds, 100 evaluations")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results.jsonl")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.budget, options.out = 2, 100, Path(os.devnull)
    rows = []
    if options.out.is_file():
        rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {(r["problem"], r["noise"], r["name"], r["seed"]) for r in rows}
    for seed, make, noise in product(range(options.seeds), options.problems, NOISES):
        waiting = [n for n in options.names if (make, noise, n, seed) not in done]
        problem = PROBLEMS[make](seed)
        for name in waiting:
            found = trial(problem, noise, name, seed, options.budget)
            row = {"problem": make, "noise": noise, "name": name, "seed": seed, **found}
            rows.append(row)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    print(table(rows, (50, 100) if options.quick else (200, 600)))


if __name__ == "__main__":
    main()
