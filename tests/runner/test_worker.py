"""Workers that find all they need in the study, and several of them on one budget."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from small_study import RECIPES, table

from nfopt import attributes as names
from nfopt.distributed.process import Worker
from nfopt.errors import StudyError
from nfopt.events import BatchTold, Event, Notice, Started, Watch
from nfopt.model.disk import versions
from nfopt.report import watching
from nfopt.runner.engines import local_workers as local
from nfopt.runner.engines.local_workers import LocalWorkers, share_out
from nfopt.runner.worker import budget_of, check_versions, run_worker
from nfopt.study.create import load_study
from nfopt.study.dataset import Source
from nfopt.study.results import SearchResult

Search = Callable[..., SearchResult]
ROOT = Path(__file__).parents[2]
ONE = RECIPES[:1]


def budget(url: str, trials: int | None, until: float | None = None) -> optuna.Study:
    study = load_study("small", url)
    study.set_user_attr(names.BUDGET, {"trials": trials, "minutes": None, "until": until})
    return study


@pytest.fixture(autouse=True)
def _below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where the studies' data is: a path that a study names is read below it alone."""
    monkeypatch.chdir(tmp_path)


def test_a_worker_needs_only_the_storage(search: Search, url: str, events: list[Event]) -> None:
    search(trials=2, storage=url, recipes=ONE)
    study = budget(url, 7)
    events.clear()
    worked = run_worker("small", url, device="cpu", threads=1, on_event=events.append)
    assert worked.to_dict() == {
        "study": "small",
        "trials": 7,
        "own": 5,
        "seconds": worked.seconds,
    }
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    (started,) = [event for event in events if isinstance(event, Started)]
    assert (started.trials, started.budget_trials, started.resumed) == (2, 7, True)
    again = run_worker("small", url, device="cpu", threads=1)
    assert (again.trials, again.own) == (7, 0)


def test_a_worker_ends_with_the_time(search: Search, url: str) -> None:
    search(trials=1, storage=url, recipes=ONE)
    study = budget(url, None, time.time() + 600)

    def over(event: Event) -> None:
        if isinstance(event, BatchTold):
            budget(url, None, time.time())  # as it would be once the time is over

    worked = run_worker("small", url, device="cpu", threads=1, on_event=over)
    assert worked.own > 0
    assert not study.get_trials(states=(TrialState.RUNNING,))
    budget(url, 1000)
    worked = run_worker("small", url, device="cpu", threads=1, minutes=0.02)
    assert worked.trials < 1000


@pytest.mark.parametrize(
    ("budget", "trials", "left"),
    [
        ({"trials": 5, "until": None}, 5, None),
        ({"trials": None, "until": None}, None, 0.0),
        (None, None, 0.0),
        ({"trials": 5, "until": 50.0}, 5, 50.0),
    ],
)
def test_what_a_budget_says(
    budget: dict[str, float | None] | None, trials: int | None, left: float | None
) -> None:
    if budget and budget["until"]:
        budget = budget | {"until": time.time() + budget["until"]}
    found, ends = budget_of({names.BUDGET: budget}, lambda: 7.0)
    assert found == trials
    assert ends == (None if left is None else pytest.approx(7.0 + left, abs=0.5))


def test_other_data_is_one_line(search: Search, url: str, tmp_path: Path) -> None:
    search(trials=1, storage=url, recipes=ONE)
    other = tmp_path / "other.csv"
    np.savetxt(other, table(seed=1), delimiter=",", header="a,b,c", comments="")
    with pytest.raises(StudyError, match="is not what the study was made with") as caught:
        run_worker("small", url, data=other)
    assert "\n" not in str(caught.value)
    (tmp_path / "out" / "data.npz").unlink()
    with pytest.raises(StudyError, match=r"`data` must be given.*is not there"):
        run_worker("small", url)


def test_a_study_that_is_not_there_is_one_line(search: Search, url: str) -> None:
    search(trials=1, storage=url, recipes=ONE)
    with pytest.raises(StudyError, match="'none' is not in `storage`"):
        run_worker("none", url)


def test_versions() -> None:
    def said(version: str) -> str | None:
        return check_versions({names.VERSIONS: {"nfopt": version}})

    mine = versions()["nfopt"]
    major, minor, _ = mine.split(".")
    assert said(mine) is None
    assert said(f"{major}.{minor}.99") is None
    assert f"made with nfopt {major}.99.0" in str(said(f"{major}.99.0"))
    with pytest.raises(StudyError, match=r"made with nfopt 3\.1\.0.*install nfopt 3\.\*"):
        said("3.1.0")


