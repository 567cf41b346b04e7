"""Ctrl-C, SIGTERM and SIGKILL, sent to a real process; and the same by `should_stop`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt.events import Event, Mixed, Training
from nfopt.study.results import SearchResult

ROOT = Path(__file__).parents[2]
Search = Callable[..., SearchResult]
SIGNALS = (signal.SIGINT, signal.SIGKILL)
TRIALS = 8

SCRIPT = f"""
import os, sys, time
from tests.small_study import LIMITS, RECIPES, run_with, table
from nfopt.study.arguments import Budget
from nfopt.study.dataset import read
from nfopt.events import Training

folder = sys.argv[1]

def tell(event):
    if isinstance(event, Training) and event.step >= 10:
        print(event.phase, flush=True)
        time.sleep(1)  # the signal comes now

try:
    run_with(
        read(table(), seed=0), Budget({TRIALS}), study="small",
        storage="sqlite:///" + folder + "/s.db",
        kind="coupling", limits=LIMITS, recipes=RECIPES,
        out=folder + "/out", on_event=tell,
    )
except KeyboardInterrupt as error:
    print("interrupted by", error, flush=True)
    os._exit(130)  # taking torch down takes a second of its own
"""


@dataclass
class Ended:
    """A process that got a signal while it trained."""

    code: int
    seconds: float
    said: str
    study: optuna.Study
    folder: Path


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Ended]]:
    """Two processes side by side, one a signal."""
    started = {}
    for number in SIGNALS:
        folder = tmp_path_factory.mktemp(number.name)
        command = [sys.executable, "-c", SCRIPT, str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started[number] = (process, folder)
    found = {}
    try:
        for number, (process, folder) in started.items():
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "search"
            began = time.monotonic()
            process.send_signal(number)
            said, _ = process.communicate(timeout=30)
            seconds = time.monotonic() - began
            study = optuna.load_study(study_name="small", storage=f"sqlite:///{folder}/s.db")
            found[number] = Ended(process.returncode, seconds, said, study, folder)
        yield found
    finally:
        for process, _ in started.values():
            process.kill()


def test_ctrl_c_ends_the_search_with_nothing_running(ended: dict[int, Ended]) -> None:
    one = ended[signal.SIGINT]
    assert one.code == 130
    assert "interrupted by SIGINT" in one.said
    assert one.seconds < 5
    states = Counter(trial.state for trial in one.study.trials)
    # what was compared and pruned before the signal is a result; all else comes back
    assert states[TrialState.FAIL] == states[TrialState.WAITING] > 0
    assert states[TrialState.FAIL] + states[TrialState.PRUNED] == 4
    assert states.total() == 4 + states[TrialState.WAITING]
    for trial in one.study.get_trials(states=(TrialState.FAIL,)):
        assert trial.user_attrs[names.REASON] == "interrupted (SIGINT)"
    assert not (one.folder / "out" / "flow.json").exists()


def test_a_killed_process_leaves_its_trials(ended: dict[int, Ended]) -> None:
    one = ended[signal.SIGKILL]
    assert one.code == -signal.SIGKILL
    assert {trial.state for trial in one.study.trials} == {TrialState.RUNNING}


@pytest.mark.parametrize("number", SIGNALS)
def test_the_study_resumes_and_nothing_is_lost(
    ended: dict[int, Ended], number: signal.Signals, search: Search
) -> None:
    one = ended[number]
    before = one.study.trials[:4]
    lost = [t for t in before if t.state in (TrialState.FAIL, TrialState.RUNNING)]
    result = search(trials=TRIALS, storage=f"sqlite:///{one.folder}/s.db")
    assert result.trials == TRIALS
    trials = result.study.trials
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.FAIL] == len(lost)
    assert states[TrialState.WAITING] == states[TrialState.RUNNING] == 0
    again = {t.user_attrs[names.RETRY_OF]: t for t in trials if names.RETRY_OF in t.user_attrs}
    assert [again[old.number].params for old in lost] == [old.params for old in lost]
    assert len(again) == len(lost)
    for old in lost:
        assert again[old.number].user_attrs[names.SEED] == old.user_attrs[names.SEED]
    key = trials[0].user_attrs[names.FIRST]
    led = [t for t in trials if t.user_attrs.get(names.FIRST) == key and t.value is not None]
    assert len(key) == 16
    assert len(led) == 1


@pytest.mark.parametrize("at", [Training, Mixed])
def test_should_stop_is_like_a_signal(
    search: Search, memory: BaseStorage, events: list[Event], tmp_path: Path, at: type
) -> None:
    def stop() -> bool:
        return any(isinstance(event, at) for event in events)

    with pytest.raises(KeyboardInterrupt):
        search(trials=4, should_stop=stop)
    study = optuna.load_study(study_name="small", storage=memory)
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.RUNNING] == 0
    assert not (tmp_path / "out").exists()
    if at is Mixed:
        assert states[TrialState.COMPLETE] + states[TrialState.PRUNED] == 4
    events.clear()
    result = search(trials=4)
    assert result.trials == 4
    # flows of a study in memory end with the call that trained them
    again = any("it is trained again" in line for line in result.warnings)
    assert again is (at is Mixed)


def test_sigterm_is_noted_and_handlers_are_put_back(search: Search, memory: BaseStorage) -> None:
    noted = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in noted]

    def kill(event: Event) -> None:
        if isinstance(event, Training):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        search(trials=4, on_event=kill)
    assert [signal.getsignal(number) for number in noted] == before
    study = optuna.load_study(study_name="small", storage=memory)
    assert study.trials[0].user_attrs[names.REASON] == "interrupted (SIGTERM)"


def test_another_thread_can_search(search: Search) -> None:
    found: list[SearchResult] = []
    thread = threading.Thread(target=lambda: found.append(search(trials=1)))
    thread.start()
    thread.join()
    assert found[0].trials == 1
