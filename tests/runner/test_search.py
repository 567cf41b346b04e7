"""The whole: budgets, repeatability, first trials, rungs, retraining, what is saved."""

from __future__ import annotations

import json
import math
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
from nfopt.events import BatchTold, Done, Event, Mixed, Notice, RungReached, Training
from nfopt.model import Flow
from nfopt.runner import run, trainer
from nfopt.runner.budget import Pace
from nfopt.spec import Autoregressive, Conditioner, Elementwise, FlowSpec, Recipe, Spline
from nfopt.stored import recipe_of
from nfopt.study import rows
from nfopt.study.arguments import Budget
from nfopt.study.dataset import Source, read
from nfopt.study.length import MEMBERS
from nfopt.study.results import SearchResult, member_scores, mixture, score_of
from nfopt.study.stacks import train_bags
from nfopt.study.weights import kept_flow

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
    assert result.complete == states.count(TrialState.COMPLETE) > 0
    assert result.pruned == states.count(TrialState.PRUNED) > 0

    # the recipes lead the first populations
    first = result.study.trials[0]
    assert recipe_of(first).flow == BEST.flow
    assert recipe_of(first).marginals == BEST.marginals
    assert FlowSpec.from_json(result.study.trials[4].user_attrs[names.SPEC]) == RECIPES[1].flow

    # populations of equal shape
    batches = of(events, BatchTold)
    assert [sum(event.groups) for event in batches] == [4, 4, 4, 4, 2]
    assert all(len(event.groups) == 1 for event in batches)
    assert [event.trials for event in batches] == [4, 8, 12, 16, 18]
    assert result.mean_group == 3.6

    # rungs at an eighth, a quarter and half of the steps; pruned ones have the value of their rung
    assert {event.fraction for event in of(events, RungReached)} <= {0.125, 0.25, 0.5}
    for trial in result.study.trials:
        if trial.state is TrialState.PRUNED:
            assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]
            assert trial.user_attrs[names.FIDELITY] < 1.0
        else:
            assert sorted(trial.intermediate_values) == [12, 25, 50, 100]
            assert trial.user_attrs[names.FIDELITY] == 1.0

    # the mixture: of what was trained, nothing is trained again
    (mixed,) = of(events, Mixed)
    assert result.number == mixed.numbers[0]
    assert len(set(mixed.numbers)) == len(mixed.numbers) == len(result.flow) <= MEMBERS
    assert mixed.trained == 18, "pruned ones can stand in it, too"
    assert result.flow.shares in (None, tuple(t / sum(mixed.times) for t in mixed.times))
    assert {event.phase for event in of(events, Training)} == {"search"}
    assert result.validation_nll <= min(t.value for t in result.study.trials) + 1e-5

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
    validation = source.data.parts[1]
    again = score_of(mixture(member_scores(saved, validation), saved.shares), validation)
    assert again.nll == pytest.approx(result.validation_nll, abs=1e-5)
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
        stack, results = train_bags(*arguments, **more)
        calls.append(len(results))
        if len(calls) == 1:
            results[1] = type(results[1])(**(vars(results[1]) | {"nll": math.nan}))
            results[2] = type(results[2])(
                **(vars(results[2]) | {"status": "complete", "round_trip": 1.0})
            )
        return stack, results

    monkeypatch.setattr(trainer, "train_bags", flaky)
    result = search(trials=8)
    states = [trial.state for trial in result.study.trials]
    assert result.trials == 8
    assert states.count(TrialState.FAIL) == len(states) - 8 > 0


def test_a_search_in_which_all_fails_ends(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **more: Any) -> Any:
        stack, results = train_bags(*arguments, **more)
        bad = {"status": "failed", "reason": "weights not finite at step 3"}
        return stack, [type(r)(**(vars(r) | bad)) for r in results]

    monkeypatch.setattr(trainer, "train_bags", broken)
    with pytest.raises(StudyError, match=r"failed altogether.*not finite at step 3"):
        search(trials=8)


