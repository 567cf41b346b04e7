"""A differentiable search as a trial: what it suggests, reports, stores and refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from small_study import flow

from nfopt import attributes as names
from nfopt.autonf import History, RacePlan, Settings
from nfopt.runner.autonf.objective import CANDIDATES, HISTORY, AutoNFObjective, Setup
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study.dataset import Source, read

TRAIN = TrainSpec(steps=16, batch_size=64, learning_rate=1e-2)
SEARCH = Settings(steps=8, batch_size=64)
RACE = RacePlan(rungs=(0.5, 1.0), keep=(2, 1))
SETUP = Setup(options="affine-coupling,spline-coupling,identity", places=2, width=8, race=RACE)


def objective(data: Any, setup: Setup = SETUP, **more: Any) -> AutoNFObjective:
    return AutoNFObjective(data, setup, settings=SEARCH, train=TRAIN, **more)


def test_a_trial_is_a_search_and_its_race(source: Source) -> None:
    study = optuna.create_study()
    told: list[Any] = []
    goal = objective(source, on_record=told.append, on_rung=lambda rung, field: told.append(rung))
    study.enqueue_trial(goal.defaults())
    study.optimize(goal, n_trials=1)
    (trial,) = study.trials
    assert trial.params == goal.defaults()
    assert sorted(trial.intermediate_values) == [50, 100]
    attributes = json.loads(json.dumps(trial.user_attrs))
    best = attributes[CANDIDATES][0]
    assert trial.value == best["nll"] == trial.intermediate_values[100]
    assert attributes[names.SPEC] == best["spec"]
    assert FlowSpec.from_json(best["spec"]).features == 3
    assert attributes[names.FIDELITY] == 1.0
    assert TrainSpec.from_json(attributes[names.TRAIN]) == TRAIN
    history = History.from_json(json.dumps(attributes[HISTORY]))
    assert history.options == ("affine-coupling", "spline-coupling", "identity")
    # the shared weights' likelihood is no value anywhere
    bounds = {record.upper_bound for record in history.records}
    assert not bounds & {trial.value, *trial.intermediate_values.values()}
    assert 0.5 in told
    assert 1.0 in told


def test_the_same_seed_gives_the_same_trial(source: Source) -> None:
    values = []
    for seed in (0, 0, 1):
        goal = objective(source, seed=seed)
        params = goal.defaults() | {"estimator": "sampled"}
        values.append(goal(optuna.trial.FixedTrial(params)))  # type: ignore[arg-type]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_a_trial_can_be_pruned_at_a_rung_of_its_race(source: Source) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    study = optuna.create_study(pruner=Always())
    study.optimize(objective(source), n_trials=1)
    (trial,) = study.trials
    assert trial.state is TrialState.PRUNED
    assert list(trial.intermediate_values) == [50]
    assert trial.user_attrs[names.FIDELITY] == 0.5
    assert "pruned at 50%" in trial.user_attrs[names.REASON]


def test_cost_makes_a_price_to_search_and_several_objectives(source: Source) -> None:
    setup = msgspec_replace(SETUP, cost="parameters")
    goal = objective(source, setup, objectives=("nll", "parameters"))
    study = optuna.create_study(directions=["minimize"] * 2)
    study.optimize(goal, n_trials=1)
    (trial,) = study.trials
    assert "price" in trial.params
    assert trial.values[1] == trial.user_attrs[names.PARAMETERS]
    assert trial.intermediate_values == {}
    assert "price" not in objective(source, msgspec_replace(setup, target_cost=1.5)).defaults()


def msgspec_replace(setup: Setup, **changes: Any) -> Setup:
    return Setup(**{**vars(setup), **changes})


def test_what_can_t_be_trained_fails_the_trial(source: Source) -> None:
    data = source.data
    broken = TrainSpec(steps=8, batch_size=64, learning_rate=1.0, clip=0.0, optimiser="adam")
    goal = AutoNFObjective(data, SETUP, settings=SEARCH, train=broken)
    study = optuna.create_study()
    # not in place: the rows are shared with every other test
    goal._rows = dataclasses.replace(goal._rows, val=torch.full_like(goal._rows.val, math.nan))
    study.optimize(goal, n_trials=1)
    assert study.trials[0].state is TrialState.FAIL
    assert study.trials[0].user_attrs[names.REASON] == "no candidate could be trained"


def test_a_studys_best_is_where_the_logits_begin(source: Source) -> None:
    told: list[Any] = []
    setup = msgspec_replace(SETUP, options="affine-coupling,spline-coupling")
    goal = objective(source, setup, initial=flow("CTC", "TCT"), on_record=told.append)
    goal(optuna.trial.FixedTrial(goal.defaults()))  # type: ignore[arg-type]
    assert [row.index(max(row)) for row in told[0].weights] == [0, 0]
    assert told[0].weights[0][0] > 0.8


def test_whoever_stops_a_trial_interrupts_it(source: Source) -> None:
    goal = objective(source, should_stop=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        goal(optuna.trial.FixedTrial(goal.defaults()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": ""}, "`options` must name"),
        ({"options": "planar"}, "`options` has one option"),
        ({"options": "planar,plane"}, "'plane'"),
        ({"cost": "money"}, "`cost` must be one of"),
        ({"price": 0.1}, "`cost` must be given with"),
        ({"cost": "train", "price": -0.1}, "`price` must be at least 0"),
        ({"cost": "train", "price": 0.1, "target_cost": 3.0}, "must not both"),
        ({"cost": "train", "target_cost": -3.0}, "`target_cost` must be positive"),
    ],
)
def test_wrong_setups_are_said_in_a_line(source: Source, changes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        objective(source, msgspec_replace(SETUP, **changes)).costs()
    assert "\n" not in str(error.value)


def test_couplings_need_two_features() -> None:
    one = read(np.random.default_rng(0).normal(size=(200, 1)), seed=0)
    with pytest.raises(ValueError, match="'affine-coupling', which needs at least 2 features"):
        objective(one)
