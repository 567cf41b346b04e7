"""What waits, who may take it, what a budget allows: exact, whoever looks at the same time."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt.distributed.queue import WorkQueue, missing
from nfopt.optuna_internals import trials_of
from nfopt.storage.open import open_storage

STORAGES: dict[str, Callable[[Path], BaseStorage]] = {
    "memory": lambda path: optuna.storages.InMemoryStorage(),
    "sqlite": lambda path: open_storage(f"sqlite:///{path}/study.db"),
    "journal": lambda path: open_storage(f"journal:///{path}/study.log"),
}
BOTH = Counter({True: 1, False: 1})


@pytest.fixture(params=STORAGES)
def study(request: pytest.FixtureRequest, tmp_path: Path) -> optuna.Study:
    return optuna.create_study(study_name="s", storage=STORAGES[request.param](tmp_path))


def side_by_side(*calls: Callable[[], object]) -> list[object]:
    """Run calls in threads that begin together, and give their answers."""
    gate, found = threading.Barrier(len(calls)), [None] * len(calls)

    def run(place: int) -> None:
        gate.wait()
        found[place] = calls[place]()  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def running(study: optuna.Study, **params: float) -> optuna.trial.FrozenTrial:
    trial = study.ask()
    for name, value in params.items():
        study._storage.set_trial_user_attr(trial._trial_id, names.SEED, 7)
        trial.suggest_float(name, value, value)
    return study.get_trials(deepcopy=False)[trial.number]


def test_of_two_who_interrupt_one_is_first_and_it_comes_back_once(study: optuna.Study) -> None:
    for round_ in range(5):
        trial = running(study, x=round_)

        def take_over(trial: optuna.trial.FrozenTrial = trial) -> bool:
            won = WorkQueue(study).interrupt(trial, "gone")
            WorkQueue(study).requeue()
            return won

        assert Counter(side_by_side(take_over, take_over)) == BOTH
        trials = trials_of(study)
        taken = WorkQueue(study).next(10)
        assert taken is not None
        assert [t.user_attrs[names.RETRY_OF] for t in taken.trials] == [trial.number]
        assert taken.trials[0].user_attrs[names.SEED] == 7
        assert taken.origin == trials[trial.number]
        retry = WorkQueue(study).take(taken.trials[0])
        assert retry is not None
        assert retry.suggest_float("x", 0, 10) == round_
        study.tell(retry, 1.0)
        # what was put into the queue twice is struck out
        left = [t for t in study.trials if t.state is TrialState.WAITING]
        assert WorkQueue(study).next(10) is None
        assert all(study.trials[t.number].state is TrialState.FAIL for t in left)


def test_of_two_who_take_one_gets_it(study: optuna.Study) -> None:
    for _ in range(5):
        study.enqueue_trial({"x": 1.0})
        (waiting,) = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        found = side_by_side(*[lambda trial=waiting: WorkQueue(study).take(trial) is not None] * 2)
        assert Counter(found) == BOTH


def test_a_late_result_does_not_count(study: optuna.Study) -> None:
    trial = running(study, x=1)
    assert WorkQueue(study).interrupt(trial, "gone")
    with pytest.raises((optuna.exceptions.UpdateFinishedTrialError, ValueError)):
        study.tell(trial.number, 1.0)
    assert study.trials[trial.number].value is None


def test_a_crash_between_failing_and_queueing_is_made_good(study: optuna.Study) -> None:
    trial = running(study, x=1)
    WorkQueue(study).interrupt(trial, "gone")  # and whoever did it died
    assert [t.number for t in missing(trials_of(study))] == [0]
    assert WorkQueue(study).requeue() == 1
    assert WorkQueue(study).requeue() == 0


def test_who_queues_a_trial_second_takes_it_back(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a slow worker queues a trial again, another one does, trains it and leaves."""
    WorkQueue(study).interrupt(running(study, x=1), "gone")
    enqueue = study.enqueue_trial

    def slow(*arguments: Any, **more: Any) -> None:
        monkeypatch.setattr(study, "enqueue_trial", enqueue)
        other = WorkQueue(study, budget=1)
        assert other.requeue() == 1
        waiting = other.next(1)
        assert waiting is not None
        again = other.take(waiting.trials[0])
        assert again is not None
        again.suggest_float("x", 0, 10)
        study.tell(again, 1.0)
        enqueue(*arguments, **more)

    monkeypatch.setattr(study, "enqueue_trial", slow)
    assert WorkQueue(study, budget=1).requeue() == 1
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.COMPLETE, TrialState.FAIL]


