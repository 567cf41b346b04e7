"""How often a worker looks at a study, what it knows without, and what that saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState
from small_study import LIMITS
from study.test_candidate import result

from nfopt.attributes import KIN as BEGAN_FROM
from nfopt.distributed.queue import WorkQueue
from nfopt.runner.ask import Asker
from nfopt.runner.poll import Polling
from nfopt.space import SearchSpace
from nfopt.storage.open import open_storage
from nfopt.study.candidate import Candidate, tell
from nfopt.study.sampler import StudySampler

SPACE = SearchSpace.create(3, 240, kind="coupling", limits=LIMITS)


class Clock:
    """Goes on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def told(study: optuna.Study, *nlls: float) -> list[Candidate]:
    candidates = Asker(WorkQueue(study), SPACE, 0).population(len(nlls))
    for candidate, nll in zip(candidates, nlls, strict=True):
        tell(study, candidate, result(nll=nll))
    return candidates


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(sampler=StudySampler("random", 0, SPACE))


def test_what_a_worker_told_itself_needs_no_look(study: optuna.Study) -> None:
    polling = Polling(study)
    polling.poll()
    assert (polling.counted, polling.best, polling.made) == (0, None, 0)
    polling.add(told(study, 2.0, float("nan"), 1.0, 3.0))
    known = (polling.counted, polling.best, polling.made)
    assert known == (3, (2, 1.0), 4)
    polling.poll()
    assert known == (polling.counted, polling.best, polling.made)


def test_what_others_told_is_seen_at_a_look(study: optuna.Study) -> None:
    polling = Polling(study)
    polling.poll()
    told(study, 0.5)
    polling.add(told(study, 2.0))
    assert (polling.counted, polling.best, polling.made) == (1, (1, 2.0), 2)
    polling.poll()
    assert (polling.counted, polling.best, polling.made) == (2, (0, 0.5), 2)


def test_the_best_of_an_older_study_is_not_one_that_began_ahead(study: optuna.Study) -> None:
    polling = Polling(study)
    own, ahead = Asker(WorkQueue(study), SPACE, 0).population(2)
    ahead.trial.set_user_attr(BEGAN_FROM, "warm")
    for candidate, nll in ((own, 2.0), (ahead, 1.0)):
        tell(study, candidate, result(nll=nll))
    polling.poll()
    assert (polling.counted, polling.best) == (2, (0, 2.0))


def test_what_was_taken_over_is_not_counted(study: optuna.Study) -> None:
    (candidate,) = Asker(WorkQueue(study), SPACE, 0).population(1)
    WorkQueue(study).interrupt(candidate.trial, "gone")
    tell(study, candidate, result())
    polling = Polling(study)
    polling.add([candidate])
    assert candidate.lost
    assert (polling.counted, polling.best) == (0, None)


@pytest.mark.parametrize(("longest", "pause"), [(60.0, 10.0), (5.0, 5.0)])
def test_looks_take_a_tenth_of_the_time(study: optuna.Study, longest: float, pause: float) -> None:
    clock = Clock()
    polling = Polling(study, longest=longest, clock=clock)
    assert polling.due()
    polling.poll()
    began = clock.now
    while not polling.due():
        pass
    assert clock.now - began == pause


def test_a_begun_trial_is_what_optuna_makes_of_it(study: optuna.Study) -> None:
    queue = WorkQueue(study)
    (made,) = queue.reserve(1)
    ours, theirs = queue.start(made), optuna.Trial(study, made._trial_id)
    assert ours.__dict__.keys() == theirs.__dict__.keys()
    assert ours._cached_frozen_trial == theirs._cached_frozen_trial
    assert ours.number == theirs.number == made.number
    assert ours.suggest_float("x", 0, 1) == study.trials[0].params["x"]


def test_a_trial_costs_few_statements(tmp_path: Path) -> None:
    """11 parameters and 15 attributes are 52; 8 make and end a trial; and a little is read."""
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(storage=storage, sampler=StudySampler("random", 0, SPACE))
    queue, statements = WorkQueue(study, budget=1000), 0

    def note(*_: object) -> None:
        nonlocal statements
        statements += 1

    def population() -> int:
        candidates = Asker(queue, SPACE, 0).population(8)
        queue.lease.drop()
        for candidate in candidates:
            tell(study, candidate, result())
        return len(candidates[0].trial.params)

    population()
    sqlalchemy.event.listen(storage.inner._backend.engine, "before_cursor_execute", note)  # type: ignore[attr-defined]
    parameters = population()
    assert statements <= 8 * (2 * parameters + 2 * 15 + 10)
    assert all(trial.state is TrialState.COMPLETE for trial in study.trials)


def test_the_evolution_reads_the_study_once_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(sampler=StudySampler("evolution", 0, SPACE))
    told(study, *[1.0] * 8)
    reads, read = 0, study._storage.get_all_trials

    def note(*given: Any, **more: Any) -> list[FrozenTrial]:
        nonlocal reads
        reads += 1
        return read(*given, **more)

    monkeypatch.setattr(study._storage, "get_all_trials", note)
    assert len(Asker(WorkQueue(study), SPACE, 0).population(8)) == 8
    assert reads <= 8 + 2  # what waits, and the first one's own
