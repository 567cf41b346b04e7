"""`Objective` under plain Optuna."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from small_study import LIMITS, RECIPES, STEPS, table

from nfopt import attributes as names
from nfopt.errors import StudyWarning
from nfopt.samplers import EvolutionSampler
from nfopt.space import SearchSpace
from nfopt.study import objective
from nfopt.study.dataset import Source
from nfopt.study.objective import Objective
from nfopt.study.stacks import train_stack


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.create(3, 240, kind="coupling", limits=LIMITS, recipes=RECIPES)


def test_plain_optimize(source: Source, space: SearchSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(source, space), n_trials=8)
    assert len(study.trials) == 8
    assert {t.state for t in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert TrialState.PRUNED in {t.state for t in study.trials}, "the median pruner is at work"
    for trial in study.get_trials(states=(TrialState.COMPLETE,)):
        assert trial.value == trial.intermediate_values[100]
        assert set(trial.intermediate_values) == {12, 25, 50, 100}
        assert trial.user_attrs[names.FIDELITY] == 0.25
        assert trial.user_attrs[names.SPEC]
        assert trial.user_attrs[names.WORKER]["pid"]


def test_it_is_a_function_of_the_trial(source: Source, space: SearchSpace) -> None:
    values = []
    for _ in range(2):
        study = optuna.create_study(pruner=optuna.pruners.NopPruner())
        study.enqueue_trial(space.params_of(RECIPES[0]))
        study.optimize(Objective(source.data, space, share=1.0, seed=3), n_trials=1)
        values.append(study.best_value)
        assert study.trials[0].user_attrs[names.FIDELITY] == 1.0
    assert values[0] == values[1]


def test_data_of_any_kind_and_a_space_of_its_own() -> None:
    it = Objective(table(), seed=0)
    assert it.space.kind == "full"
    assert it.space.features == 3
    study = optuna.create_study()
    spec = it.space.suggest(study.ask()).flow
    assert spec.features == 3


def test_several_objectives(source: Source, space: SearchSpace) -> None:
    study = optuna.create_study(directions=["minimize"] * 2)
    study.optimize(Objective(source, space, objectives=["parameters", "nll"]), n_trials=2)
    for trial in study.trials:
        assert trial.values[0] == trial.user_attrs[names.PARAMETERS]
        assert math.isfinite(trial.values[1])


@pytest.mark.parametrize("objectives", [["nll"], ["nll", "parameters"]])
def test_what_has_no_density_or_does_not_invert_fails(
    source: Source, space: SearchSpace, monkeypatch: pytest.MonkeyPatch, objectives: list[str]
) -> None:
    spoil: dict[str, Any] = {}

    def broken(*arguments: Any, **more: Any) -> Any:
        stack, results = train_stack(*arguments, **(more | {"on_rung": None}))
        return stack, [type(r)(**(vars(r) | spoil)) for r in results]

    monkeypatch.setattr(objective, "train_stack", broken)
    study = optuna.create_study(directions=["minimize"] * len(objectives))
    for fault in ({"nll": math.inf}, {"round_trip": 0.5}, {"status": "failed", "reason": "NaN"}):
        spoil.clear()
        spoil.update(fault)
        study.optimize(Objective(source, space, objectives=objectives), n_trials=1)
        assert study.trials[-1].state is TrialState.FAIL
        assert study.trials[-1].user_attrs[names.REASON]


def test_a_wrong_argument(source: Source, space: SearchSpace) -> None:
    with pytest.raises(ValueError, match="`share`"):
        Objective(source, space, share=0.0)
    with pytest.raises(ValueError, match="`space` is for 2 features"):
        Objective(source, SearchSpace.create(2, 240, kind="coupling"))
    with pytest.raises(ValueError, match="`objectives`"):
        Objective(source, space, objectives=["speed"])


def test_steps_are_the_share(source: Source, space: SearchSpace) -> None:
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    study.optimize(Objective(source, space, share=0.5), n_trials=1)
    assert study.trials[0].user_attrs[names.FIDELITY] == 0.5
    assert STEPS == 40


# ---------------------------------------------------------------------------------------- encodings


def test_the_evolution_is_told_what_the_parameters_mean(source: Source, space: SearchSpace) -> None:
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    study.optimize(Objective(source, space, share=0.1), n_trials=14)
    made = {t.user_attrs.get(names.ORIGIN, {}).get("operator", "") for t in study.trials}
    masks = {"swap", "flips", "columns", "complement", "redraw", "delete_layer", "insert_layer"}
    assert masks & {name for each in made for name in each.split("+")}
    assert "layer_1.mask" in study.trials[-1].params


@pytest.mark.parametrize(
    ("encoding", "expected"), [(None, "layer_1.mask.1"), ("packed", "layer_1.mask")]
)
def test_other_samplers_get_bits(
    source: Source, space: SearchSpace, encoding: str | None, expected: str
) -> None:
    objective = Objective(source, space, encoding=encoding, share=0.1)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=1)
    assert expected in study.trials[0].params
    # in another process, before any trial
    recipe = Objective(source, space).space.build(study.best_params)
    assert recipe.flow.to_json() == study.best_trial.user_attrs[names.SPEC]


def test_many_bits_are_packed_and_that_is_said(
    source: Source, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfopt.suggest.encoding.FEW_BITS", space.mask_bits - 1)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    with pytest.warns(StudyWarning, match="takes the flow for whole numbers: its 6 bits"):
        study.optimize(Objective(source, space, share=0.1), n_trials=1)
    assert "layer_1.mask" in study.trials[0].params


def test_a_wrong_encoding_is_refused(source: Source, space: SearchSpace) -> None:
    with pytest.raises(ValueError, match=r"`encoding` must be packed or bits, got 'hex'\."):
        Objective(source, space, encoding="hex")
