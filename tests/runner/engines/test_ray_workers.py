"""Workers as tasks of Ray: a killed one is started again, and the budget is met exactly."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nfopt.distributed.process import Worker
from nfopt.errors import StudyError
from nfopt.events import BatchTold, Event, ignore
from nfopt.report.hooks import watching
from nfopt.runner.engines.ray_workers import RayWorkers, work
from nfopt.runner.engines.table import share_out
from nfopt.runner.worker import Worked
from nfopt.study.create import load_study
from nfopt.study.results import SearchResult


@pytest.mark.parametrize(("workers", "error"), [(0, "`workers` must be"), (2.5, "`workers`")])
def test_numbers_that_are_refused(workers: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        share_out(workers, "cpu", None, "ray")
    with pytest.raises(ValueError, match="`engine` must be one of local, ray, got 'dask'"):
        share_out(1, "cpu", None, "dask")


def test_what_each_worker_gets() -> None:
    assert share_out(3, "cpu", None, "ray") == (["cpu"] * 3, 1)
    assert share_out(2, "cuda", 4, "ray") == (["cuda"] * 2, 4)


def test_a_storage_in_memory_or_no_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = optuna.storages.InMemoryStorage()
    with pytest.raises(StudyError, match="lives in this process only"):
        RayWorkers("s", memory, ["cpu"], 1, print, lambda: False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(StudyError, match=r"pip install 'nfopt\[ray\]'"):
        RayWorkers("s", "sqlite:///s.db", ["cpu"], 1, print, lambda: False)


def test_a_task_draws_where_the_search_does(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def run_worker(study: str, storage: str, **more: Any) -> Worked:
        given.append(more["on_event"])
        return Worked(study, 3, 2, 0.1)

    monkeypatch.setattr("nfopt.runner.worker.run_worker", run_worker)
    draws = watching("sqlite:///s.db", True)
    assert watching("sqlite:///s.db", None) is draws
    assert watching("sqlite:///s.db", False) is None
    assert work("s", "sqlite:///s.db", "cpu", 1) == 2
    assert work("s", "sqlite:///s.db", "cpu", 1, draws) == 2
    assert given[0] is ignore
    assert given[1] is not ignore
    assert found_by_name(draws) is draws  # Ray hands it to its tasks


def found_by_name(function: Any) -> Any:
    """Find a function again by its module and name."""
    return getattr(sys.modules[function.__module__], function.__qualname__)


@pytest.mark.slow
def test_one_of_two_workers_is_killed(
    search: Callable[..., SearchResult], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else 15: nothing gets on beside other work
    killed: list[int] = []

    def kill(event: Event) -> None:
        """Wait here until the other worker trains, and kill it."""
        until = time.monotonic() + 120
        while isinstance(event, BatchTold) and not killed and time.monotonic() < until:
            time.sleep(0.05)
            study = load_study("small", url)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                worker = Worker.of(trial)
                if not killed and worker is not None and worker.pid != os.getpid():
                    os.kill(worker.pid, signal.SIGKILL)
                    killed.append(worker.pid)

    result = search(
        trials=32, storage=url, workers=2, engine="ray", threads=1, lease=5.0, on_event=kill
    )
    assert killed
    assert result.trials == 32
    states = [trial.state for trial in result.study.trials]
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 32
    assert TrialState.RUNNING not in states
    workers = {Worker.of(trial) for trial in result.study.trials}
    assert len({worker.pid for worker in workers if worker is not None}) >= 2
