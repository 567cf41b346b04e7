"""What was interrupted goes on from its checkpoint, as if nothing had been."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from small_study import RECIPES

from nfopt import attributes as names
from nfopt.attributes import KIN as BEGAN_FROM
from nfopt.distributed.queue import WorkQueue
from nfopt.events import BatchTold, Event, Mixed, Notice, Training
from nfopt.study.create import load_study
from nfopt.study.dataset import Source
from nfopt.study.ranking import ranked
from nfopt.study.results import SearchResult, member_scores, mixture, score_of
from nfopt.study.weights import kept_flow

Search = Callable[..., SearchResult]
ONE = RECIPES[:1]  # so that four trials are one population
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def checkpoints(url: str) -> list[Path]:
    folder = Path(url.removeprefix("sqlite:///")).parent / "artifacts"
    return sorted(folder.rglob("checkpoint-*"))


def finished(study: optuna.Study) -> list[tuple[Any, ...]]:
    """All that must be equal, of the results in their order."""
    return [
        (
            trial.state,
            trial.values,
            trial.params,
            trial.intermediate_values,
            *(trial.user_attrs.get(n) for n in (names.SEED, names.SPEC, names.FIDELITY)),
        )
        for trial in study.get_trials(deepcopy=False, states=COUNTED)
    ]


class Interrupt:
    """Stops a search at a step of its training."""

    def __init__(self, events: list[Event], step: int) -> None:
        self._events, self._step = events, step
        self.asked = False

    def tell(self, event: Event) -> None:
        self._events.append(event)
        if isinstance(event, Training) and event.phase == "search":
            time.sleep(0.21)  # training asks five times a second
            self.asked |= event.step >= self._step

    def __call__(self) -> bool:
        return self.asked


def interrupted(search: Search, url: str, events: list[Event], step: int = 4) -> optuna.Study:
    stop = Interrupt(events, step)
    with pytest.raises(KeyboardInterrupt):
        search(trials=4, storage=url, recipes=ONE, on_event=stop.tell, should_stop=stop)
    return load_study("small", url)


@pytest.mark.parametrize("step", [1, 4])  # before the first rung, and after it
def test_a_continued_run_equals_an_uninterrupted_one(
    search: Search, url: str, events: list[Event], step: int
) -> None:
    whole = search(trials=4, recipes=ONE)
    study = interrupted(search, url, events, step)
    assert len(checkpoints(url)) == 2
    (lead,) = [t for t in study.trials if names.CHECKPOINT in t.user_attrs]
    assert lead.number == 0
    steps: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, Training) and event.phase == "search":
            steps.append(event.step)

    again = search(trials=4, storage=url, recipes=ONE, on_event=note)
    assert again.trials == 4
    assert min(steps) >= step
    found = sorted(finished(again.study), key=lambda one: one[4])
    assert found == sorted(finished(whole.study), key=lambda one: one[4])
    assert checkpoints(url) == []


def test_a_checkpoint_that_is_broken_is_set_aside(
    search: Search, url: str, events: list[Event]
) -> None:
    whole = search(trials=4, recipes=ONE)
    interrupted(search, url, events)
    (weights,) = [path for path in checkpoints(url) if path.suffix == ".safetensors"]
    weights.write_bytes(weights.read_bytes()[:-100])
    events.clear()
    again = search(trials=4, storage=url, recipes=ONE)
    (said,) = [text for text in notices(events) if "checkpoint" in text]
    assert "can't be used and is set aside" in said
    assert again.trials == 4
    # it began anew, with the same flows and seeds
    found = {(one[4], one[5]) for one in finished(again.study)}
    assert found == {(one[4], one[5]) for one in finished(whole.study)}


def test_an_older_population_that_began_ahead_is_not_gone_on_with(
    search: Search, url: str, events: list[Event]
) -> None:
    """Its trials come back with the same flows, and train from the start."""
    stop = Interrupt(events, step=4)

    def tell(event: Event) -> None:
        stop.tell(event)
        study = load_study("small", url)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            optuna.Trial(study, trial._trial_id).set_user_attr(BEGAN_FROM, "warm")

    with pytest.raises(KeyboardInterrupt):
        search(trials=4, storage=url, recipes=ONE, on_event=tell, should_stop=stop)
    assert checkpoints(url)
    steps: list[int] = []

    def note(event: Event) -> None:
        events.append(event)
        if isinstance(event, Training) and event.phase == "search":
            steps.append(event.step)

    again = search(trials=4, storage=url, recipes=ONE, on_event=note)
    assert again.trials == 4
    assert min(steps) < 4
    assert any("set aside" in text for text in notices(events))
    retried = [t for t in again.study.trials if names.RETRY_OF in t.user_attrs]
    assert retried
    assert not any(BEGAN_FROM in trial.user_attrs for trial in retried)


def test_a_study_of_an_older_version_whose_best_trial_began_ahead(
    search: Search, url: str, events: list[Event]
) -> None:
    """It is read, resumed and delivered; that trial is counted and never the best."""
    search(trials=4, storage=url, recipes=ONE)
    study = load_study("small", url)
    study.set_user_attr("nfopt:warm_children", value=True)
    ahead = create_trial(
        value=-1e6,
        params=study.trials[1].params,
        distributions=study.trials[1].distributions,
        user_attrs={
            **study.trials[1].user_attrs, BEGAN_FROM: "warm", "nfopt:warm_from": 0
        },
        intermediate_values={25: -1e6},
    )  # fmt: skip
    study.add_trial(ahead)
    result = search(trials=9, storage=url, recipes=ONE)
    assert result.trials == 9
    best = ranked(result.study)
    assert 4 not in [trial.number for trial in best]
    assert best[0].values[0] > -1e6
    told = [event.best_nll for event in events if isinstance(event, BatchTold)]
    assert all(nll is None or nll > -1e6 for nll in told)
    chosen = [event for event in events if isinstance(event, Mixed)]
    assert chosen
    assert all(4 not in event.numbers for event in chosen)


def test_a_checkpoint_that_is_not_there_begins_anew(
    search: Search, url: str, events: list[Event]
) -> None:
    interrupted(search, url, events)
    for path in checkpoints(url):
        path.unlink()
    events.clear()
    assert search(trials=4, storage=url, recipes=ONE).trials == 4
    assert any("not found" in text for text in notices(events))


def test_a_store_that_cannot_be_written_is_one_line(
    search: Search, url: str, events: list[Event], tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    result = search(trials=8, storage=url, artifacts=blocked)
    assert result.trials == 8
    (said,) = [text for text in notices(events) if "checkpoints" in text]
    assert "the search goes on" in said
    assert "\n" not in said


def test_a_late_worker_gives_up_and_its_results_do_not_count(
    search: Search, url: str, events: list[Event]
) -> None:
    taken: list[int] = []

    def take_over(event: Event) -> None:
        events.append(event)
        if isinstance(event, Training) and event.phase == "search" and not taken:
            study = load_study("small", url)  # as another process would
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                WorkQueue(study).interrupt(trial, "its lease ran out")
                taken.append(trial.number)
            WorkQueue(study).requeue()

    result = search(trials=4, storage=url, recipes=ONE, on_event=take_over)
    assert taken == [0, 1, 2, 3]
    trials = result.study.trials
    assert [trials[number].state for number in taken] == [TrialState.FAIL] * 4
    assert not any(trials[number].values for number in taken)
    assert result.trials == 4
    again = [t.user_attrs.get(names.RETRY_OF) for t in trials[4:]]
    assert again == [0, 1, 2, 3]


def test_what_was_trained_is_kept(search: Search, url: str, source: Source) -> None:
    result = search(trials=16, storage=url)
    folder = Path(url.removeprefix("sqlite:///")).parent / "artifacts"
    kept = {path.name for path in folder.rglob("weights-*")}
    trials = result.study.get_trials(deepcopy=False, states=COUNTED)
    assert kept == {trial.user_attrs[names.WEIGHTS] for trial in trials}
    assert {trial.state for trial in trials} == set(COUNTED)
    part = source.data.parts[1]
    for trial in trials:
        flow = kept_flow(result.study, trial.number)
        nll = score_of(mixture(member_scores(flow, part)), part).nll
        assert nll == pytest.approx(trial.value, abs=1e-5)
        assert flow.info["trial"] == trial.number
    with pytest.raises(ValueError, match="no weights that were kept"):
        kept_flow(result.study, 999)


def test_data_in_memory_is_kept_for_others(search: Search, url: str, tmp_path: Path) -> None:
    search(trials=1, storage=url)
    known = load_study("small", url).user_attrs
    assert known[names.KEPT] == str(tmp_path / "out" / "data.npz")
    with np.load(known[names.KEPT], allow_pickle=False) as file:
        plain = json.loads(file["nfopt"].tobytes())
    assert plain["fingerprint"] == known[names.DATA]["fingerprint"]
