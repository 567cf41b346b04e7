"""What the sampler reads from a study, and what it keeps to itself: nothing."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from nfopt.attributes import KIN as BEGAN_FROM
from nfopt.evolution.settings import Settings
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.trials import ORIGIN
from nfopt.space import SearchSpace

from .spaces import masks_only, ones, space_of

SPACE = masks_only(4, 3)
MIXED = {
    "x": FloatDistribution(-5.0, 5.0),
    "rate": FloatDistribution(1e-5, 1.0, log=True),
    "n": IntDistribution(0, 20),
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def bowl(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    rate = trial.suggest_float("rate", 1e-5, 1, log=True)
    n = trial.suggest_int("n", 0, 20)
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    return (x - 2) ** 2 + math.log10(rate / 1e-3) ** 2 + (n - 7) ** 2 / 10 + (kind != "b")


def masks(trial: optuna.Trial) -> float:
    return ones(trial, SPACE)


def study_of(
    sampler: BaseSampler, objective: Callable[[optuna.Trial], Any], trials: int, **more: Any
) -> optuna.Study:
    study = optuna.create_study(sampler=sampler, **more)
    study.optimize(objective, n_trials=trials)
    return study


def params(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


# ---------------------------------------------------------------------------------------- searching


def test_it_finds_what_chance_does_not() -> None:
    gaps = []
    for seed in range(3):
        best = [
            study_of(sampler(seed), bowl, 120).best_value
            for sampler in (lambda s: EvolutionSampler(seed=s), lambda s: RandomSampler(seed=s))
        ]
        gaps.append(best[0] / best[1])
    assert np.median(gaps) < 0.3


def test_masks_improve() -> None:
    space = masks_only(8, 4)
    study = study_of(EvolutionSampler(space, seed=0), lambda t: ones(t, space), 100)
    values = [trial.value for trial in study.trials]
    # at least one feature a layer is transformed, and every feature once
    assert study.best_value < 0.75 * min(values[:10])


# --------------------------------------------------------------------------------------- randomness


def test_a_stream_follows_from_seed_and_number_alone() -> None:
    first = params(study_of(EvolutionSampler(seed=3), bowl, 30))
    assert params(study_of(EvolutionSampler(seed=3), bowl, 30)) == first
    assert params(study_of(EvolutionSampler(seed=4), bowl, 30)) != first
    assert params(study_of(EvolutionSampler(), bowl, 5)) != params(
        study_of(EvolutionSampler(), bowl, 5)
    )


@pytest.mark.parametrize("objective", [bowl, masks])
def test_a_sampler_made_anew_goes_on_the_same(
    objective: Callable[[optuna.Trial], float],
) -> None:
    def make() -> EvolutionSampler:
        return EvolutionSampler(SPACE if objective is masks else None, seed=0)

    whole = params(study_of(make(), objective, 36))
    study = study_of(make(), objective, 15)
    for trials in (12, 9):
        study.sampler = make() if trials == 9 else copy.deepcopy(study.sampler)
        study.optimize(objective, n_trials=trials)
    assert params(study) == whole


def test_one_sampler_for_two_studies_mixes_nothing_up() -> None:
    sampler = EvolutionSampler(seed=0)
    one = optuna.create_study(sampler=sampler)
    two = optuna.create_study(sampler=sampler)
    for _ in range(12):
        one.optimize(bowl, n_trials=1)
        two.optimize(bowl, n_trials=1)
    assert params(one) == params(two) == params(study_of(EvolutionSampler(seed=0), bowl, 12))


def test_maximising_is_minimising_the_negative() -> None:
    low = study_of(EvolutionSampler(seed=0), bowl, 40)
    high = study_of(EvolutionSampler(seed=0), lambda t: -bowl(t), 40, direction="maximize")
    assert params(low) == params(high)


# ------------------------------------------------------------------------------- what a study holds


def asked(study: optuna.Study) -> list[str]:
    return [trial.user_attrs.get(ORIGIN, {}).get("operator", "") for trial in study.trials]


def test_trials_of_other_samplers_are_parents() -> None:
    study = study_of(TPESampler(seed=0), masks, 15)
    study.sampler = EvolutionSampler(SPACE, seed=0, settings=Settings(start=10))
    study.optimize(masks, n_trials=30)
    parents = {n for t in study.trials[15:] for n in t.user_attrs[ORIGIN]["parents"]}
    assert parents & set(range(15))


def test_a_copied_study_goes_on_the_same() -> None:
    storage = optuna.storages.InMemoryStorage()
    study_of(EvolutionSampler(SPACE, seed=0), masks, 20, storage=storage, study_name="one")
    optuna.copy_study(
        from_study_name="one", from_storage=storage, to_storage=storage, to_study_name="two"
    )
    found = []
    for name in ("one", "two"):
        study = optuna.load_study(
            study_name=name, storage=storage, sampler=EvolutionSampler(SPACE, seed=0)
        )
        study.optimize(masks, n_trials=10)
        found.append(params(study))
    assert found[0] == found[1]


def test_enqueued_trials_come_first_and_have_children() -> None:
    recipe = {"layer_1.mask": 0b0011, "layer_2.mask": 0b1100, "layer_3.mask": 0b0101}
    study = optuna.create_study(sampler=EvolutionSampler(SPACE, seed=0))
    study.enqueue_trial(recipe)
    study.optimize(lambda t: float(masks(t) + 100 * (t.params != recipe)), n_trials=24)
    assert study.trials[0].params == recipe
    assert "random" not in asked(study)[:12], "small steps from the recipe are better than chance"
    near = [t for t in study.trials if 0 in t.user_attrs.get(ORIGIN, {}).get("parents", [])]
    assert len(near) > 12
    changed = [sum(t.params[k] != v for k, v in recipe.items()) for t in near]
    assert np.mean([count <= 2 for count in changed]) > 0.6
    designs = [name for name in asked(study) if name.startswith("design:")]
    assert 1 <= len(designs) <= 4


def test_what_waits_in_the_queue_is_not_asked_again() -> None:
    space = masks_only(3, 2)  # has six flows
    study = optuna.create_study(sampler=EvolutionSampler(space, seed=0))
    for mask in (1, 2, 4):
        study.enqueue_trial({"layer_1.mask": mask, "layer_2.mask": 7 - mask})
    sampler = study.sampler
    assert isinstance(sampler, EvolutionSampler)
    others = [study._storage.create_new_trial(study._study_id) for _ in range(3)]
    for key in others:
        ones(optuna.Trial(study, key), space)
    found = {t.params["layer_1.mask"] for t in study.trials[3:]}
    assert found == {6, 5, 3}
    assert sampler.left(study) == 0


def test_partly_enqueued_parameters_are_held() -> None:
    study = study_of(EvolutionSampler(seed=0), bowl, 20)
    study.enqueue_trial({"kind": "c", "n": 20})
    study.optimize(bowl, n_trials=1)
    assert {k: study.trials[-1].params[k] for k in ("kind", "n")} == {"kind": "c", "n": 20}


def test_pruned_and_failed_trials_do_not_lead() -> None:
    """What fails is never a parent where others completed, what is pruned informs by its rung."""

    def objective(trial: optuna.Trial) -> float:
        value = bowl(trial)
        trial.report(value + 50 + 5 * (trial.params["kind"] == "c"), 1)
        if trial.params["kind"] == "b":
            return math.nan
        if trial.params["kind"] == "c":
            raise optuna.TrialPruned
        return value

    study = study_of(EvolutionSampler(seed=0), objective, 80)
    late = [t.params["kind"] for t in study.trials[50:]]
    assert late.count("b") < 10
    assert late.count("a") > 12


def test_an_interrupted_trial_says_nothing_of_its_genome() -> None:
    space = masks_only(3, 3)

    def study_with(attributes: dict[str, Any]) -> optuna.Study:
        study = optuna.create_study(sampler=EvolutionSampler(space, seed=0))
        for _ in range(30):
            trial = study.ask()
            ones(trial, space)
            if trial.number % 2:
                for key, value in attributes.items():
                    trial.set_user_attr(key, value)
                study.tell(trial, state=TrialState.FAIL)
            else:
                study.tell(trial, 1.0)
        return study

    bad = study_with({})
    lost = study_with({"nfopt:again": True})
    sampler = EvolutionSampler(space, seed=0)
    assert sampler.left(bad) != sampler.left(lost)
    tried = {tuple(t.params.values()) for t in lost.trials if t.state is TrialState.COMPLETE}
    everything = EvolutionSampler(space).left(optuna.create_study())
    assert everything is not None
    assert EvolutionSampler(space).left(lost) == everything - len(tried)


def test_several_objectives_spread_over_the_front() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        x = trial.suggest_float("x", -5, 5)
        rate = trial.suggest_float("rate", 1e-5, 1, log=True)
        return x**2 + rate, -((x - 2) ** 2) - rate

    study = study_of(EvolutionSampler(seed=0), objective, 100, directions=["minimize", "maximize"])
    front = [t.params["x"] for t in study.best_trials]
    assert min(front) < 0.5
    assert max(front) > 1.5
    assert len(front) > 10


def test_constraints_are_kept() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = bowl(trial)
        trial.set_constraint("x", trial.params["x"])  # at most 0
        return value

    study = study_of(EvolutionSampler(seed=0), objective, 80)
    late = [t.params["x"] <= 0 for t in study.trials[40:]]
    assert np.mean(late) > 0.7
    sampler = EvolutionSampler(seed=0, constraints_func=lambda t: (t.params["x"],))
    assert params(study_of(sampler, bowl, 80)) == params(study)


def test_trials_of_an_older_study_that_began_ahead_say_nothing() -> None:

    def objective(trial: optuna.Trial) -> float:
        value = masks(trial)
        if trial.number % 2:
            trial.set_user_attr(BEGAN_FROM, "warm")
            return value - 100
        return value

    study = study_of(EvolutionSampler(SPACE, seed=0), objective, 12)
    sampler = study.sampler
    assert isinstance(sampler, EvolutionSampler)
    best = sampler.state(study, SPACE.distributions()).engine.incumbent()
    assert best is not None
    assert all(number % 2 == 0 for number in best.numbers)
    assert sampler.state(study, SPACE.distributions()).engine._history.finished == 6


# ------------------------------------------------------------------------------ spaces of all kinds


def test_the_study_says_what_is_a_mask() -> None:
    space = masks_only(5, 4)
    told = study_of(EvolutionSampler(space.to_json(), seed=0), lambda t: ones(t, space), 12)
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    study.set_user_attr("nfopt:space", json.loads(space.to_json()))
    study.optimize(lambda t: ones(t, space), n_trials=12)
    assert params(study) == params(told)
    plain = study_of(EvolutionSampler(seed=0), lambda t: ones(t, space), 12)
    assert params(plain) != params(told)


def test_conditional_and_changing_spaces() -> None:
    def objective(trial: optuna.Trial) -> float:
        top = 5.0 + trial.number
        if trial.suggest_categorical("which", ["a", "b"]) == "a":
            return trial.suggest_float("x", 0, top) + 1
        return trial.suggest_float("y", 0, 1) + trial.suggest_int("n", 0, 3)

    study = study_of(EvolutionSampler(seed=0), objective, 60)
    assert len(study.trials) == 60
    assert np.mean([t.params["which"] == "b" for t in study.trials[40:]]) > 0.6


def test_a_pruner_that_filters_the_study() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = bowl(trial)
        for step in (1, 3, 9):
            trial.report(value + 1 / step, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    study = study_of(EvolutionSampler(seed=0), objective, 60, pruner=pruner)
    assert {t.state for t in study.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert study.best_value < 3


# ------------------------------------------------------------------------------------ what is given


def test_initial_flows_are_tried_first() -> None:
    space = space_of("coupling", 5)
    one, two = space.build(_drawn(space, 1)), space.build(_drawn(space, 2))
    sampler = EvolutionSampler(space, seed=0, initial=[one, two])
    study = study_of(sampler, lambda t: len(space.suggest(t).flow.layers), 8)
    flows = [space.build(t.params).flow for t in study.trials]
    assert flows[:2] == [one.flow, two.flow]
    assert asked(study)[:2] == ["first", "first"]
    again = EvolutionSampler(space, seed=1, initial=study)
    other = study_of(again, lambda t: len(space.suggest(t).flow.layers), 8)
    best = min(study.trials, key=lambda t: (t.value, t.number))
    assert space.build(other.trials[0].params) == space.build(best.params)


def test_trials_of_another_study_are_tried_first_as_this_space_writes_them() -> None:
    space = space_of("coupling", 5)
    bits = space.encoded("bits")
    other = study_of(EvolutionSampler(bits, seed=3), lambda t: len(bits.suggest(t).flow.layers), 4)
    given = other.trials[1:3]
    for trial in given:
        recipe = bits.build(trial.params)
        flow, train = recipe.flow, recipe.train
        trial.user_attrs |= {"nfopt:spec": flow.to_json(), "nfopt:train": train.to_json()}
    sampler = EvolutionSampler(space, seed=0, initial=given)
    study = study_of(sampler, lambda t: len(space.suggest(t).flow.layers), 3)
    flows = [space.build(t.params).flow for t in study.trials[:2]]
    assert flows == [bits.build(t.params).flow for t in given]
    assert asked(study)[:2] == ["first", "first"]


def _drawn(space: SearchSpace, seed: int) -> dict[str, Any]:
    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    return study.ask(space.distributions()).params


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seed": -1}, "`seed`"),
        ({"preset": "best"}, "`preset` must be one of default, classic, got 'best'"),
        ({"space": 7}, "`space`"),
        ({"space": "{}"}, "`version`"),
        ({"initial": [3]}, "number 1 is a int"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as told:
        EvolutionSampler(**arguments)
    assert "\n" not in str(told.value)


def test_a_flow_outside_the_space_is_refused() -> None:
    flow = space_of("coupling", 4).build(_drawn(space_of("coupling", 4), 0)).flow
    study = optuna.create_study(sampler=EvolutionSampler(SPACE, seed=0, initial=[flow]))
    with pytest.raises(ValueError, match="`initial` flow 1 can't be tried"):
        study.optimize(masks, n_trials=1)


def test_a_copy_is_a_sampler_of_its_own() -> None:
    sampler = EvolutionSampler(SPACE, seed=5)
    study_of(sampler, masks, 5)
    assert params(study_of(copy.deepcopy(sampler), masks, 12)) == params(
        study_of(EvolutionSampler(SPACE, seed=5), masks, 12)
    )
    assert repr(sampler) == "EvolutionSampler(space='coupling', seed=5)"
