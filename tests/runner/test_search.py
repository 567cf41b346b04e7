"""The whole: budgets, repeatability, first trials, rungs, retraining, what is saved."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from small_study import BEST, RECIPES, STEPS, TRAIN, flow, table

from nfopt import attributes as names
from nfopt.errors import StudyError
from nfopt.events import BatchTold, Done, Event, Finalists, Notice, RungReached, Training
from nfopt.model import Flow
from nfopt.runner import trainer
from nfopt.spec import Autoregressive, Conditioner, Elementwise, FlowSpec, Recipe, Spline
from nfopt.stored import recipe_of
from nfopt.study import rows
from nfopt.study.dataset import Source, read
from nfopt.study.length import FINALISTS, TRIAL_SHARE
from nfopt.study.results import SearchResult
from nfopt.study.stacks import train_stack

Search = Callable[..., SearchResult]
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def told(trial: FrozenTrial) -> tuple[Any, ...]:
    """All of a trial that must be the same in the same study."""
    known = {k: v for k, v in trial.user_attrs.items() if k not in (names.SECONDS, names.WORKER)}
    return trial.number, trial.state, trial.values, trial.params, trial.intermediate_values, known


def test_a_search_from_end_to_end(
    search: Search, events: list[Event], source: Source, tmp_path: Path
) -> None:
    result = search(trials=18)
    assert result.trials == 18
    states = [trial.state for trial in result.study.trials]
    assert set(states) <= set(COUNTED)
    assert TrialState.PRUNED in states

    # the recipes lead the first populations, and the best one is trained to its end
    first = result.study.trials[0]
    assert recipe_of(first).flow == BEST.flow
    assert recipe_of(first).marginals == BEST.marginals
    assert first.state is TrialState.COMPLETE
    assert FlowSpec.from_json(result.study.trials[5].user_attrs[names.SPEC]) == RECIPES[1].flow

    # populations of equal shape
    batches = of(events, BatchTold)
    assert [sum(event.groups) for event in batches] == [5, 5, 5, 3]
    assert all(len(event.groups) == 1 for event in batches)
    assert [event.trials for event in batches] == [5, 10, 15, 18]
    assert result.mean_group == 4.5

    # rungs at 25 and 50 percent, pruned ones have the value of their rung
    assert {event.fraction for event in of(events, RungReached)} == {0.25, 0.5}
    for trial in result.study.trials:
        if trial.state is TrialState.PRUNED:
            assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]
            assert trial.user_attrs[names.FIDELITY] < TRIAL_SHARE
        else:
            assert sorted(trial.intermediate_values) == [25, 50, 100]
            assert trial.user_attrs[names.FIDELITY] == TRIAL_SHARE

    # finalists: the best, distinct, the recipe among them
    (finalists,) = of(events, Finalists)
    assert 0 in finalists.numbers
    assert 2 <= len(finalists.numbers) <= FINALISTS + 1
    assert len(set(finalists.numbers)) == len(finalists.numbers)
    assert result.number in finalists.numbers

    # saved, and scored on the data's own scale
    assert result.out == tmp_path / "out"
    saved = Flow.load(result.out)
    table_values = source.data.preprocessing.inverse(source.data.test.astype(float))
    nll = -float(np.mean(saved.log_prob(table_values)))
    assert nll == pytest.approx(result.test_nll, abs=1e-4)
    assert saved.info["trial"] == result.number
    assert saved.info["fingerprint"] == source.data.fingerprint
    assert saved.info["scores"]["test_nll"] == result.test_nll
    (done,) = of(events, Done)
    assert done.test_nll == result.test_nll
    told_json = json.loads(json.dumps(result.to_dict()))
    assert told_json["best"] == {
        "number": result.number,
        "validation_nll": result.validation_nll,
    }
    assert {"study", "trials", "test_nll", "test_nll_2se", "parameters", "seconds", "out"} <= set(
        told_json
    )
    assert of(events, Training)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_gives_the_same_study(search: Search, sampler: str) -> None:
    def run(seed: int = 0, **more: Any) -> SearchResult:
        storage = optuna.storages.InMemoryStorage()
        return search(trials=14, storage=storage, seed=seed, sampler=sampler, **more)

    first, again, other = run(), run(), run(seed=1)
    assert [told(t) for t in first.study.trials] == [told(t) for t in again.study.trials]
    assert first.test_nll == again.test_nll
    assert first.number == again.number
    assert [t.params for t in first.study.trials] != [t.params for t in other.study.trials]


def test_the_budget_is_met_exactly_over_resumes(search: Search, url: str) -> None:
    numbers = []
    for trials in (3, 3, 9):
        result = search(trials=trials, storage=url, sampler="random")  # others evaluate again
        assert result.trials == trials
        numbers.append(len(result.study.trials))
    assert numbers == [3, 3, 9]
    params = [tuple(sorted(trial.params.items())) for trial in result.study.trials]
    assert len(set(params)) == len(params), "a resumed study repeats itself"


def test_failures_do_not_count(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def flaky(*arguments: Any, **more: Any) -> Any:
        stack, results = train_stack(*arguments, **more)
        calls.append(len(results))
        if len(calls) == 1:
            results[1] = type(results[1])(**(vars(results[1]) | {"nll": math.nan}))
            results[2] = type(results[2])(
                **(vars(results[2]) | {"status": "complete", "round_trip": 1.0})
            )
        return stack, results

    monkeypatch.setattr(trainer, "train_stack", flaky)
    result = search(trials=8)
    states = [trial.state for trial in result.study.trials]
    assert result.trials == 8
    assert states.count(TrialState.FAIL) == len(states) - 8 > 0


def test_a_search_in_which_all_fails_ends(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **more: Any) -> Any:
        stack, results = train_stack(*arguments, **more)
        bad = {"status": "failed", "reason": "weights not finite at step 3"}
        return stack, [type(r)(**(vars(r) | bad)) for r in results]

    monkeypatch.setattr(trainer, "train_stack", broken)
    with pytest.raises(StudyError, match=r"failed altogether.*not finite at step 3"):
        search(trials=8)


def test_a_bug_leaves_no_trial_running(
    search: Search, memory: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(trainer, "train_stack", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        search(trials=8)
    study = optuna.load_study(study_name="small", storage=memory)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
    assert "a bug" in study.trials[0].user_attrs[names.REASON]


def test_minutes_bound_the_whole_call(search: Search, events: list[Event]) -> None:
    slow = TRAIN.__class__(steps=100_000, batch_size=64)
    recipes = [Recipe(each.flow, slow) for each in RECIPES]
    began = time.monotonic()
    result = search(minutes=0.08, recipes=recipes)
    taken = time.monotonic() - began
    assert 0.7 * 4.8 < taken < 1.1 * 4.8 + 0.5
    assert result.seconds == pytest.approx(taken, abs=0.3)
    states = {trial.state for trial in result.study.trials}
    assert TrialState.RUNNING not in states
    assert len(of(events, BatchTold)) >= 4
    length = result.study.user_attrs[names.POPULATION]
    assert length["seconds"] > 0
    for trial in result.study.get_trials(states=(TrialState.COMPLETE,)):
        assert trial.user_attrs[names.FIDELITY] < 1.0


def test_out_of_time_in_a_population(search: Search) -> None:
    """With steps that take too long, the population ends at its last rung, truthfully."""
    slow = TRAIN.__class__(steps=8000, batch_size=64)
    recipes = [Recipe(each.flow, slow) for each in RECIPES]
    result = search(trials=100, minutes=0.07, recipes=recipes)
    trials = result.study.trials
    assert not [trial for trial in trials if trial.state is TrialState.RUNNING]
    assert 0 < result.trials < 100 or result.trials == 0
    for trial in trials:
        if trial.user_attrs.get(names.REASON) == "out of time":
            assert trial.state is (
                TrialState.PRUNED if trial.intermediate_values else TrialState.FAIL
            )
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
    assert len(failed) == len(waiting)
    assert result.seconds < 8.0


def test_initial_flows_follow_the_best_recipe(search: Search) -> None:
    own = Recipe(flow("TCC", "CTT"), TRAIN)
    result = search(trials=10, initial=[own])
    led = [trial for trial in result.study.trials if names.FIRST in trial.user_attrs]
    assert [recipe_of(trial).flow for trial in led] == [BEST.flow, own.flow, RECIPES[1].flow]
    # a later call with others asks only those that are new
    other = Recipe(flow("TTC", "CCT"), TRAIN)
    again = search(trials=14, initial=[other]).study.trials[10:]
    assert [recipe_of(t).flow for t in again if names.FIRST in t.user_attrs] == [other.flow]


def test_limits_hold_for_recipes_too(search: Search, events: list[Event]) -> None:
    wide = Recipe(flow("CTC", "TCT", width=32), TRAIN)
    result = search(trials=5, recipes=[wide, *RECIPES])
    (finalists,) = of(events, Finalists)
    assert None not in finalists.numbers
    assert 0 in finalists.numbers
    assert recipe_of(result.study.trials[0]).flow == BEST.flow
    assert any("the best known recipe" in line for line in result.warnings)


def test_several_objectives_are_not_pruned(search: Search, events: list[Event]) -> None:
    result = search(trials=6, objectives=["nll", "parameters", "inverse_cost"])
    assert {trial.state for trial in result.study.trials} == {TrialState.COMPLETE}
    assert not of(events, RungReached)
    for trial in result.study.trials:
        assert trial.values[1] == trial.user_attrs[names.PARAMETERS]
        assert trial.values[2] == trial.user_attrs[names.COST_INVERSE]
    assert result.study.best_trials


def test_a_large_table_is_searched_on_a_part_and_retrained_on_all(
    search: Search, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def witness(*arguments: Any, **more: Any) -> Any:
        seen.append((arguments[3].rows, arguments[3].val_rows))
        return train_stack(*arguments, **more)

    monkeypatch.setattr(rows, "SEARCH_ROWS", 200)
    monkeypatch.setattr(rows, "SEARCH_VAL_ROWS", 50)
    monkeypatch.setattr(trainer, "train_stack", witness)
    source = read(table(1000), seed=0)
    result = search(trials=4, source=source)
    assert set(seen) == {(200, 50)}
    assert any("200 of 800 training rows" in event.text for event in of(events, Notice))
    assert any("200 of 800" in line for line in result.warnings)
    assert source.described["rows"] == [800, 100, 100]


def test_one_feature(search: Search) -> None:
    rng = np.random.default_rng(0)
    source = read(rng.gamma(2.0, size=(200, 1)), seed=0)
    best = Recipe(FlowSpec(features=1, layers=(Elementwise(map=Spline(4)),)), TRAIN)
    result = search(trials=4, source=source, recipes=[best], kind=None, limits={"depth": [1, 2]})
    assert result.trials == 4
    assert math.isfinite(result.test_nll)


def test_context(search: Search) -> None:
    source = read(table(), context=[0], seed=0)
    layers = (Autoregressive(order=(0, 1), conditioner=Conditioner(width=8)),)
    best = Recipe(FlowSpec(features=2, layers=layers, context_features=1), TRAIN)
    result = search(trials=4, source=source, recipes=[best], kind=None, limits={"depth": [1, 2]})
    assert result.flow.context_columns == ("x0",)
    assert math.isfinite(result.test_nll)


def test_steps_of_finalists_are_full(search: Search) -> None:
    result = search(trials=4)
    assert result.flow.info["steps"] == [STEPS]
