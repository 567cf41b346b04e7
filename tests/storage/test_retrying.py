"""Optuna's own conformance kit on every kind of storage that we open, and storages that fail."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import DuplicatedStudyError, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from nfopt.errors import StudyWarning
from nfopt.storage.backoff import StorageAway
from nfopt.storage.open import open_storage
from nfopt.storage.retrying import PatientStorage

MINIMIZE = [StudyDirection.MINIMIZE]
KINDS = {
    "sqlite": lambda folder: open_storage(f"sqlite:///{folder}/new/study.db"),
    "journal": lambda folder: open_storage(f"journal:///{folder}/new/study.log"),
}


@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.slow), "journal"])
class TestKit(StorageTestCase):
    """Every storage is a first-class one for Optuna; see also tests marked postgres."""

    @pytest.fixture
    def storage(self, kind: str, tmp_path: Path) -> BaseStorage:
        return KINDS[kind](tmp_path)


class Flaky(InMemoryStorage):
    """Fails as often as it is told to, before or after the work is done.

    Attributes:
        lost: Calls of a method that fail, by its name; the work of "+name" is done all the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost: dict[str, int] = {}
        self.error: Callable[[], Exception] = lambda: TimeoutError(110, "timed out")
        self.calls: list[str] = []


def _flaky(name: str) -> Any:
    def method(self: Flaky, *args: Any, **more: Any) -> Any:
        self.calls.append(name)
        if self.lost.get(name, 0) > 0:
            self.lost[name] -= 1
            raise self.error()
        answer = getattr(InMemoryStorage, name)(self, *args, **more)
        if self.lost.get("+" + name, 0) > 0:
            self.lost["+" + name] -= 1
            raise self.error()
        return answer

    return method


METHODS = sorted(BaseStorage.__abstractmethods__)
for method in METHODS:
    setattr(Flaky, method, _flaky(method))
Flaky.__abstractmethods__ = frozenset()


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


@pytest.fixture
def heard() -> list[str]:
    return []