def test_a_bug_leaves_no_trial_running(
    search: Search, memory: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **more: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(trainer, "train_bags", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        search(trials=8)
    study = optuna.load_study(study_name="small", storage=memory)
    assert {trial.state for trial in study.trials} == {TrialState.FAIL}
    assert "a bug" in study.trials[0].user_attrs[names.REASON]


def test_minutes_bound_the_whole_call(search: Search, events: list[Event]) -> None:
    """Where not one training fits, the recipe is trained for as long as there is time."""
    slow = TRAIN.__class__(steps=100_000, batch_size=64, schedule="trapezoid")
    recipes = [Recipe(each.flow, slow) for each in RECIPES]
    result = search(minutes=0.05, recipes=recipes)
    assert result.seconds < 1.1 * 3.0 + 10.0
    (trial,) = result.study.trials
    assert trial.state in COUNTED
    assert recipe_of(trial).flow == BEST.flow
    assert trial.user_attrs[names.FIDELITY] < 1.0
    assert result.study.user_attrs[names.POPULATION] == {"size": 4, "steps": 30_000}


def test_minutes_end_with_further_seeds_of_the_best(search: Search) -> None:
    result = search(minutes=0.08)
    trials = result.study.get_trials(states=COUNTED)
    again = [trial for trial in trials if names.REPEATS in trial.user_attrs]
    assert again
    assert len({trial.user_attrs[names.SEED] for trial in trials}) == len(trials)
    alive = (TrialState.RUNNING, TrialState.WAITING)
    assert not result.study.get_trials(states=alive)


def test_out_of_time_after_a_rung_is_pruned_and_the_flow_is_kept(
    search: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.setattr(trainer.Trainer, "_seconds", lambda self: None)  # it is told too late
    monkeypatch.setattr(trainer.plan, "GRACE", 0.0)
    passed = []

    def late(self: trainer.Trainer) -> bool:
        passed.append(None)
        return any(len(c) > 0 for c in self.saving.asked.rungs) if self.saving else False

    monkeypatch.setattr(trainer.Trainer, "late", late)
    slow = TRAIN.__class__(steps=4000, batch_size=64)
    result = search(trials=2, storage=url, recipes=[Recipe(BEST.flow, slow)])
    assert passed
    for trial in result.study.trials:
        assert trial.state is TrialState.PRUNED
        assert trial.user_attrs[names.REASON] == "out of time"
        assert trial.user_attrs[names.FIDELITY] < 1.0
        assert names.WEIGHTS in trial.user_attrs
    assert math.isfinite(result.test_nll)


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


def test_a_large_table_is_searched_on_a_part(
    search: Search, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def witness(*arguments: Any, **more: Any) -> Any:
        seen.append(arguments[4].data.sizes[:2])
        return train_bags(*arguments, **more)

    monkeypatch.setattr(rows, "SEARCH_ROWS", 200)
    monkeypatch.setattr(rows, "SEARCH_VAL_ROWS", 50)
    monkeypatch.setattr(trainer, "train_bags", witness)
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


def test_members_bound_the_mixture(search: Search) -> None:
    result = search(trials=6, members=1)
    assert len(result.flow) == 1
    (nll,) = result.members
    assert nll == pytest.approx(result.test_nll)
    assert result.flow.info["steps"][0] <= STEPS
    assert set(result.costs) == {"score_1000", "sample_1000"}


def test_trials_of_few_rows_are_bags_of_one_flow_a_fold(
    search: Search, source: Source, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "_folds", lambda *given: 5)
    result = search(trials=4, members=MEMBERS, storage=url)
    trials = result.flow.info["trials"]
    assert trials == [number for number in trials[::5] for _ in range(5)]
    assert len(result.flow) in (5, 10)
    bags = rows.MappedRows(source.data, folds=5, seed=0)
    best = kept_flow(result.study, result.number)
    assert -float(bags.scores(best).mean()) == pytest.approx(
        result.study.trials[result.number].value, abs=1e-4
    )
    assert result.validation_nll <= min(t.value for t in result.study.trials) + 1e-6
    again = search(trials=5, members=MEMBERS, storage=url)  # what the study has fixed holds on
    assert len(again.flow) in (5, 10)


@pytest.mark.parametrize(
    ("given", "folds"),
    [
        ({}, 5),
        ({"members": 4}, 0),
        ({"pace": None}, 0),
        ({"pace": Pace(30.0, 30.0)}, 0),
        ({"at_random": False}, 0),
        ({"rows": 5000}, 0),
    ],
)
def test_folds_are_for_few_rows_that_were_split_at_random(
    given: dict[str, Any], folds: int
) -> None:
    known = {"members": 8, "pace": Pace(2.0, 1.0), "at_random": True, "rows": 300} | given
    data = read(table(known["rows"]), seed=0)
    data = Source(data.data, data.described, known["at_random"])
    seen = rows.MappedRows(data.data)
    found = run._folds(data, seen, Budget(minutes=1.0), known["pace"], known["members"])
    assert found == folds


def test_further_seeds_come_to_their_end_however_they_look(search: Search, url: str) -> None:
    study = search(trials=8, storage=url).study
    worst = max(study.get_trials(states=(TrialState.PRUNED,)), key=lambda trial: trial.value)
    for key in ({names.REPEATS: "seed"}, {}):
        study.enqueue_trial(worst.params, user_attrs=key)
    search(trials=10, storage=url)
    seed, other = study.trials[-2:]
    assert seed.user_attrs[names.REPEATS] == "seed"
    assert (seed.state, other.state) == (TrialState.COMPLETE, TrialState.PRUNED)
