"""Samplers by name: a stream a trial, held parameters, and who draws the others."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from small_study import LIMITS, RECIPES

from nfopt.space import SearchSpace
from nfopt.study import sampler as samplers
from nfopt.study.sampler import SAMPLERS, StudySampler, choose


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.create(3, 240, kind="coupling", limits=LIMITS, recipes=RECIPES)


def study_of(space: SearchSpace, name: str, seed: int = 0, **more: Any) -> optuna.Study:
    return optuna.create_study(sampler=StudySampler(name, seed, space), **more)


def play(study: optuna.Study, space: SearchSpace, trials: int) -> list[dict[str, Any]]:
    for _ in range(trials):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, float(trial.params["learning_rate"]))
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_trials_and_another_seed_others(name: str, space: SearchSpace) -> None:
    first = play(study_of(space, name), space, 30)
    assert play(study_of(space, name), space, 30) == first
    assert play(study_of(space, name, seed=1), space, 30) != first


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_resumed_study_does_not_repeat_itself(name: str, space: SearchSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    whole = play(study_of(space, name), space, 24)
    half = play(study_of(space, name, storage=storage, study_name="s"), space, 12)
    again = optuna.load_study(study_name="s", storage=storage, sampler=StudySampler(name, 0, space))
    resumed = play(again, space, 12)
    assert resumed[:12] == half
    assert resumed == whole
    assert not [params for params in resumed[12:] if params in half]


@pytest.mark.parametrize("name", SAMPLERS)
def test_held_parameters_stay_and_the_others_move(name: str, space: SearchSpace) -> None:
    study = study_of(space, name)
    play(study, space, 20)
    sampler = study.sampler
    assert isinstance(sampler, StudySampler)
    held = {key: study.trials[0].params[key] for key in space.shape_parameters}
    with sampler.holding(held):
        followers = play(study, space, 8)[20:]
    for params in followers:
        assert {key: params[key] for key in held} == held
    free = [key for key in space.parameters if key not in held]
    assert len({tuple(params[key] for key in free) for params in followers}) == 8
    assert any(play(study, space, 8)[-1][key] != held[key] for key in held), (
        "what was held must move again"
    )


class Witness(RandomSampler):
    """Notes what it was asked to draw."""

    seen: list[set[str]]

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return {key: domain.distribution() for key, domain in self.space.parameters.items()}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        self.seen.append(set(search_space))
        return {}


def test_the_studys_own_sampler_draws_all_that_is_not_held(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def make(seed: int, space: SearchSpace) -> BaseSampler:
        witness = Witness(seed=seed)
        witness.seen, witness.space = seen, space
        return witness

    monkeypatch.setattr(samplers, "SAMPLERS", {"witness": make})
    study = study_of(space, "witness")
    sampler = study.sampler
    assert isinstance(sampler, StudySampler)
    shape = set(space.shape_parameters)
    trial = study.ask()
    space.suggest(trial)
    with sampler.holding({key: trial.params[key] for key in shape}):
        space.suggest(study.ask())
    assert seen == [set(space.parameters), set(space.parameters) - shape]


def test_tpe_learns_while_shapes_are_held(space: SearchSpace) -> None:
    """With the shape held, tpe still goes where the values are good; random does not."""
    found = {}
    for name in ("tpe", "random"):
        study = study_of(space, name)
        play(study, space, 40)
        sampler = study.sampler
        assert isinstance(sampler, StudySampler)
        held = {key: study.trials[3].params[key] for key in space.shape_parameters}
        with sampler.holding(held):
            late = play(study, space, 20)[40:]
        rates = sorted(float(params["learning_rate"]) for params in late)
        found[name] = rates[len(rates) // 2]
    assert found["tpe"] < 0.5 * found["random"]


def test_choice_of_sampler_and_encoding(space: SearchSpace) -> None:
    assert space.plan.encoding == "packed"
    name, chosen = choose(space, None, None)
    assert (name, chosen.plan.encoding) == ("evolution", "packed")
    name, chosen = choose(space, "tpe", None)
    assert (name, chosen.plan.encoding) == ("tpe", "bits")
    wide = SearchSpace.create(40, 240, kind="coupling", limits={"depth": [1, 8]})
    assert wide.mask_bits > 64
    name, chosen = choose(wide, "random", None)
    assert (name, chosen.plan.encoding) == ("random", "packed")
    name, chosen = choose(wide, "nsga2", "bits")
    assert (name, chosen.plan.encoding) == ("nsga2", "bits")
    with pytest.raises(ValueError, match="`sampler` must be one of evolution, tpe, nsga2, random"):
        choose(space, "bo", None)
    with pytest.raises(ValueError, match="`encoding`"):
        choose(space, None, "hex")
    with pytest.raises(ValueError, match="`sampler`"):
        StudySampler("bo", 0, space)