@pytest.fixture
def patient(
    flaky: Flaky, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[PatientStorage]:
    monkeypatch.setattr("nfopt.storage.backoff.PAUSES", (0.001, 0.01))
    monkeypatch.setattr("nfopt.storage.backoff.QUIET", 0.02)
    return PatientStorage(flaky, patience=5.0, on_wait=heard.append)


def arguments(storage: BaseStorage) -> dict[str, tuple[Any, ...]]:
    """Arguments for every method, on a study with a running trial."""
    study_id = storage.create_new_study(MINIMIZE, "s")
    trial_id = storage.create_new_trial(study_id)
    return {
        "create_new_study": (MINIMIZE, "another"),
        "create_new_trial": (study_id,),
        "get_all_studies": (),
        "get_all_trials": (study_id,),
        "get_study_id_from_name": ("s",),
        "get_trial": (trial_id,),
        "get_trial_id_from_study_id_trial_number": (study_id, 0),
        "set_study_system_attr": (study_id, "key", 1),
        "set_study_user_attr": (study_id, "key", 1),
        "set_trial_intermediate_value": (trial_id, 5, 1.0),
        "set_trial_param": (trial_id, "x", 0.5, FloatDistribution(0, 1)),
        "set_trial_state_values": (trial_id, TrialState.COMPLETE, [1.0]),
        "set_trial_system_attr": (trial_id, "key", 1),
        "set_trial_user_attr": (trial_id, "key", 1),
        "delete_study": (study_id,),
        "get_study_directions": (study_id,),
        "get_study_name_from_id": (study_id,),
        "get_study_system_attrs": (study_id,),
        "get_study_user_attrs": (study_id,),
    }


@pytest.mark.parametrize("when", ["", "+"])
@pytest.mark.parametrize("name", METHODS)
def test_every_call_is_made_again(
    name: str,
    when: str,
    flaky: Flaky,
    patient: PatientStorage,
    heard: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nfopt.storage.backoff.QUIET", 60.0)  # not reached on a busy machine either
    other = InMemoryStorage()
    given, expected = arguments(patient)[name], arguments(other)[name]
    flaky.lost[when + name] = 3
    before = len(flaky.calls)
    answer = getattr(patient, name)(*given)
    assert flaky.lost[when + name] <= (0 if when == "" else 2)
    assert len(flaky.calls) > before + 1
    wanted = getattr(other, name)(*expected)
    assert type(answer) is type(wanted)
    # what is stored is what one call without failures stores
    for storage in (flaky, other):
        storage.lost = {}  # type: ignore[attr-defined]
    stored = [_all_of(storage) for storage in (flaky, other)]
    assert stored[0] == stored[1]
    assert not heard  # the wait was shorter than what is reported


def _all_of(storage: BaseStorage) -> list[Any]:
    return [
        (
            study.study_name,
            study.user_attrs,
            study.system_attrs,
            [
                (t.number, t.state, t.values, t.params, t.user_attrs, t.intermediate_values)
                for t in storage.get_all_trials(study._study_id)
            ],
        )
        for study in storage.get_all_studies()
    ]


def test_a_queued_trial_whose_answer_was_lost_is_queued_once(
    flaky: Flaky, patient: PatientStorage
) -> None:
    study = optuna.create_study(storage=patient)
    flaky.lost["+create_new_trial"] = 1
    study.enqueue_trial({"x": 0.5})
    assert [trial.state for trial in study.trials] == [TrialState.WAITING]


def test_a_trial_told_twice_is_told_once(flaky: Flaky, patient: PatientStorage) -> None:
    study = optuna.create_study(storage=patient)
    trial = study.ask()
    flaky.lost["+set_trial_state_values"] = 1
    study.tell(trial, 1.5)
    assert study.trials[0].value == 1.5


def test_what_another_one_has_told_is_not_taken_for_ours(
    flaky: Flaky, patient: PatientStorage
) -> None:
    study = optuna.create_study(storage=patient)
    trial = study.ask()
    real = flaky.error

    def meanwhile() -> Exception:
        InMemoryStorage.set_trial_state_values(flaky, trial._trial_id, TrialState.FAIL)
        return real()

    flaky.error = meanwhile
    flaky.lost["set_trial_state_values"] = 1
    with pytest.raises(UpdateFinishedTrialError):
        patient.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [1.5])
    assert study.trials[0].state is TrialState.FAIL


def test_a_study_with_that_name_of_another_one_is_not_ours(
    flaky: Flaky, patient: PatientStorage
) -> None:
    flaky.lost["create_new_study"] = 1
    study_id = InMemoryStorage.create_new_study(flaky, MINIMIZE, "s")
    InMemoryStorage.create_new_trial(flaky, study_id)
    with pytest.raises(DuplicatedStudyError):
        patient.create_new_study(MINIMIZE, "s")


def test_strays_of_what_optuna_repeats_by_itself_are_failed() -> None:
    failures = iter([0, 1])
    inner = InMemoryStorage()

    class Twice(InMemoryStorage):
        def create_new_trial(self, study_id: int, template_trial: Any = None) -> int:
            super().create_new_trial(study_id, template_trial)  # its answer was lost
            return super().create_new_trial(study_id, template_trial)

    inner = Twice()
    patient = PatientStorage(inner, failures=lambda: next(failures))
    study_id = patient.create_new_study(MINIMIZE)
    trial_id = patient.create_new_trial(study_id)
    states = {trial._trial_id: trial.state for trial in patient.get_all_trials(study_id)}
    assert len(states) == 2
    assert states.pop(trial_id) is TrialState.RUNNING
    assert set(states.values()) == {TrialState.FAIL}


def test_a_trial_begun_before_a_restart_takes_parameters(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    before = open_storage(url)
    trial = before.create_new_trial(before.create_new_study(MINIMIZE, "s"))
    after = open_storage(url)  # a server that was killed and started anew has read nothing yet
    after.set_trial_param(trial, "x", 0.25, FloatDistribution(0, 1))
    assert before.get_trial(trial).params == {"x": 0.25}
    with pytest.raises(ValueError, match="distribution"):
        after.set_trial_param(trial, "x", 0, CategoricalDistribution([1, 2]))
    with pytest.raises(KeyError):
        after.set_trial_param(trial + 1, "x", 0.25, FloatDistribution(0, 1))


def test_two_that_begin_at_once_are_not_each_other(patient: PatientStorage, flaky: Flaky) -> None:
    study_id = patient.create_new_study(MINIMIZE)
    first = patient.create_new_trial(study_id)
    flaky.lost["create_new_trial"] = 1
    assert patient.create_new_trial(study_id) != first
    times = {trial.datetime_start for trial in patient.get_all_trials(study_id)}
    assert len(times) == 2
    assert all(isinstance(begun, datetime) for begun in times)


def test_it_is_said_once_that_it_is_away_and_once_that_it_is_back(
    flaky: Flaky, patient: PatientStorage, heard: list[str]
) -> None:
    patient.create_new_study(MINIMIZE, "s")
    flaky.lost["get_all_studies"] = 12
    patient.get_all_studies()
    assert len(heard) == 2
    assert heard[0].startswith("storage Flaky is away, waiting up to 0.0833 minutes (timed out")
    assert heard[1].startswith("storage Flaky is back after ")
    flaky.lost["get_all_studies"] = 12
    patient.get_all_studies()
    assert len(heard) == 4
    patient.listen()
    flaky.lost["get_all_studies"] = 12
    with pytest.warns(StudyWarning, match="is away"):
        patient.get_all_studies()


def test_patience_ends(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfopt.storage.backoff.PAUSES", (0.001, 0.01))
    patient = PatientStorage(flaky, patience=0.2, on_wait=print)
    flaky.lost["get_all_studies"] = 10**9
    began = time.monotonic()
    with pytest.raises(StorageAway, match=r"is away since \d+ seconds: timed out"):
        patient.get_all_studies()
    assert 0.1 < time.monotonic() - began < 3


def test_a_wait_can_be_interrupted(flaky: Flaky, patient: PatientStorage) -> None:
    class Stop:
        reason = "SIGTERM"

        def __init__(self) -> None:
            self.asked = 0

        def __call__(self) -> bool:
            self.asked += 1
            return self.asked > 3

    patient.listen(should_stop=Stop())
    flaky.lost["get_all_studies"] = 10**9
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        patient.get_all_studies()
    assert time.monotonic() - began < 3
    before = flaky.lost["get_all_studies"]
    with pytest.raises(KeyboardInterrupt):
        patient.get_all_studies()
    assert flaky.lost["get_all_studies"] == before - 1  # no second attempt


@pytest.mark.parametrize(
    "error", [KeyError("no such study"), ValueError("does not fit"), UpdateFinishedTrialError("x")]
)
def test_an_answer_is_no_trouble(flaky: Flaky, patient: PatientStorage, error: Exception) -> None:
    flaky.error = lambda: error
    flaky.lost["get_all_studies"] = 1
    with pytest.raises(type(error)) as caught:
        patient.get_all_studies()
    assert caught.value is error


def test_what_waiting_does_not_help_is_one_line_at_once(
    flaky: Flaky, patient: PatientStorage
) -> None:
    flaky.error = lambda: OSError(28, "No space left on device", "/data/study.log")
    flaky.lost["get_all_studies"] = 1
    with pytest.raises(StorageInternalError, match=r"No space left on device: '/data/study.log'"):
        patient.get_all_studies()
    assert flaky.lost["get_all_studies"] == 0
