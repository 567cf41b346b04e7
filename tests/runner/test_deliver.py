"""The end of a search: what is mixed, what is scored, what stays, and what if files are gone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from small_study import LIMITS, RECIPES

from nfopt import attributes as names
from nfopt.events import Event, Mixed, Notice, Training
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.model.mixture import choose_mixture, flow_shares, merge
from nfopt.runner import deliver as end
from nfopt.study.dataset import Source
from nfopt.study.results import SearchResult, member_scores, mixture, score_of
from nfopt.study.stacks import FEW_STEPS
from nfopt.study.weights import kept_flow

Search = Callable[..., SearchResult]


def files(url: str) -> dict[str, Path]:
    folder = Path(url.removeprefix("sqlite:///")).parent / "artifacts"
    return {path.name: path for path in folder.rglob("weights-*")}


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def mixed(events: list[Event]) -> Mixed:
    (found,) = [event for event in events if isinstance(event, Mixed)]
    return found


def test_the_mixture_is_that_of_the_kept_flows_on_validation_rows(
    search: Search, url: str, source: Source, events: list[Event]
) -> None:
    result = search(trials=8, storage=url)
    part = source.data.parts[1]
    trials = sorted(result.study.trials, key=lambda trial: (trial.value, trial.number))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    flows = [kept_flow(result.study, trial.number) for trial in trials]
    scores = torch.stack([mixture(member_scores(flow, part)) for flow in flows])
    picked = choose_mixture(scores, 8)
    told = mixed(events)
    assert {trials[row].number: times for row, times in picked.items()} == dict(
        zip(told.numbers, told.times, strict=True)
    )
    best = score_of(mixture(scores[list(picked)], flow_shares(picked)), part)
    assert result.validation_nll == pytest.approx(best.nll, abs=1e-5)
    loaded = Flow.load(result.out)
    own = score_of(mixture(member_scores(loaded, part), loaded.shares), part)
    assert own.nll == pytest.approx(result.validation_nll, abs=1e-5)
    assert loaded.info["trials"] == list(told.numbers)


def test_a_merged_flow_counts_each_by_its_share(source: Source) -> None:
    flows = []
    for seed, recipe in enumerate(RECIPES):
        (stack,) = build([recipe.flow], torch.Generator().manual_seed(seed))
        flows.append(Flow.of(stack, source.data.preprocessing))
    both = merge(flows, [3, 1], "cpu")
    assert both.shares == (0.75, 0.25)
    rows = np.random.default_rng(0).normal(size=(5, 3))
    one, two = (flow.log_prob(rows) for flow in flows)
    wanted = np.logaddexp(one + np.log(0.75), two + np.log(0.25))
    np.testing.assert_allclose(both.log_prob(rows), wanted, atol=1e-5)
    again = merge([both, flows[0]], [1, 1], "cpu")
    assert again.shares == pytest.approx((0.375, 0.125, 0.5))


def test_a_file_that_is_broken_is_named_and_left_out(
    search: Search, url: str, events: list[Event]
) -> None:
    study = search(trials=8, storage=url, recipes=RECIPES[:1]).study
    worst = max(study.trials, key=lambda trial: trial.value)
    files(url)[worst.user_attrs[names.WEIGHTS]].write_bytes(b"nothing")
    events.clear()
    again = search(trials=8, storage=url, recipes=RECIPES[:1])
    assert worst.number not in mixed(events).numbers
    assert mixed(events).trained == 7
    said = f"The weights of trial {worst.number} can't be read"
    assert any(said in text for text in notices(events))
    assert any(said in line for line in again.warnings)
    assert not [event for event in events if isinstance(event, Training)]


def test_the_best_trial_is_trained_again_if_its_flow_is_gone(
    search: Search, url: str, events: list[Event]
) -> None:
    study = search(trials=8, storage=url).study
    best = study.best_trial
    files(url)[best.user_attrs[names.WEIGHTS]].unlink()
    events.clear()
    again = search(trials=8, storage=url)
    assert mixed(events).trained == 8
    assert {e.phase for e in events if isinstance(e, Training)} == {"retrain"}
    assert any(f"the flow of trial {best.number}, the best" in text for text in notices(events))
    assert again.validation_nll <= min(t.value for t in study.trials if t.number != best.number)


def test_flows_of_a_study_in_memory_are_mixed_too(search: Search, events: list[Event]) -> None:
    result = search(trials=8)
    assert mixed(events).trained == 8
    assert not any(names.WEIGHTS in trial.user_attrs for trial in result.study.trials)


def test_a_store_that_fails_leaves_a_mixture_of_what_is_in_memory(
    search: Search, url: str, events: list[Event], tmp_path: Path
) -> None:
    whole = search(trials=8)
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    events.clear()
    result = search(trials=8, storage=url, artifacts=blocked)
    assert mixed(events).trained == 8
    assert result.validation_nll == pytest.approx(whole.validation_nll, abs=1e-6)


def test_only_the_best_and_what_helps_most_stay(
    search: Search, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end, "BY_NLL", 2)
    monkeypatch.setattr(end, "BY_MIXTURE", 1)
    result = search(trials=8, storage=url, members=1)
    ranked = sorted(result.study.trials, key=lambda trial: (trial.value, trial.number))
    assert set(files(url)) == {trial.user_attrs[names.WEIGHTS] for trial in ranked[:2]}


@pytest.mark.parametrize("minutes", [None, 0.05])
def test_several_objectives_are_mixed_by_their_nll(
    search: Search, events: list[Event], minutes: float | None
) -> None:
    more: dict[str, Any] = {"minutes": minutes} if minutes else {"trials": 5}
    result = search(objectives=["parameters", "nll"], limits=LIMITS, **more)
    assert {t.state for t in result.study.trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    lowest = min(trial.values[1] for trial in result.study.trials if trial.values)
    assert result.validation_nll <= lowest + 1e-5


def test_trials_of_others_do_not_disturb(search: Search, url: str) -> None:
    study = search(trials=4, storage=url).study
    other = optuna.load_study(study_name="small", storage=url)
    other.add_trial(optuna.trial.create_trial(value=-1e6))
    assert study is not None
    assert search(trials=6, storage=url).validation_nll > -1e6


@pytest.mark.parametrize("minutes", [1e-5, 1e-4])
def test_however_short_a_search_is_nothing_untrained_is_delivered(
    search: Search, minutes: float
) -> None:
    result = search(minutes=minutes)
    assert min(result.flow.info["steps"]) >= FEW_STEPS
    assert result.left_out
