"""Whose weights are kept."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, create_trial

from nfopt import attributes as names
from nfopt.distributed.checkpoints import Checkpoints
from nfopt.distributed.lease import Lease
from nfopt.samplers.trials import BEGAN_FROM
from nfopt.study.weights import BestWeights


def told(value: float, parameters: int = 100, **more: str) -> FrozenTrial:
    return create_trial(value=value, user_attrs={names.PARAMETERS: parameters, **more})


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
    assert kept(study) == [1, 2, 0, 3]
    assert kept(study, count=2) == [1, 2]
    assert kept(study, count=3, most_bytes=800) == [1, 2]
    assert kept(study, most_bytes=10) == [1], "the best one is kept whatever its size"
    study.add_trial(told(2.5, parameters=1))
    assert kept(study, most_bytes=804) == [1, 2, 4], "a smaller one behind one without room"


def test_trials_of_an_older_study_that_began_ahead_have_no_place() -> None:
    study = optuna.create_study()
    study.add_trials([told(1.0, **{BEGAN_FROM: "warm"}), told(2.0)])
    assert kept(study) == [1]
