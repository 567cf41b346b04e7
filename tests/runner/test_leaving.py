"""Who leaves a study leaves nothing behind that will never train, and nothing that is still to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from small_study import RECIPES

from nfopt import attributes as names
from nfopt.distributed.queue import WorkQueue
from nfopt.runner.agenda import Agenda, Next
from nfopt.stored import space_of
from nfopt.study.create import load_study
from nfopt.study.results import SearchResult

Search = Callable[..., SearchResult]
ONE = RECIPES[:1]


def states(study: optuna.Study) -> Counter[TrialState]:
    return Counter(trial.state for trial in study.get_trials(deepcopy=False))


def test_a_met_budget_leaves_nothing_in_the_queue(search: Search, memory: BaseStorage) -> None:
    """A worker was killed right after it queued a trial again that another one had queued."""
    search(trials=2, recipes=ONE)
    study = load_study("small", memory)
    lost = study.ask(study.trials[1].distributions)
    queue = WorkQueue(study)
    queue.interrupt(lost, "its process was killed")
    queue.requeue()
    search(trials=3, recipes=ONE)
    study.enqueue_trial(lost.params, {names.RETRY_OF: lost.number})
    search(trials=3, recipes=ONE)
    assert states(study) == {TrialState.COMPLETE: 3, TrialState.FAIL: 2}


def test_what_comes_back_while_the_last_one_looks_is_trained(
    search: Search, memory: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker lets its trial go just after this one saw that only that one is missing."""
    search(trials=2, recipes=ONE)
    study = load_study("small", memory)
    queue = WorkQueue(study)
    (reserved,) = queue.reserve(1)
    other = queue.start(reserved)
    space_of("small", study.user_attrs).suggest(other)
    decide, waited = Agenda.decide, []

    def then_it_comes_back(agenda: Agenda, *arguments: object) -> Next:
        chosen = decide(agenda, *arguments)  # type: ignore[arg-type]
        if chosen.count == 0 and not waited:
            waited.append(other.number)
            queue.release([other], "interrupted (SIGTERM)")
        return chosen

    monkeypatch.setattr(Agenda, "decide", then_it_comes_back)
    search(trials=3, recipes=ONE)
    assert waited == [2]
    assert states(study)[TrialState.WAITING] == 0
    assert sum(states(study)[state] for state in (TrialState.COMPLETE, TrialState.PRUNED)) == 3
