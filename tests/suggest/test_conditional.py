"""What a flow does not use is no parameter of its trial, to whoever looks at the study."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.importance import get_param_importances
from optuna.samplers import RandomSampler, TPESampler

import nfopt
from nfopt.space import SearchSpace

LAYER = re.compile(r"layer_(\d+)\.")
DATA = np.random.default_rng(0).normal(size=(200, 4)) @ np.random.default_rng(1).normal(size=(4, 4))
SPACES = {
    "full": {"depth": [1, 4]},
    "masks, each its own": {"kind": "coupling", "depth": [1, 4], "pairs": False},
    "masks, idle, bits": {"kind": "coupling", "depth": [1, 4], "idle": True, "encoding": "bits"},
    "edges in a free order": {"depth": [1, 3], "orders": "searched"},
    "layers": {"kind": "layers", "layers": ["coupling", "elementwise", "identity"]},
}


def space_of(name: str) -> SearchSpace:
    return SearchSpace.for_data(DATA, limits=SPACES[name])


def drawn(space: SearchSpace, seed: int) -> dict[str, Any]:
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return study.ask(space.distributions()).params


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize("name", SPACES)
def test_what_is_idle_changes_no_flow(name: str) -> None:
    space = space_of(name)
    seen: set[str] = set()
    for seed in range(12):
        params, others = drawn(space, seed), drawn(space, seed + 100)
        idle = space.idle(params) & params.keys()
        seen |= idle
        assert "depth" not in idle
        changed = {n: others[n] if n in idle else value for n, value in params.items()}
        assert space.build(changed).flow == space.build(params).flow
        depth = params["depth"]
        late = {n for n in params if (m := LAYER.match(n)) and int(m[1]) > depth}
        assert late <= idle
    assert seen


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("encoding", ["packed", "bits"])
def test_a_study_shows_what_its_flows_use(encoding: str) -> None:
    space = space_of("full")
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.set_metric_names(["cost"])
    study.optimize(
        lambda trial: len(nfopt.suggest_flow(trial, space, encoding=encoding).flow.layers) / 1.0,
        n_trials=10,
    )
    shown = nfopt.conditional(study)
    assert shown.study_name == study.study_name
    assert shown.metric_names == ["cost"]
    for trial, whole in zip(shown.trials, study.trials, strict=True):
        assert trial.value == whole.value
        assert trial.params.items() <= whole.params.items()
        assert whole.params.keys() - trial.params.keys() == space.idle(whole.params) & set(
            whole.params
        )
        layers = {int(m[1]) for name in trial.params if (m := LAYER.match(name))}
        assert max(layers, default=0) <= whole.params["depth"]
        assert trial.distributions.keys() == trial.params.keys()


def test_layers_that_no_good_flow_has_are_not_important() -> None:
    space = SearchSpace.for_data(DATA, limits={"kind": "coupling", "depth": [1, 8]})

    def objective(trial: optuna.Trial) -> float:
        recipe = nfopt.suggest_flow(trial, space)
        masks = [layer.mask for layer in recipe.flow.layers if hasattr(layer, "mask")]
        noise = np.random.default_rng(trial.number).normal()
        rate = abs(np.log10(recipe.train.learning_rate) + 3)
        return abs(len(masks) - 2) + rate + sum(mask[0] == "T" for mask in masks[:2]) + 0.2 * noise

    study = optuna.create_study(sampler=TPESampler(seed=0))
    study.optimize(objective, n_trials=80)

    def late(of: optuna.Study) -> float:
        found = get_param_importances(of)
        return sum(x for n, x in found.items() if (m := LAYER.match(n)) and int(m[1]) > 4)

    assert late(study) > 0.02
    assert late(nfopt.conditional(study)) < 0.2 * late(study)


def test_a_study_without_a_space_is_itself() -> None:
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert nfopt.conditional(study) is study


def test_trials_of_another_space_are_shown_as_they_are() -> None:
    space = space_of("full")
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    nfopt.suggest_flow(study.ask(), space)
    study.add_trial(
        optuna.trial.create_trial(
            params={"depth": 99},
            distributions={"depth": optuna.distributions.IntDistribution(1, 99)},
            value=0.0,
        )
    )
    assert nfopt.conditional(study).trials[1].params == {"depth": 99}
