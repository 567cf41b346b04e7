"""The pace of a study, the time that it leaves, and its workers."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from small_study import TRAIN, flow

from nfopt import attributes as names
from nfopt.attributes import KIN as BEGAN_FROM
from nfopt.cli.studies.pace import seconds_left, trials_a_minute, worker_rows
from nfopt.cli.studies.status import _pace, _workers, describe
from nfopt.distributed.process import Worker

BEGAN = datetime(2026, 1, 1)


def trial(start: float, end: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    found = create_trial(state=state, value=1.0 if state is TrialState.COMPLETE else None)
    found.datetime_start = BEGAN + timedelta(seconds=start)
    found.datetime_complete = BEGAN + timedelta(seconds=end)
    return found


def test_the_pace_is_that_of_the_latest_trials_that_count() -> None:
    assert trials_a_minute([]) is None
    assert trials_a_minute([trial(0, 0)]) is None
    batch = [trial(0, 30), trial(0, 30), trial(0, 30, TrialState.FAIL), trial(30, 60)]
    assert trials_a_minute(batch) == pytest.approx(3.0)
    old = [trial(-9000.0 + k, -8999.0 + k) for k in range(50)]
    new = [trial(10.0 * k, 10.0 * k + 10) for k in range(30)]
    assert trials_a_minute([*new, *old]) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("budget", "running", "left"),
    [
        ({"trials": 10}, 2, 120.0),
        ({"trials": 10}, 0, None),
        ({"trials": 6}, 2, 0.0),
        ({"trials": None, "until": 1030.0}, 2, 30.0),
        ({"trials": 10, "until": 1030.0}, 2, 30.0),
        ({"until": 900.0}, 2, 0.0),
        ({}, 2, None),
    ],
)
def test_the_time_left_is_that_of_the_budget(
    budget: dict[str, float | None], running: int, left: float | None
) -> None:
    assert seconds_left(budget, 6, 2.0, running=running, now=1000.0) == left


def test_a_study_is_described_with_its_workers() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name="toy")
    study.set_user_attr(names.BUDGET, {"trials": 4, "minutes": None})
    study.add_trials([trial(0, 10), trial(10, 20)])
    here, gone = Worker.here(), Worker("elsewhere", 1, "")
    for worker, lease in ((here, {"beat": 3}), (here, {"lead": 2}), (gone, {"beat": 1})):
        asked = study.ask()
        asked.set_user_attr(names.WORKER, msgspec.to_builtins(worker))
        asked.set_user_attr(names.LEASE, lease)
    told = describe(study)
    assert told["states"] == {
        "complete": 2, "pruned": 0, "running": 3, "waiting": 0, "fail": 0,
    }  # fmt: skip
    assert told["trials_a_minute"] == pytest.approx(6.0)
    assert told["seconds_left"] == pytest.approx(20.0)
    assert told["workers"] == worker_rows(study)
    assert [(w["trials"], w["beat"], w["alive"]) for w in told["workers"]] == [
        ([2, 3], 3, True),
        ([4], 1, None),
    ]
    assert _workers(told["workers"]) == "1 alive, 1 on other machines"
    assert _pace(told) == "6 trials a minute, about 20 s left"
    assert _pace(told | {"seconds_left": 0.0}).endswith("the budget is met")


def test_trials_of_an_older_study_that_began_ahead_are_not_among_the_best() -> None:
    study = optuna.create_study()
    ahead, own = trial(0, 10), trial(10, 20)
    ahead.values, own.values = [1.0], [2.0]
    ahead.set_user_attr(BEGAN_FROM, "warm")
    study.add_trials([ahead, own])
    told = describe(study)
    assert [one["number"] for one in told["best_trials"]] == [1]
    assert told["states"]["complete"] == 2


@pytest.mark.parametrize("command", ["status", "report"])
def test_looking_at_a_study_does_without_torch(command: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    study = optuna.create_study(study_name="s", storage=url)
    study.set_user_attr(names.SPACE, {})
    stored = {names.SPEC: flow("CTC", "TCT").to_json(), names.TRAIN: TRAIN.to_json()}
    study.add_trial(create_trial(value=1.0, user_attrs=stored))
    code = (
        "import sys; from nfopt.cli.app import run\n"
        f"assert run([{command!r}, 's', '--storage', {url!r}]) == 0\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=tmp_path)
