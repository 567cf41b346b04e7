"""A study is made once, and found again only by who means the same one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.storages import BaseStorage
from small_study import BEST, LIMITS, RECIPES, TRAIN, flow, table

from nfopt import attributes as names
from nfopt.errors import StudyError
from nfopt.events import Event, Started
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.study import claim as claims
from nfopt.study.create import load_study, stored_attributes
from nfopt.study.dataset import read
from nfopt.study.results import SearchResult
from nfopt.study.sampler import StudySampler

Search = Callable[..., SearchResult]


def test_what_a_study_knows_of_itself(search: Search, memory: BaseStorage) -> None:
    search(trials=4, seed=3, sampler="random", objectives=["nll", "parameters"])
    known = stored_attributes("small", memory)
    assert known is not None
    assert known[names.DATA]["fingerprint"]
    assert known[names.DATA]["rows"] == [240, 30, 30]
    assert known[names.DATA]["source"] is None
    assert known[names.SAMPLER] == "random"
    assert known[names.STUDY_SEED] == 3
    assert known[names.POPULATION] == {"size": 4, "steps": 40}
    assert known[names.BUDGET] == {"trials": 4, "minutes": None, "until": None}
    assert known[names.VERSIONS]["nfopt"]
    assert known[names.SPACE]["kind"] == "coupling"
    study = load_study("small", memory)
    assert [str(d) for d in study.directions] == ["1", "1"]
    assert study.metric_names is not None
    assert "nats" in study.metric_names[0]


def test_load_study_has_its_sampler(search: Search, memory: BaseStorage) -> None:
    search(trials=4, sampler="nsga2", seed=5)
    study = load_study("small", memory)
    assert isinstance(study.sampler, StudySampler)
    assert (study.sampler.name, study.sampler.seed) == ("nsga2", 5)
    assert study.sampler.space.kind == "coupling"
    trial = study.ask(study.sampler.space.distributions())
    assert set(trial.params) == set(study.sampler.space.parameters)


def test_a_study_goes_on(search: Search, events: list[Event]) -> None:
    search(trials=4)
    result = search(trials=7, kind=None, limits=None)
    started = [event for event in events if isinstance(event, Started)]
    assert [event.resumed for event in started] == [False, True]
    assert [event.trials for event in started] == [0, 4]
    assert result.trials == 7
    assert result.study.user_attrs[names.BUDGET]["trials"] == 7


def test_other_recipes_are_no_other_space(search: Search, memory: BaseStorage) -> None:
    search(trials=2)
    known = stored_attributes("small", memory)
    assert known is not None
    assert known[names.LIMITS]["kind"] == "coupling"
    assert known[names.LIMITS]["limits"]["hidden_layers"] == [1, 1]
    wider = [BEST, Recipe(flow("CTC", "TCT"), msgspec.structs.replace(TRAIN, dropout=0.6))]
    limits = {key: value if isinstance(value, list) else [value] for key, value in LIMITS.items()}
    limits |= {"width": (4, 8), "hidden_layers": [1, 1]}  # the same, written otherwise
    assert search(trials=4, recipes=wider, limits=limits).trials == 4
    assert stored_attributes("small", memory)[names.SPACE] == known[names.SPACE]  # type: ignore[index]
    with pytest.raises(StudyError, match=r"another `space` \(dropout\)"):
        search(trials=6, limits=LIMITS | {"dropout": 0.5})
    with pytest.raises(ValueError, match="`kind` is 'coupling', but the limits say 'layers'"):
        search(trials=6, limits=LIMITS | {"kind": "layers"})


def test_a_whole_space_is_compared_as_it_is(search: Search, memory: BaseStorage) -> None:
    space = SearchSpace.create(3, 240, kind="coupling", limits=LIMITS, recipes=RECIPES)
    other = SearchSpace.create(3, 240, kind="coupling", limits=LIMITS | {"depth": 2})
    whole = {"kind": None, "limits": None}
    search(trials=2, space=space, **whole)
    assert names.LIMITS not in (stored_attributes("small", memory) or {})
    assert search(trials=3, space=space, **whole).trials == 3
    with pytest.raises(StudyError, match=r"another `space` \(.*depth"):
        search(trials=6, space=other, **whole)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"limits": LIMITS | {"depth": [1, 2]}}, r"another `space` \(depth\)"),
        ({"kind": "layers", "limits": {"depth": [1, 2], "maps": "affine"}}, "kind 'coupling'"),
        ({"objectives": ["nll", "parameters"]}, "objectives nll, not nll, parameters"),
        ({"encoding": "bits", "kind": None, "limits": None}, "encoding 'packed', not 'bits'"),
    ],
)
def test_another_study_is_refused(search: Search, more: dict[str, object], words: str) -> None:
    study = search(trials=2).study
    before = [trial.number for trial in study.trials]
    with pytest.raises(StudyError, match=words) as caught:
        search(trials=4, **more)
    assert "\n" not in str(caught.value)
    assert [trial.number for trial in study.trials] == before
    assert study.user_attrs[names.BUDGET]["trials"] == 2


def test_other_data_is_refused(search: Search) -> None:
    search(trials=2)
    for source, words in (
        (read(table(seed=1), seed=0), "other data.*other values"),
        (read(table(), seed=1), "seed was 0, now 1"),
        (read(table(400), seed=0), r"other data \(rows were 300, now 400\)"),
        (read(table(), seed=0, columns=[0, 1]), "columns were 3, now 2\\)"),
    ):
        with pytest.raises(StudyError, match=words) as caught:
            search(trials=4, source=source)
        assert "\n" not in str(caught.value)


def test_a_sampler_can_be_exchanged(search: Search, memory: BaseStorage) -> None:
    search(trials=2)
    search(trials=4, sampler="random")
    assert load_study("small", memory).sampler.name == "random"  # type: ignore[attr-defined]


def test_a_study_of_others_is_refused(search: Search, memory: BaseStorage) -> None:
    study = optuna.create_study(study_name="small", storage=memory)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(StudyError, match="not made by nfopt"):
        search(trials=2)
    with pytest.raises(StudyError, match="not made by nfopt"):
        load_study("small", memory)
    assert not study.user_attrs


def test_a_study_that_was_cut_while_it_was_made_is_made_anew(
    search: Search, memory: BaseStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "MAKING", 0.1)
    optuna.create_study(study_name="small", storage=memory)
    assert search(trials=2).trials == 2


def test_a_study_that_is_not_there(memory: BaseStorage, search: Search, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="it has no study"):
        load_study("small", memory)
    assert stored_attributes("small", memory) is None
    nowhere = f"sqlite:///{tmp_path}/none.db"
    with pytest.raises(StudyError, match="no such file"):
        load_study("small", nowhere)
    assert stored_attributes("small", nowhere) is None
    search(trials=1)
    with pytest.raises(StudyError, match=r"'other' is not in .* it has small"):
        load_study("other", memory)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\\b"])
def test_a_name_must_name_a_folder(search: Search, name: str) -> None:
    with pytest.raises(ValueError, match="`study`"):
        search(trials=1, study=name, out=None) if name else search(trials=1, study="..", out=None)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"trials": 0}, "`trials`"),
        ({"trials": True}, "`trials`"),
        ({"minutes": 0.0}, "`minutes`"),
        ({"minutes": float("inf")}, "`minutes`"),
        ({"minutes": float("nan")}, "`minutes`"),
        ({"trials": 1, "objectives": ["parameters"]}, "`objectives`"),
        ({"trials": 1, "objectives": ["nll", "nll"]}, "`objectives`"),
        ({"trials": 1, "objectives": ["nll", "speed"]}, "`objectives`"),
        ({"trials": 1, "sampler": "bo"}, "`sampler`"),
        ({"trials": 1, "encoding": "hex"}, "`encoding`"),
        ({"trials": 1, "kind": "couplings"}, "`kind`"),
        ({"trials": 1, "limits": {"dept": 1}}, "`dept`"),
    ],
)
def test_a_wrong_argument_leaves_the_storage_alone(
    search: Search, memory: BaseStorage, more: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        search(**more)
    assert "\n" not in str(caught.value)
    assert stored_attributes("small", memory) is None
