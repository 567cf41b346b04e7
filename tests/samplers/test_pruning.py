"""Who ends at a rung."""

from __future__ import annotations

import math

import optuna

from nfopt.attributes import AGAIN
from nfopt.samplers.pruning import RungPruner, to_prune


def test_the_better_half_goes_on() -> None:
    assert to_prune({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, []) == {2, 3}
    assert to_prune({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0, 4: 5.0}, []) == {3, 4}


def test_history_counts() -> None:
    values = {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}
    assert to_prune(values, [0.1, 0.2, 0.3, 0.4]) == {0, 1, 2, 3}
    assert to_prune(values, [10.0, 20.0, 30.0, 40.0]) == set()


def test_too_little_is_known() -> None:
    assert to_prune({0: 1.0, 1: 2.0}, [5.0]) == set()


def test_not_finite_always_ends() -> None:
    assert to_prune({0: math.inf, 1: math.nan, 2: 1.0}, [], spare=[0]) == {0, 1}
    assert to_prune({0: 1.0, 1: 2.0}, [math.inf, math.nan, 3.0, 4.0]) == set()


def test_spared_members_go_on() -> None:
    assert to_prune({0: 9.0, 1: 1.0, 2: 2.0, 3: 3.0}, [], spare=[0]) == {3}


def test_equal_values_go_on_together() -> None:
    assert to_prune(dict.fromkeys(range(6), 1.0), [1.0]) == set()


def test_no_more_go_on_than_there_is_time_for() -> None:
    values = {0: 3.0, 1: 1.0, 2: 2.0}
    assert to_prune(values, [], most=2) == {0}
    assert to_prune(values, [], most=2, spare=[0]) == {2}
    assert to_prune(values, [], most=0) == {0, 1, 2}


def test_the_pruner_of_plain_optuna_halves_at_each_step() -> None:
    study = optuna.create_study(pruner=RungPruner(), direction="maximize")
    pruned = []
    for number, value in enumerate([5.0, 1.0, 2.0, 3.0, 4.5, 2.5, math.nan]):
        trial = study.ask()
        trial.report(value, 1)
        pruned += [number] if trial.should_prune() else []
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    assert pruned == [5, 6]  # of 5, 1, 2, 3, 4.5, 2.5 the better half begins at 3


def test_the_pruner_leaves_out_what_was_interrupted_and_came_back() -> None:
    study = optuna.create_study(pruner=RungPruner())
    for _ in range(4):
        lost = study.ask()
        lost.report(0.0, 1)
        lost.set_user_attr(AGAIN, True)
        study.tell(lost, state=optuna.trial.TrialState.FAIL)
    trial = study.ask()
    assert not trial.should_prune()
    trial.report(1.0, 1)
    assert not trial.should_prune()
