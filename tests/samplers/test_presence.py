"""Who has what not all have: rules of one parameter that no trial contradicts."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, create_trial

from nfopt.samplers.presence import Presence, Rule

KINDS = {
    "depth": IntDistribution(0, 9),
    "batch": IntDistribution(1, 4096, log=True),
    "kind": CategoricalDistribution(("a", "b", "c")),
    "x": FloatDistribution(0.0, 1.0),
    "it.mask": IntDistribution(0, 255),
}
NAMES = {"it": frozenset({"it.mask"})}


def trials(*rows: dict[str, Any]) -> list[FrozenTrial]:
    study = optuna.create_study()
    for row in rows:
        kinds = {name: KINDS[name] for name in row}
        study.add_trial(create_trial(params=row, distributions=kinds, value=0.0))
    return study.trials


def rows(having: Any, count: int = 18) -> list[dict[str, Any]]:
    found = []
    for n in range(count):
        row = {"depth": n % 6, "batch": 1 + 37 * n, "kind": "abc"[n // 6 % 3], "x": n / count}
        found.append({**row, "it.mask": n} if having(row) else row)
    return found


def test_what_all_have_needs_no_rule() -> None:
    assert Presence().learn(trials(*rows(lambda row: True)), NAMES) == {}


def test_a_threshold_of_a_whole_number() -> None:
    rule = Presence().learn(trials(*rows(lambda row: row["depth"] >= 3)), NAMES)["it"]
    assert rule == Rule("depth", starts=(0, 3), flags=(False, True))
    assert [rule.present(n) for n in (-1, 0, 2, 3, 9)] == [False, False, False, True, True]
    below = Presence().learn(trials(*rows(lambda row: row["depth"] < 2)), NAMES)["it"]
    assert [below.present(n) for n in (0, 1, 2, 9)] == [True, True, False, False]


def test_a_category() -> None:
    rule = Presence().learn(trials(*rows(lambda row: row["kind"] == "b")), NAMES)["it"]
    assert rule.parameter == "kind"
    assert [rule.present(kind) for kind in "abc"] == [False, True, False]
    assert rule.present("never seen")


def test_without_a_rule_it_is_as_if_all_had_it() -> None:
    presence = Presence()
    both = rows(lambda row: row["kind"] == "b" and row["depth"] > 2, 36)
    both += [{**row, "batch": row["batch"] + 1} for row in both]
    both += [{name: x for name, x in row.items() if name != "batch"} for row in both]
    assert presence.learn(trials(*both), NAMES) == {}


def test_a_trial_that_contradicts_ends_a_rule() -> None:
    presence = Presence()
    rows = [
        {"depth": 1, "kind": "a", "it.mask": 3},
        {"depth": 2, "kind": "c"},
        {"depth": 2, "kind": "a", "it.mask": 3},
    ]
    known = trials(*rows)
    assert presence.learn(known[:2], NAMES)["it"].parameter == "depth"
    assert presence.learn(known, NAMES)["it"] == Rule("kind", without=("c",))


def test_what_is_declared_late_was_missing_before() -> None:
    presence = Presence()
    known = trials(*rows(lambda row: row["depth"] >= 3))
    assert presence.learn(known[:2], {}) == {}
    assert presence.learn(known, NAMES)["it"].parameter == "depth"


@pytest.mark.parametrize("state", [optuna.trial.TrialState.FAIL, optuna.trial.TrialState.RUNNING])
def test_a_trial_that_did_not_end_says_nothing(state: Any) -> None:
    known = trials(*rows(lambda row: row["depth"] >= 3))
    study = optuna.create_study()
    study.add_trials(known)
    odd = {"depth": 5, "batch": 1, "kind": "a", "x": 0.5}
    kinds = {name: KINDS[name] for name in odd}
    study.add_trial(create_trial(params=odd, distributions=kinds, state=state))
    assert Presence().learn(study.trials, NAMES)["it"].parameter == "depth"
