"""What flows leave in base space, kept with the trials of a study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from small_study import LIMITS, RECIPES, flow, table

from nfopt.flows import build
from nfopt.samplers.leftover import LEFTOVER, leftover_of
from nfopt.space import SearchSpace
from nfopt.study import left
from nfopt.study.dataset import Source, read
from nfopt.study.objective import Objective
from nfopt.study.results import SearchResult
from nfopt.training import MemberResult, TrainData

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture(scope="module")
def large() -> Source:
    """As `source`, with enough validation rows to say what is left."""
    return read(table(1_500), seed=0)


def ended(member: int, status: str) -> MemberResult:
    return MemberResult(member, status, "", 0.0, 0.0, 1, 1, 0.0, (), 0.0)  # type: ignore[arg-type]


def test_only_members_that_ended_well_are_measured(large: Source) -> None:
    data = TrainData.of(large.data, "cpu")
    (stack,) = build([flow("CTC", "TCT")] * 3, torch.Generator().manual_seed(0))
    results = [ended(0, "pruned"), ended(1, "failed"), ended(2, "complete")]
    found = left.leftovers(stack, results, data)
    assert found.keys() == {0, 2}
    for told in found.values():  # hardly anything but the identity: what the data have
        assert told[LEFTOVER]["features"] == 3
        assert "1 2 " in told[LEFTOVER]["pairs"]


def test_few_validation_rows_say_nothing(source: Source) -> None:
    data = TrainData.of(source.data, "cpu")
    (stack,) = build([flow("CTC", "TCT")], torch.Generator().manual_seed(0))
    assert left.leftovers(stack, [ended(0, "complete")], data) == {}


def test_every_trial_of_a_search_says_what_is_left(
    search: Callable[..., SearchResult], large: Source
) -> None:
    study = search(trials=10, source=large).study
    trials = [t for t in study.trials if t.state in ENDED]
    assert len(trials) == 10
    found = [leftover_of(trial, 3) for trial in trials]
    assert all(pairs is not None for pairs in found)
    assert any(len(pairs) for pairs in found if pairs is not None)


def test_where_nothing_could_be_changed_nothing_is_kept(
    search: Callable[..., SearchResult], large: Source
) -> None:
    limits: dict[str, Any] = {k: v for k, v in LIMITS.items() if k != "residual"}
    study = search(trials=4, source=large, kind="layers", limits=limits).study
    assert not any(LEFTOVER in trial.user_attrs for trial in study.trials)


def test_an_objective_of_one_flow_a_trial_keeps_it_too(large: Source) -> None:
    space = SearchSpace.create(3, 1_200, kind="coupling", limits=LIMITS, recipes=RECIPES)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(large, space), n_trials=2)
    for trial in study.trials:
        pairs = leftover_of(trial, 3)
        assert pairs is not None
        assert np.isfinite(pairs.matrix()).all()
