"""A shared storage's attributes are others' input: any value is one line, or sets a trial aside."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial
from small_study import LIMITS, flow, source

from nfopt import attributes as names
from nfopt.cli.failures import mistake
from nfopt.cli.studies.status import describe
from nfopt.distributed.queue import WorkQueue
from nfopt.errors import StudyWarning
from nfopt.report.page import facts_of_study, html_page
from nfopt.runner.ask import Asker
from nfopt.runner.worker import run_worker
from nfopt.space import SearchSpace
from nfopt.spec import TrainSpec
from nfopt.stored import attributes_of, trials_of
from nfopt.study.create import Wanted, load, open_study

__all__ = ["source"]

OF_A_TRIAL = sorted(f for f in names._Trial.__struct_encode_fields__)
OF_A_STUDY = sorted(f for f in names._Study.__struct_encode_fields__)
DEEP: Any = []
for _ in range(100):
    DEEP = [DEEP]

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        [
            *(-5, 0, 10**30, 1e308, math.nan, math.inf, "", "x" * 5_000_000, "../../etc", "warm"),
            *(flow("CTC").to_json(), TrainSpec().to_json(), '{"features": 3, "layers": [[]]}'),
        ]
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["trials", "size", "seconds", "beat", "lead", "parents", "token"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
) | st.just(DEEP)


class Made(tuple[InMemoryStorage, Any]):
    """A storage and data, whose text is short."""

    def __repr__(self) -> str:
        return "made"


@pytest.fixture(scope="module")
def made(source: Any) -> Made:
    """A study of three trials whose budget is met, in memory."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = InMemoryStorage()
    space = SearchSpace.for_data(source.data.train, kind="coupling", limits=LIMITS, recipes=[])
    wanted = Wanted(name="s", data=source.described, space=space)
    study = open_study(wanted, storage).study
    study.set_user_attr(names.POPULATION, {"size": 2, "steps": 20})
    study.set_user_attr(names.BUDGET, {"trials": 1, "minutes": None, "until": None})
    for number in range(3):
        trial = study.ask()
        recipe = space.suggest(trial)
        spec, train = recipe.flow, recipe.train
        for name, value in (
            (names.SPEC, spec.to_json()),
            (names.TRAIN, train.to_json()),
            (names.PARAMETERS, spec.parameter_count()),
            (names.SECONDS, 1.0),
            (names.FIDELITY, 0.5),
            (names.NLL_2SE, 0.1),
        ):
            trial.set_user_attr(name, value)
        study.tell(trial, 3.0 + number)
    return Made((storage, source))


def commands(storage: InMemoryStorage, data: Any) -> Iterator[Any]:
    """What people run on a study, each as a call."""
    yield lambda: describe(load("s", storage))
    yield lambda: html_page(facts_of_study(load("s", storage)))
    yield lambda: ask(load("s", storage))
    yield lambda: run_worker("s", storage, data=data)  # type: ignore[arg-type]


def ask(study: optuna.Study) -> None:
    """Ask a trial of a study's own sampler."""
    space = SearchSpace.from_json(json.dumps(attributes_of(study)[names.SPACE]))
    Asker(WorkQueue(study), space, 0).population(2)


def run_all(storage: InMemoryStorage, data: Any) -> list[str]:
    """Run all commands; the lines that they ended with. Any other error passes."""
    lines = []
    for command in commands(storage, data):
        try:
            command()
        except Exception as error:
            line = mistake(error)
            if line is None:
                raise
            assert "\n" not in line
            assert len(line) < 500
            lines.append(line)
    return lines


FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@FEW
@given(name=st.sampled_from(OF_A_TRIAL), value=VALUES, place=st.integers(0, 3))
def test_no_attribute_of_a_trial_stops_anything(
    made: Made, name: str, value: Any, place: int
) -> None:
    storage, data = copy.deepcopy(made[0]), made[1]
    trials = storage._studies[0].trials
    if place < 3:
        trials[place].user_attrs[name] = value
    else:  # in the queue
        storage.create_new_trial(
            0,
            create_trial(
                state=TrialState.WAITING,
                user_attrs={name: value},
                system_attrs={"fixed_params": trials[0].params},
            ),
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run_all(storage, data) == []


@FEW
@given(name=st.sampled_from(OF_A_STUDY), value=VALUES)
def test_a_wrong_attribute_of_a_study_is_one_line(made: Made, name: str, value: Any) -> None:
    storage, data = copy.deepcopy(made[0]), made[1]
    storage._studies[0].user_attrs[name] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in run_all(storage, data):
            assert "'s'" in line or "DATA" in line


@FEW
@given(value=VALUES)
def test_nothing_in_the_queue_stops_anything(made: Made, value: Any) -> None:
    storage, data = copy.deepcopy(made[0]), made[1]
    trial = create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": value})
    storage.create_new_trial(0, trial)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run_all(storage, data) == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (names.SECONDS, "1.0", "`nfopt:seconds` is wrong: expected `float`, got `str`"),
        (names.SECONDS, math.nan, "`nfopt:seconds` is wrong: expected `float` >= 0.0, got nan"),
        (names.SPEC, 5, "`nfopt:spec` is wrong: expected `str`, got `int`"),
        (names.WEIGHTS, "../../home/me/.bashrc", "`nfopt:weights` is wrong"),
        (names.CHECKPOINT, {"token": "../../x", "slot": 0}, "`nfopt:checkpoint` is wrong"),
        (names.ORIGIN, {"parents": [-1]}, "`nfopt:origin` is wrong: expected `int` >= 0"),
        (names.AUTONF, DEEP, "`nfopt:autonf` is nested more than"),
    ],
)
def test_a_trial_is_set_aside_with_one_warning_that_says_why(
    made: Made, name: str, value: Any, said: str
) -> None:
    storage, _ = copy.deepcopy(made[0]), made[1]
    storage._studies[0].trials[1].user_attrs[name] = value
    study = load("s", storage)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        trials = trials_of(study)
        trials_of(study)
        told = describe(study)
    own = [str(w.message) for w in seen if issubclass(w.category, StudyWarning)]
    assert len(own) == 1
    assert own[0].startswith(f"study 's': trial 1 is set aside: {said}")
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert [one["number"] for one in told["best_trials"]] == [0, 2]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (names.POPULATION, {"size": -5, "share": 0.5}, "expected `int` >= 1 at size"),
        (names.OBJECTIVES, "nll", "expected `array`, got `str`"),
        (names.LEASE_SECONDS, math.nan, "expected `float` >= 1.0"),
        (names.BUDGET, {"trials": 10**400}, "`nfopt:budget`"),
        (names.SPACE, {"version": 77}, "`nfopt:space`"),
    ],
)
def test_a_study_is_refused_in_one_line_that_names_it_and_the_attribute(
    made: Made, name: str, value: Any, said: str
) -> None:
    storage, data = copy.deepcopy(made[0]), made[1]
    storage._studies[0].user_attrs[name] = value
    lines = run_all(storage, data)
    assert lines
    assert all(line.startswith("`--study` 's' can't be used: its attribute") for line in lines)
    assert said in lines[0]
    assert f"`{name}`" in lines[0]
