"""CPU seconds of `nfopt status`, `report` and of a worker's joining at a long study.

    python studies/storage_throughput/commands.py      # 3,000 trials; minutes, most to write them

Each command runs in a process of its own, imports included (modules compiled, as `pip install`
leaves them); the least of some runs.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial

from nfopt import attributes as names
from nfopt.model.disk import versions
from nfopt.samplers.trials import ORIGIN
from nfopt.space import SearchSpace
from nfopt.storage.open import open_storage
from nfopt.study.create import Wanted, open_study
from nfopt.study.dataset import read

MOST = 2.0  # CPU seconds of each
RUNS = 5
EMPTY = "import nfopt.runner.worker; from nfopt.cli import main"


def make(folder: Path, trials: int) -> str:
    """Write a study of so many trials of the default space, with all attributes."""
    url = f"sqlite:///{folder}/s.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = folder / "table.csv"
    values = np.random.default_rng(0).normal(size=(2000, 8))
    np.savetxt(table, values, delimiter=",", header=",".join("abcdefgh"), comments="")
    source = read(table, seed=0)
    space = SearchSpace.for_data(source.data.train)
    storage = open_storage(url)
    study = open_study(Wanted(name="s", data=source.described, space=space), storage).study
    study.set_user_attr(names.POPULATION, {"size": 8, "steps": 4000})
    study.set_user_attr(names.BUDGET, {"trials": trials, "minutes": None, "until": None})
    other = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    kinds, begun = space.distributions(), datetime.datetime(2026, 1, 1)
    made = []
    for number in range(trials):
        params = other.ask(kinds).params
        recipe = space.build(params)
        spec, train = recipe.flow, recipe.train
        nll = 10.0 + float(np.sin(number)) + 1e-3 * number
        ended = begun + datetime.timedelta(seconds=number)
        made.append(
            create_trial(
                state=TrialState.COMPLETE if number % 2 else TrialState.PRUNED,
                values=[nll],
                params=params,
                distributions=kinds,
                intermediate_values={25: nll, 50: nll},
                user_attrs={
                    names.SPEC: spec.to_json(),
                    names.TRAIN: train.to_json(),
                    names.GENOME: space.genome(spec),
                    names.PARAMETERS: spec.parameter_count(),
                    names.COST_TRAIN: 1.0,
                    names.COST_INVERSE: 1.0,
                    names.SEED: number,
                    names.VERSIONS: versions(),
                    names.SECONDS: 1.0,
                    names.FIDELITY: 0.25,
                    names.ROUND_TRIP: 1e-6,
                    names.NLL_2SE: 0.1,
                    names.LEASE: {"beat": 3},
                    ORIGIN: {"operator": "flip", "parents": [0], "genome": "ab"},
                },
            )
        )
        made[-1].datetime_start, made[-1].datetime_complete = begun, ended
    study.add_trials(made)
    return url


def seconds(command: list[str], folder: Path, url: str) -> float:
    """CPU seconds of a process and what it starts, the least of some runs."""
    found = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        environment = os.environ | {"NFOPT_STORAGE": url, "OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--folder", type=Path, help="keeps the study for the next time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = (given.folder or Path(made)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{folder}/s.db"
        if not (folder / "s.db").exists():
            url = make(folder, given.trials)
        nfopt = [sys.executable, "-m", "nfopt"]
        told = {
            "imports": seconds([sys.executable, "-c", EMPTY], folder, url),
            "status": seconds([*nfopt, "status", "s"], folder, url),
            "report": seconds([*nfopt, "report", "s"], folder, url),
            "worker": seconds([*nfopt, "worker", "s", "--no-pictures"], folder, url),
        }
    print(json.dumps({name: round(value, 2) for name, value in told.items()} | {"most": MOST}))


if __name__ == "__main__":
    main()
