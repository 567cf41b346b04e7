"""A population: asked with one shape, told truthfully, never lost."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import optuna
import pytest
from msgspec.structs import replace
from optuna.trial import TrialState
from small_study import BEST, LIMITS, RECIPES, flow

from nfopt import attributes as names
from nfopt.distributed.lease import Observer
from nfopt.distributed.process import Worker
from nfopt.distributed.queue import WorkQueue
from nfopt.flows.cost import inverse_cost, train_cost
from nfopt.runner import ask
from nfopt.runner.ask import Asker
from nfopt.space import SearchSpace
from nfopt.stored import recipe_of
from nfopt.study import candidate as batch
from nfopt.study.candidate import groups, release, stack_key, tell
from nfopt.study.sampler import StudySampler
from nfopt.training import MemberResult


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.create(3, 240, kind="coupling", limits=LIMITS, recipes=RECIPES)


@pytest.fixture
def study(space: SearchSpace) -> Iterator[optuna.Study]:
    return optuna.create_study(sampler=StudySampler("random", 0, space))


def result(status: Any = "complete", **more: Any) -> MemberResult:
    known: dict[str, Any] = {
        "member": 0,
        "status": status,
        "reason": "",
        "nll": 1.5,
        "nll_2se": 0.1,
        "steps": 20,
        "best_step": 20,
        "seconds": 0.5,
        "curve": (),
        "round_trip": 1e-5,
    }
    return MemberResult(**(known | more))


def test_a_population_shares_its_shape(study: optuna.Study, space: SearchSpace) -> None:
    for _ in range(5):
        population = Asker(WorkQueue(study), space, 0).population(6)
        assert len(groups(population)) == 1
        assert len({c.trial.params["learning_rate"] for c in population}) == 6
        assert len({c.seed for c in population}) == 6
        release(WorkQueue(study), population, "test", again=False)
    shapes = {tuple(trial.params[key] for key in space.shape_parameters) for trial in study.trials}
    assert len(shapes) > 1


def test_the_queue_comes_first_and_leads(study: optuna.Study, space: SearchSpace) -> None:
    study.enqueue_trial(space.params_of(BEST))
    population = Asker(WorkQueue(study), space, 0).population(4)
    assert population[0].spec == BEST.flow
    assert len(population) == 4
    assert len(groups(population)) == 1


def test_what_muon_trains_is_no_stack_with_what_adamw_trains() -> None:
    spec, adamw = BEST.flow, BEST.train
    muon, other = replace(adamw, optimiser="muon"), replace(adamw, optimiser="adam")
    assert stack_key(spec, adamw) == stack_key(spec, other) != stack_key(spec, muon)
    assert stack_key(spec, muon) == stack_key(spec, replace(muon, learning_rate=0.1))


def test_two_in_the_queue_of_different_shapes(study: optuna.Study, space: SearchSpace) -> None:
    for recipe in RECIPES:
        study.enqueue_trial(space.params_of(recipe))
    population = Asker(WorkQueue(study), space, 0).population(5)
    assert [c.spec for c in population[:2]] == [each.flow for each in RECIPES]
    assert sorted(len(group) for group in groups(population)) == [1, 4]


def test_what_a_trial_tells_of_itself(study: optuna.Study, space: SearchSpace) -> None:
    (candidate,) = Asker(WorkQueue(study), space, 7).population(1)
    tell(study, candidate, result())
    trial = study.trials[0]
    known = trial.user_attrs
    wanted = "spec genome parameters seconds seed fidelity round_trip cost_train cost_inverse"
    assert {f"nfopt:{word}" for word in [*wanted.split(), "versions", "worker"]} <= set(known)
    recipe = recipe_of(trial)
    spec, train = recipe.flow, recipe.train
    assert spec == candidate.spec
    assert known[names.SPEC] == spec.to_json()
    assert known[names.PARAMETERS] == spec.parameter_count()
    assert bytes.fromhex(known[names.GENOME])
    assert known[names.FIDELITY] == 20 / train.steps
    assert known[names.VERSIONS]["optuna"] == optuna.__version__
    assert space.build(trial.params) == recipe
    msgspec.json.encode(known)


@pytest.mark.parametrize(
    ("member", "state", "value"),
    [
        (result(), TrialState.COMPLETE, 1.5),
        (result(nll=math.inf), TrialState.FAIL, None),
        (result(nll=math.nan), TrialState.FAIL, None),
        (result(round_trip=0.011), TrialState.FAIL, None),
        (result(round_trip=math.inf), TrialState.FAIL, None),
        (result(round_trip=math.nan), TrialState.FAIL, None),
        (result("failed", reason="weights not finite at step 7"), TrialState.FAIL, None),
        (result("pruned", reason="pruned at step 10"), TrialState.PRUNED, 1.7),
        (result("interrupted", round_trip=math.nan), TrialState.PRUNED, 1.7),
    ],
)
def test_states(
    study: optuna.Study,
    space: SearchSpace,
    member: MemberResult,
    state: TrialState,
    value: float | None,
) -> None:
    (candidate,) = Asker(WorkQueue(study), space, 0).population(1)
    batch.report(study, candidate, 0.25, 1.7)
    assert tell(study, candidate, member, stopped="out of time") is state
    trial = study.trials[0]
    assert (trial.state, trial.value) == (state, value)
    assert (names.REASON in trial.user_attrs) == (state is not TrialState.COMPLETE)
    if state is TrialState.COMPLETE:
        assert trial.intermediate_values == {25: 1.7, 100: 1.5}


def test_stopped_before_any_rung_is_no_result(study: optuna.Study, space: SearchSpace) -> None:
    (candidate,) = Asker(WorkQueue(study), space, 0).population(1)
    assert tell(study, candidate, result("interrupted")) is TrialState.FAIL


def test_several_objectives(space: SearchSpace) -> None:
    study = optuna.create_study(
        directions=["minimize"] * 3, sampler=StudySampler("random", 0, space)
    )
    (candidate,) = Asker(WorkQueue(study), space, 0).population(1)
    tell(study, candidate, result(), ("parameters", "nll", "inverse_cost"))
    spec = candidate.spec
    wanted = [spec.parameter_count(), 1.5, inverse_cost(spec)]
    assert study.trials[0].values == wanted


def test_what_is_released_comes_back_with_its_shape(
    study: optuna.Study, space: SearchSpace
) -> None:
    population = Asker(WorkQueue(study), space, 0).population(3)
    tell(study, population[0], result())
    release(WorkQueue(study), population, "interrupted")
    states = [trial.state for trial in study.trials]
    waiting = [TrialState.WAITING] * 2
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL, *waiting]
    assert study.trials[1].user_attrs[names.REASON] == "interrupted"
    again = Asker(WorkQueue(study), space, 0).population(3)
    assert [c.spec for c in again[:2]] == [c.spec for c in population[1:]]
    assert [c.trial.params for c in again[:2]] == [c.trial.params for c in population[1:]]
    assert study.trials[3].user_attrs[names.RETRY_OF] == 1
    assert len(groups(again)) == 1


def test_an_error_while_asking_leaves_nothing_running(
    study: optuna.Study, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = ask.describe, []

    def broken(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(ask, "describe", broken)
    with pytest.raises(KeyboardInterrupt):
        Asker(WorkQueue(study), space, 0).population(4)
    assert not [t for t in study.trials if t.state is TrialState.RUNNING]


def test_dead_processes_are_found_and_live_ones_left_alone(
    study: optuna.Study, space: SearchSpace
) -> None:
    mine, dead, reused, far, stranger = Asker(WorkQueue(study), space, 0).population(5)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = Worker.here()
    for candidate, worker in (
        (dead, msgspec.structs.replace(here, pid=gone.pid)),
        (reused, msgspec.structs.replace(here, began="1")),
        (far, msgspec.structs.replace(here, host="elsewhere")),
    ):
        candidate.trial.set_user_attr(names.WORKER, msgspec.to_builtins(worker))
    stranger.trial.set_user_attr(names.WORKER, "me")
    assert WorkQueue(study).reap(Observer()) == [dead.number, reused.number]
    states = [trial.state for trial in study.trials]
    assert states[mine.number] is states[far.number] is TrialState.RUNNING
    assert states[dead.number] is states[reused.number] is TrialState.FAIL
    waiting = study.get_trials(states=(TrialState.WAITING,))
    assert [t.system_attrs["fixed_params"] for t in waiting] == [
        dead.trial.params,
        reused.trial.params,
    ]


def test_costs_count_what_a_flow_does() -> None:
    small, large = flow("CTC", width=4), flow("CTC", "TCT", width=8)
    assert 0 < train_cost(small) < train_cost(large)
    assert inverse_cost(large) == pytest.approx(train_cost(large) / 3)
