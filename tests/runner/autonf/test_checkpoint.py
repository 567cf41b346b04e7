"""A differentiable search that is killed or interrupted comes back and goes on."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt.autonf import RacePlan, Settings
from nfopt.distributed.artifacts import settle
from nfopt.events import Notice
from nfopt.runner.autonf.checkpoint import Keeping
from nfopt.runner.autonf.objective import CANDIDATES, HISTORY, AutoNFObjective
from nfopt.runner.autonf.run import run_autonf
from nfopt.runner.autonf.setup import Setup
from nfopt.spec import TrainSpec
from nfopt.study.dataset import Source

TRAIN = TrainSpec(steps=10, batch_size=64, learning_rate=1e-2)
SEARCH = Settings(steps=8, batch_size=64)
RACE = RacePlan(rungs=(0.5, 1.0), keep=(2, 1))
SETUP = Setup(options="affine-coupling,spline-coupling,identity", places=2, width=8, race=RACE)
AGAIN = (names.SEED, names.SPEC, CANDIDATES, HISTORY, names.NLL_2SE)


def kept(folder: Path) -> list[Path]:
    """What a study keeps, besides its token and whose it is."""
    files = (path for path in (folder / "artifacts").rglob("*") if path.is_file())
    return sorted(path for path in files if path.name not in ("token", "owner.json"))


class Killed(BaseException):
    """Stands for a signal that nothing can catch: the trial stays RUNNING."""


def objective(source: Source, **more: Any) -> AutoNFObjective:
    return AutoNFObjective(source, SETUP, settings=SEARCH, train=TRAIN, **more)


def start(goal: AutoNFObjective, folder: Path) -> optuna.Study:
    study = optuna.create_study()
    settle(study, folder / "artifacts", make=True)
    study.enqueue_trial(goal.defaults())
    return study


def killed_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, seen = Keeping.saved, 0

    def save(self: Keeping, error: Exception | None) -> None:
        nonlocal seen
        saved(self, error)
        seen += 1
        if seen == count:
            raise Killed

    monkeypatch.setattr(Keeping, "saved", save)


def kill(study: optuna.Study, goal: AutoNFObjective, count: int) -> None:
    """Run a trial until its process is gone, as others see it."""
    with pytest.MonkeyPatch.context() as patch:
        killed_after(count, patch)
        with pytest.raises(Killed):
            study.optimize(goal, n_trials=1)
    trial = study.trials[-1]
    assert trial.state is TrialState.RUNNING
    gone = {"host": socket.gethostname(), "pid": 999_999_999, "began": "", "space": ""}
    study._storage.set_trial_user_attr(trial._trial_id, names.WORKER, gone)


def same(one: optuna.trial.FrozenTrial, two: optuna.trial.FrozenTrial) -> None:
    assert one.value == two.value
    assert one.intermediate_values == two.intermediate_values
    assert one.params == two.params
    for name in AGAIN:
        assert one.user_attrs[name] == two.user_attrs[name]


@pytest.fixture(scope="module")
def whole(source: Source) -> optuna.trial.FrozenTrial:
    goal = objective(source)
    study = optuna.create_study()
    study.enqueue_trial(goal.defaults())
    study.optimize(goal, n_trials=1)
    return study.trials[0]


@pytest.mark.parametrize("count", [1, 3])
def test_a_killed_trial_goes_on(
    count: int, source: Source, whole: optuna.trial.FrozenTrial, tmp_path: Path
) -> None:
    """After a block of its search, and after a training of its race; then again."""
    goal = objective(source)
    study = start(goal, tmp_path)
    kill(study, goal, count)
    assert goal.requeue(study) == 1
    kill(study, goal, 1)
    assert goal.requeue(study) == 1
    assert goal.requeue(study) == 0
    study.optimize(goal, n_trials=1)
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    same(study.trials[2], whole)
    assert kept(tmp_path) == []


def test_optunas_own_retry_goes_on_too(
    source: Source, whole: optuna.trial.FrozenTrial, tmp_path: Path
) -> None:
    goal = objective(source, artifacts=tmp_path / "elsewhere")
    study = optuna.create_study()
    study.enqueue_trial(goal.defaults())
    kill(study, goal, 2)
    old = study.trials[0]
    assert names.CHECKPOINT in old.user_attrs
    study._storage.set_trial_state_values(old._trial_id, TrialState.FAIL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        retry = optuna.storages.RetryHeartbeatStaleTrialCallback()
    retry(study, study.trials[0])
    study.optimize(goal, n_trials=1)
    same(study.trials[1], whole)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_broken_checkpoint_is_set_aside(
    source: Source, whole: optuna.trial.FrozenTrial, tmp_path: Path
) -> None:
    told: list[Any] = []
    goal = objective(source, on_event=told.append)
    study = start(goal, tmp_path)
    kill(study, goal, 4)
    for file in (tmp_path / "artifacts").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    goal.requeue(study)
    study.optimize(goal, n_trials=1)
    same(study.trials[1], whole)
    (said,) = [event.text for event in told if isinstance(event, Notice)]
    assert "checkpoint of trial 0 can't be used and is set aside, its search begins anew" in said


def test_a_checkpoint_of_another_search_is_set_aside(source: Source, tmp_path: Path) -> None:
    told: list[Any] = []
    study = start(objective(source), tmp_path)
    kill(study, objective(source), 4)
    other = AutoNFObjective(
        source, SETUP, settings=SEARCH, on_event=told.append, train=TrainSpec(steps=6)
    )
    other.requeue(study)
    study.optimize(other, n_trials=1)
    assert study.trials[1].state is TrialState.COMPLETE
    assert "is of another run" in told[0].text


def test_ctrl_c_keeps_a_call_and_the_next_one_goes_on(source: Source, tmp_path: Path) -> None:
    asked, told = 0, list[Any]()

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= 10  # a search of 8 steps is over, and its flows are tuned

    def call(**more: Any) -> Any:
        return run_autonf(
            source,
            Setup(**{**vars(SETUP), "race": RacePlan(rungs=(0.01, 0.02), keep=(2, 1))}),
            study="toy",
            storage=f"sqlite:///{tmp_path}/toy.db",
            out=tmp_path / "flow",
            settings=SEARCH,
            **more,
        )

    with pytest.raises(KeyboardInterrupt):
        call(should_stop=should_stop, minutes=10.0)
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/toy.db")
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[0].user_attrs[names.REASON] == "interrupted"
    assert len(kept(tmp_path)) >= 2
    result = call(on_event=told.append, minutes=0.05)
    assert result.number == 1
    assert result.trials == 1
    assert kept(tmp_path) == []
    first, second = result.study.trials
    assert second.user_attrs[names.RETRY_OF] == 0
    assert second.user_attrs[names.SEED] == first.user_attrs[names.SEED]
    assert not [event for event in told if isinstance(event, Notice) and "aside" in event.text]
