"""Children that begin from their parent's trained weights, and are compared with their like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState, create_trial
from small_study import BEST, LIMITS, TRAIN, flow

from nfopt import attributes as names
from nfopt.distributed.checkpoints import Checkpoints
from nfopt.distributed.lease import Lease
from nfopt.events import Event, RungReached, Training
from nfopt.flows import Stack
from nfopt.runner import budget, trainer
from nfopt.runner import retrain as finish
from nfopt.runner.retrain import choose_finalists
from nfopt.spec import FlowSpec
from nfopt.study import warm, weights
from nfopt.study.create import load_study
from nfopt.study.ranking import KIN, WARM, fairly, kin_of
from nfopt.study.results import SearchResult
from nfopt.study.stacks import train_stack
from nfopt.study.stored import specs_of
from nfopt.study.weights import BestWeights, kept_flow

Search = Callable[..., SearchResult]
# one shape, so that every child could begin from its parent's weights
ONE_SHAPE = {**LIMITS, "depth": 4, "width": 8, "batch_size": 64, "pairs": False}
ONE = [(flow("CTC", "TCT", "CTC", "TCT"), TRAIN)]
WIDE = {"limits": ONE_SHAPE, "recipes": ONE, "warm_children": True}


def warm_ones(study: optuna.Study) -> list[FrozenTrial]:
    return [t for t in study.trials if kin_of(t) and t.state.is_finished()]


def artifacts(url: str) -> list[Path]:
    return sorted((Path(url.removeprefix("sqlite:///")).parent / "artifacts").glob("weights-*"))


# --------------------------------------------------------------------------------- in a real search


def test_children_begin_where_their_parents_ended_and_are_marked(
    search: Search, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents: dict[int, dict[str, torch.Tensor]] = {}
    begun: list[tuple[FlowSpec, dict[str, torch.Tensor]]] = []
    cold: list[bool] = []

    def read(study: optuna.Study, number: int) -> Any:
        found = kept_flow(study, number)
        parents[number] = found.weights()
        return found

    def spy(specs: Sequence[FlowSpec], *rest: Any, on_built: Any, **more: Any) -> Any:
        def look(stack: Stack) -> None:
            on_built(stack)
            begun.extend((spec, stack.weights(row)) for row, spec in enumerate(specs))

        return train_stack(specs, *rest, on_built=look, **more)

    def retrained(*rest: Any, **more: Any) -> Any:
        cold.append("on_built" not in more)
        return train_stack(*rest, **more)

    monkeypatch.setattr(warm, "kept_flow", read)
    monkeypatch.setattr(trainer, "train_stack", spy)
    monkeypatch.setattr(finish, "train_stack", retrained)
    result = search(trials=32, storage=url, **WIDE)
    study = result.study
    assert study.user_attrs[names.WARM_CHILDREN] is True
    found = warm_ones(study)
    assert found
    full = study.trials[0].user_attrs[names.FIDELITY]
    for trial in found:
        assert trial.user_attrs[KIN] == WARM
        number = trial.user_attrs[names.WARM_FROM]
        parent = study.trials[number]
        assert not kin_of(parent), "only what began cold is begun from"
        assert parent.number in trial.user_attrs["nfopt:origin"]["parents"]
        old = parents[number]
        spec = specs_of(trial)[0]
        same = [new for own, new in begun if own == spec and _equal(new, old)]
        assert same, "all but what belongs to other features is the parent's"
        if trial.state is TrialState.COMPLETE:
            assert trial.user_attrs[names.FIDELITY] == pytest.approx(full * warm.SHARE, rel=0.11)
    assert {kin_of(t) for t in study.trials} == {"", WARM}
    assert all(cold), "finalists begin anew"
    assert cold


def _equal(new: Mapping[str, torch.Tensor], old: Mapping[str, torch.Tensor]) -> bool:
    """All that belongs to no feature: hidden biases; the input's and output's sizes may differ."""
    keys = [key for key in old if key.endswith((".bias", "hidden_1", "hidden_bias_1"))]
    return all(torch.equal(new[key], old[key]) for key in keys)


def test_rungs_compare_like_with_like(
    search: Search, url: str, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    histories: list[list[float]] = []

    def spy(values: Any, history: Sequence[float], *, spare: Any) -> set[int]:
        histories.append(list(history))
        return set()

    monkeypatch.setattr(trainer, "to_prune", spy)
    study = search(trials=32, storage=url, **WIDE).study
    rungs = [event for event in events if isinstance(event, RungReached)]
    assert len(rungs) == len(histories)
    assert warm_ones(study)
    for event, history in zip(rungs, histories, strict=True):
        kins = {kin_of(study.trials[number]) for number in event.values}
        assert len(kins) == 1
        step = round(100 * event.fraction)
        like = [t.intermediate_values.get(step) for t in study.trials if kin_of(t) in kins]
        assert all(value in like for value in history)
        seen.append(tuple(kins))
    assert len(Counter(seen)) == 2


def test_without_the_parents_weights_they_begin_cold_and_unmarked(
    search: Search, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(study: optuna.Study, number: int) -> Any:
        raise ValueError("no weights that were kept")

    monkeypatch.setattr(warm, "kept_flow", gone)
    study = search(trials=16, storage=url, **WIDE).study
    assert not any(KIN in t.user_attrs or names.WARM_FROM in t.user_attrs for t in study.trials)


def test_it_is_off_unless_asked_for_and_the_study_remembers(search: Search, url: str) -> None:
    study = search(trials=16, storage=url, limits=ONE_SHAPE, recipes=ONE).study
    assert names.WARM_CHILDREN not in study.user_attrs
    assert not warm_ones(study)
    study = search(trials=24, storage=url, limits=ONE_SHAPE, recipes=ONE, warm_children=True).study
    count = len(warm_ones(study))
    assert count
    study = search(trials=36, storage=url, limits=ONE_SHAPE, recipes=ONE).study
    assert len(warm_ones(study)) > count
    again = search(trials=44, storage=url, limits=ONE_SHAPE, recipes=ONE, warm_children=False).study
    assert len(warm_ones(again)) == len(warm_ones(study))


def test_what_was_interrupted_goes_on_as_warm(
    search: Search, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "TRIAL_SHARE", 1.0)
    asked: list[int] = []

    def tell(event: Event) -> None:
        if isinstance(event, Training) and event.phase == "search" and event.step >= 1:
            study = load_study("small", url)
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            asked.extend(t.number for t in running if kin_of(t))

    with pytest.raises(KeyboardInterrupt):
        search(trials=32, storage=url, on_event=tell, should_stop=lambda: bool(asked), **WIDE)
    study = search(trials=32, storage=url, **WIDE).study
    retries = [t for t in study.trials if t.user_attrs.get(names.RETRY_OF) in asked]
    assert retries
    for trial in retries:
        old = study.trials[trial.user_attrs[names.RETRY_OF]]
        assert kin_of(trial) == WARM
        assert trial.user_attrs[names.WARM_FROM] == old.user_attrs[names.WARM_FROM]
        assert trial.user_attrs[names.SEED] == old.user_attrs[names.SEED]


# ------------------------------------------------------------------------------------ what is kept


def told(
    value: float, parameters: int = 100, kin: str = "", state: TrialState = TrialState.COMPLETE
) -> FrozenTrial:
    attributes = {
        names.PARAMETERS: parameters,
        names.SPEC: flow("CTC", width=1 + round(value * 10)).to_json(),
        names.TRAIN: TRAIN.to_json(),
        **({KIN: kin} if kin else {}),
    }
    return create_trial(value=value, state=state, user_attrs=attributes)


def kept(study: optuna.Study, **limits: int) -> list[int]:
    checkpoints = Checkpoints(study, Lease(study), lambda event: None)
    try:
        best = BestWeights(study, checkpoints, None, **limits)
        return [each.number for each in best._best(study.get_trials(deepcopy=False))]
    finally:
        checkpoints.close()


def test_the_limits_of_count_and_bytes_hold() -> None:
    study = optuna.create_study()
    for value in (3.0, 1.0, 2.0, 4.0):
        study.add_trial(told(value))
    for value in (0.4, 0.3):
        study.add_trial(told(value, kin=WARM))
    assert kept(study) == [1, 2, 0, 3, 5, 4]
    assert kept(study, count=2) == [1, 2, 5, 4]
    assert kept(study, count=2, most_bytes=1_200) == [1, 2, 5]
    assert kept(study, most_bytes=10) == [1], "the best one is kept whatever its size"
    for value in range(5, 12):
        study.add_trial(told(float(value) / 100, kin=WARM))
    assert sum(number > 3 for number in kept(study)) == weights.KEPT


def test_many_parents_are_kept_only_where_children_begin_from_them(
    search: Search, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nfopt.runner.loop.PARENTS", 2)
    study = search(trials=24, storage=url, **WIDE).study
    there = {path.name for path in artifacts(url)}
    having = [t for t in study.trials if t.user_attrs.get(names.WEIGHTS) in there]
    assert len(there) == len(having)
    assert sum(not kin_of(t) for t in having) == 2
    assert sum(bool(kin_of(t)) for t in having) <= weights.KEPT


# --------------------------------------------------------------------------------------- finalists


def test_finalists_are_chosen_from_both_in_turn() -> None:
    study = optuna.create_study()
    for value in (3.0, 1.0, 2.0, 4.0):
        study.add_trial(told(value))
    for value in (0.5, 0.3, 0.4, 0.6):
        study.add_trial(told(value, kin=WARM))
    study.add_trial(told(0.1, state=TrialState.PRUNED))
    found = fairly(study.get_trials(deepcopy=False), 0)
    assert [t.number for t in found] == [1, 5, 2, 6, 0, 4, 3, 7, 8]
    chosen = [each.number for each in choose_finalists(study, BEST, count=3)]
    assert chosen == [1, None, 5, 2]
