"""Leases: who lives, who is gone, timed by the observer's own clock."""

from __future__ import annotations

import msgspec
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.distributed.lease import Lease, Observer, check_lease, gone, lead_of, ours, workers
from nfopt.distributed.process import Worker
from nfopt.distributed.queue import WorkQueue


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def population(study: optuna.Study, count: int = 3) -> Lease:
    lease = Lease(study, 60.0)
    queue = WorkQueue(study, lease)
    for made in queue.reserve(count):
        queue.start(made).suggest_float("x", 0, 1)
    return lease


def test_one_counter_a_population(study: optuna.Study) -> None:
    lease = population(study)
    lease.beat()
    lease.beat()
    found = [trial.user_attrs[names.LEASE] for trial in study.trials]
    assert found == [{"beat": 2}, {"lead": 0}, {"lead": 0}]
    assert [lead_of(trial) for trial in study.trials] == [0, 0, 0]
    assert {Worker.of(trial) for trial in study.trials} == {Worker.here()}


def test_a_counter_that_stands_still_has_run_out(study: optuna.Study, clock: Clock) -> None:
    lease, observer = population(study), Observer(60.0, clock)
    observer.note(running(study))
    for _ in range(30):
        clock.now += 10.0
        lease.beat()
        observer.note(running(study))
    assert gone(running(study), observer) == {}
    for seconds in (10, 20, 20, 9):  # since the last beat was seen
        clock.now += seconds
        observer.note(running(study))
    assert gone(running(study), observer) == {}
    clock.now += 1.0
    assert list(WorkQueue(study).reap(observer)) == [0, 1, 2]
    assert "unheard of for 60 s" in study.trials[1].user_attrs[names.REASON]
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [trial.user_attrs[names.RETRY_OF] for trial in waiting] == [0, 1, 2]
    lease.beat()
    assert lease.lost


def test_whoever_was_away_does_not_judge_by_one_look(study: optuna.Study, clock: Clock) -> None:
    population(study)
    observer = Observer(60.0, clock)
    observer.note(running(study))
    clock.now += 1000.0  # this process was stopped, or waited for the storage, as the others did
    observer.note(running(study))
    assert gone(running(study), observer) == {}
    clock.now += 30.0
    observer.note(running(study))
    assert len(gone(running(study), observer)) == 3


def test_two_observers_fail_a_trial_once(study: optuna.Study, clock: Clock) -> None:
    population(study)
    observers = [Observer(60.0, clock) for _ in range(2)]
    for _ in range(4):
        for observer in observers:
            observer.note(running(study))
        clock.now += 30.0
    assert [len(WorkQueue(study).reap(observer)) for observer in observers] == [3, 0]
    assert len(study.get_trials(states=(TrialState.WAITING,))) == 3


def test_a_debt_that_nobody_pays_is_paid(study: optuna.Study, clock: Clock) -> None:
    population(study, 1)
    WorkQueue(study).interrupt(study.trials[0], "by a process that died")
    observer = Observer(60.0, clock)
    assert WorkQueue(study).reap(observer) == []
    assert not study.get_trials(states=(TrialState.WAITING,))
    clock.now += 3.0
    WorkQueue(study).reap(observer)
    assert len(study.get_trials(states=(TrialState.WAITING,))) == 1


def test_strangers_are_left_alone(study: optuna.Study, clock: Clock) -> None:
    study.ask().suggest_float("x", 0, 1)  # of another objective
    study.ask()  # asked and nothing more: of a process that died in that instant
    observer = Observer(60.0, clock)
    for _ in range(4):
        observer.note(running(study))
        clock.now += 30.0
    assert [ours(trial) for trial in running(study)] == [False, True]
    assert WorkQueue(study).reap(observer) == [1]
    assert not study.get_trials(states=(TrialState.WAITING,))


def test_workers_as_a_table(study: optuna.Study, clock: Clock) -> None:
    mine = population(study)
    dead = Lease(study)
    WorkQueue(study, dead).reserve(2)
    elsewhere = msgspec.structs.replace(Worker.here(), host="elsewhere", pid=1)
    for trial in running(study)[3:]:
        study._storage.set_trial_user_attr(
            trial._trial_id, names.WORKER, msgspec.to_builtins(elsewhere)
        )
    mine.beat()
    first, second = workers(study)
    assert (first.numbers, first.beat, first.alive) == ((0, 1, 2), 1, True)
    assert (second.worker, second.numbers, second.alive) == (elsewhere, (3, 4), None)
    observer = Observer(60.0, clock)
    for _ in range(4):
        mine.beat()
        found = workers(study, observer)
        clock.now += 30.0
    assert [one.alive for one in found] == [True, False]
    assert found[1].still == 60.0 + 30.0


def test_a_worker_in_another_container_is_another_machine() -> None:
    here = Worker.here()
    assert here.alive()
    assert msgspec.structs.replace(here, space="pid:[1]").alive() is None
    assert msgspec.structs.replace(here, began="1").alive() is False


@pytest.mark.parametrize("seconds", [0, 0.5, float("inf"), float("nan"), "60", True])
def test_a_lease_that_is_no_time(seconds: object) -> None:
    with pytest.raises(ValueError, match="`lease` must be at least 1 second"):
        check_lease(seconds)  # type: ignore[arg-type]


def test_beats_go_on_where_the_storage_is_away_and_hide_no_other_error(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfopt.distributed.lease.BEATS", 1000)
    errors = [ZeroDivisionError("a mistake"), OSError(5, "away")]

    def beat() -> None:
        raise errors.pop()

    lease = Lease(study, 1.0)
    monkeypatch.setattr(lease, "beat", beat)
    with pytest.raises(ZeroDivisionError):
        lease._run()
    assert errors == []


def test_beats_end_with_their_study(study: optuna.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfopt.distributed.lease.BEATS", 1000)
    lease = population(study)
    optuna.delete_study(study_name=study.study_name, storage=study._storage)
    lease._thread.start()
    lease._thread.join(timeout=20)
    ended = not lease._thread.is_alive()
    lease._over.set()
    assert ended