def test_cores_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert share_out(1, "cpu", None) == (["cpu"], None)
    assert share_out(4, "cpu", None) == (["cpu"] * 4, 2)
    assert share_out(16, "cpu", None)[1] == 1
    assert share_out(2, "cuda", 6) == (["cuda:0", "cuda:1"], 3)
    assert share_out(2, "cuda:1", 6) == (["cuda:1", "cuda:0"], 3)
    with pytest.raises(ValueError, match="`workers` must be at most 2 with `device` 'cuda'"):
        share_out(3, "cuda", None)
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match="`workers` must be a whole number"):
            share_out(wrong, "cpu", None)  # type: ignore[arg-type]


def test_several_workers_need_a_url(search: Search) -> None:
    with pytest.raises(ValueError, match="`storage` must be a URL"):
        search(trials=2, workers=2)


def test_a_worker_that_fails_is_said_and_all_are_ended(events: list[Event]) -> None:
    script = "import sys, time; print('Error: no such file', file=sys.stderr); sys.exit(2)"
    command = [sys.executable, "-c", script]
    with LocalWorkers("s", "x", ["cpu"], 1, events.append, lambda: False, None, command):
        until = time.monotonic() + 20
        while not events and time.monotonic() < until:
            time.sleep(0.05)
    assert events == [Notice("worker 1 has ended, the search goes on: no such file")]
    sleeper = [sys.executable, "-c", "import time; time.sleep(100)"]
    began = time.monotonic()
    stay: tuple[Any, ...] = (lambda: False, None, sleeper)
    with LocalWorkers("s", "x", ["cpu"] * 2, 1, events.append, *stay) as workers:
        processes = workers._processes
    assert [process.returncode for process in processes] == [-signal.SIGTERM] * 2
    assert time.monotonic() - began < local.STOP_SECONDS


@pytest.mark.parametrize(("watch", "said"), [(None, "0"), (watching("x", True), "1")])
def test_processes_draw_where_the_search_does(
    watch: Watch | None, said: str, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NFOPT_PICTURES", "1")
    script = "import os, sys; print('Warning:', os.environ['NFOPT_PICTURES'], file=sys.stderr)"
    command = [sys.executable, "-c", script]
    with LocalWorkers("s", "x", ["cpu"], 1, events.append, lambda: False, watch, command):
        until = time.monotonic() + 20
        while not events and time.monotonic() < until:
            time.sleep(0.05)
    assert events == [Notice(f"worker 1: {said}")]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_three_processes_share_a_budget_exactly(
    search: Search, source: Source, tmp_path: Path, kind: str
) -> None:
    url = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else f"journal:///{tmp_path}/s.log"
    result = search(trials=31, storage=url, workers=3)
    assert result.trials == 31
    states = Counter(trial.state for trial in result.study.trials)
    assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == 31
    assert not states[TrialState.RUNNING] + states[TrialState.WAITING]
    pids = {Worker.of(trial).pid for trial in result.study.trials}  # type: ignore[union-attr]
    assert os.getpid() in pids
    # the workers have ended
    for pid in pids - {os.getpid()}:
        assert Worker(Worker.here().host, pid, "0").alive() is False


@pytest.mark.slow
def test_sigterm_and_a_second_signal(search: Search, url: str, tmp_path: Path) -> None:
    search(trials=1, storage=url, recipes=ONE)
    study = budget(url, 10_000)
    study.set_user_attr(names.POPULATION, {"size": 4, "steps": 400})
    environment = os.environ | {"NFOPT_STORAGE": url, "OMP_NUM_THREADS": "1"}
    given = ["--data", str(tmp_path / "out" / "data.npz")]
    command = [sys.executable, "-m", "nfopt", "worker", "small", "--device", "cpu", *given]

    def begin() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 60
        while not study.get_trials(states=(TrialState.RUNNING,)) and time.monotonic() < until:
            time.sleep(0.1)
        return process

    process = begin()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - began < 5
    assert "waits for the next worker" in said
    assert not study.get_trials(states=(TrialState.RUNNING,))
    process = begin()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) in (130, -signal.SIGINT)
