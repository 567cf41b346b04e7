"""A space with few flows in all, and studies of an older default."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from small_study import LIMITS

from nfopt import attributes as names
from nfopt.events import Event, Notice
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.trials import Origin
from nfopt.study.create import load_study
from nfopt.study.results import SearchResult
from nfopt.study.sampler import StudySampler

FEW = LIMITS | {"depth": 2, "width": 8, "batch_size": 64, "learning_rate": 5e-3}
FEW |= {"weight_decay": 0.0, "dropout": 0.0, "marginals": "asinh"}


def test_a_search_ends_when_every_flow_was_tried(
    search: Callable[..., SearchResult], events: list[Event]
) -> None:
    result = search(trials=20, limits=FEW)
    fresh = [trial for trial in result.study.trials if not Origin.of(trial).replicate]
    flows = [trial.user_attrs[names.SPEC] for trial in fresh]
    assert len(flows) == len(set(flows)) == 6
    before = len(result.study.trials)
    assert before < 20
    said = [event.text for event in events if isinstance(event, Notice)]
    assert said.count("every flow that `space` allows has been tried: the search ends") == 1
    search(trials=20, limits=FEW)
    assert len(result.study.trials) == before


def test_a_study_of_tpe_goes_on_with_it(
    search: Callable[..., SearchResult], memory: optuna.storages.BaseStorage
) -> None:
    first = search(trials=2, sampler="tpe", study="old")
    assert "layer_1.mask.1" in first.study.trials[0].params
    search(trials=3, study="old")
    study = load_study("old", memory)
    assert isinstance(study.sampler, StudySampler)
    assert study.sampler.name == "tpe"
    search(trials=5, study="old", sampler="evolution")
    study = load_study("old", memory)
    assert isinstance(study.sampler, StudySampler)
    assert isinstance(study.sampler.inner, EvolutionSampler)
    assert study.user_attrs[names.SAMPLER] == "evolution"
    assert len(study.trials) >= 5