def test_who_leaves_fails_what_will_never_train(study: optuna.Study) -> None:
    """Workers were killed after they queued a trial twice, and while they reserved one."""
    first = running(study, x=1)
    WorkQueue(study).interrupt(first, "gone")
    WorkQueue(study).requeue()
    queue = WorkQueue(study, budget=1)
    waiting = queue.next(1)
    assert waiting is not None
    again = queue.take(waiting.trials[0])
    assert again is not None
    study.tell(again, 1.0)
    study.ask()  # of another program that works on the study
    study.enqueue_trial({"x": 1.0}, {names.RETRY_OF: first.number})
    WorkQueue(study).reserve(1)
    study.enqueue_trial({"x": 2.0})  # the user's, for a larger budget
    queue.tidy(trials_of(study))
    states = [trial.state for trial in study.trials[2:]]
    assert states == [TrialState.RUNNING, TrialState.FAIL, TrialState.FAIL, TrialState.WAITING]


def test_what_never_had_parameters_leaves_nothing_behind(study: optuna.Study) -> None:
    WorkQueue(study).interrupt(running(study), "gone")
    assert WorkQueue(study).requeue() == 0


def test_reserving_never_goes_over_the_budget(study: optuna.Study) -> None:
    def ask() -> int:
        return len(WorkQueue(study, budget=10).reserve(4))

    found = side_by_side(*[ask] * 4)
    assert sum(found) == 10  # type: ignore[arg-type]
    states = Counter(trial.state for trial in study.trials)
    assert states == {TrialState.RUNNING: 10, TrialState.FAIL: 6}
    assert WorkQueue(study, budget=10).reserve(1) == []
    assert len(WorkQueue(study).reserve(1)) == 1


def test_what_is_missing_keeps_its_place_in_the_budget(study: optuna.Study) -> None:
    trials = [running(study, x=k) for k in range(3)]
    for trial in trials[1:]:
        study.tell(trial.number, 1.0)
    WorkQueue(study).interrupt(trials[0], "gone")
    assert WorkQueue(study, budget=3).reserve(1) == []
    WorkQueue(study).requeue()
    assert WorkQueue(study, budget=3).reserve(1) == []
    waiting = WorkQueue(study, budget=3).next(5)
    assert waiting is not None
    assert len(waiting.trials) == 1


def test_a_population_comes_back_to_one_worker(study: optuna.Study) -> None:
    queue = WorkQueue(study)
    for made in queue.reserve(3):
        queue.start(made).suggest_float("x", made.number, made.number)
    trials = trials_of(study)
    WorkQueue(study).interrupt(trials[0], "gone")
    WorkQueue(study).requeue()
    # the others still run, so it is not whole yet
    assert WorkQueue(study).next(1) is None
    for trial in trials[1:]:
        WorkQueue(study).interrupt(trial, "gone")
    WorkQueue(study).requeue()
    waiting = WorkQueue(study).next(1)
    assert waiting is not None
    assert waiting.origin is not None
    assert waiting.origin.number == 0
    assert [t.user_attrs[names.RETRY_OF] for t in waiting.trials] == [0, 1, 2]
    assert WorkQueue(study).take(waiting.trials[0]) is not None
    assert WorkQueue(study).next(1) is None  # who has the first takes the others
    assert WorkQueue(study).take(waiting.trials[1]) is not None


SCRIPT = """
import sys
import optuna
from nfopt.storage.open import open_storage
from nfopt.distributed.queue import WorkQueue, in_play
from nfopt.optuna_internals import trials_of
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="s", storage=open_storage(sys.argv[1]))
while True:
    trials = trials_of(study)
    if len(in_play(trials)) >= 30:
        break
    queue = WorkQueue(study, budget=30)
    waiting = queue.next(1)
    trial = queue.take(waiting.trials[0]) if waiting else None
    if trial is None:
        trials = [queue.start(one) for one in queue.reserve(2)]
    else:
        trials = [trial]
    for trial in trials:
        study.tell(trial, trial.suggest_float("x", 0, 1))
"""


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_three_processes_meet_a_budget_exactly(tmp_path: Path, kind: str) -> None:
    url = f"sqlite:///{tmp_path}/s.db" if kind == "sqlite" else f"journal:///{tmp_path}/s.log"
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    for k in range(10):
        study.enqueue_trial({"x": k / 10})
    command = [sys.executable, "-c", SCRIPT, url]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    states = Counter(trial.state for trial in study.trials)
    assert states[TrialState.COMPLETE] == 30
    assert set(states) <= {TrialState.COMPLETE, TrialState.FAIL}
    queued = [t.params["x"] for t in study.trials if "fixed_params" in t.system_attrs]
    assert sorted(queued) == [k / 10 for k in range(10)]
