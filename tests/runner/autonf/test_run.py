"""`run_autonf`: a study of searches, and the winner on disk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from small_study import table

from nfopt import attributes as names
from nfopt.autonf import RacePlan, Settings
from nfopt.errors import StudyError
from nfopt.model import Flow
from nfopt.runner.autonf.objective import CANDIDATES, HISTORY, Setup
from nfopt.runner.autonf.run import AutoNFResult, run_autonf
from nfopt.study.dataset import Source, read

RACE = RacePlan(rungs=(0.01, 0.02), keep=(8, 1))
PRICES = (0.0, 90.0)
SETUP = Setup(
    options="affine-coupling,spline-coupling,identity",
    places=2,
    width=8,
    cost="parameters",
    price=PRICES,
    race=RACE,
)


@pytest.fixture(autouse=True)
def _all_race(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is: who races is not what these tests are about."""
    module = sys.modules["nfopt.autonf.race"]  # the package's function of that name hides it
    monkeypatch.setattr(module, "affordable", lambda specs, *other: list(RACE.keep))


def call(source: Source, folder: Path, setup: Setup = SETUP, **more: Any) -> AutoNFResult:
    return run_autonf(
        source,
        setup,
        study="toy",
        storage=f"sqlite:///{folder}/toy.db",
        out=folder / "flow",
        minutes=0.05,
        settings=Settings(steps=6, batch_size=64),
        **more,
    )


def test_several_prices_are_a_front_and_the_winner_is_saved(source: Source, tmp_path: Path) -> None:
    told: list[Any] = []
    result = call(source, tmp_path, on_event=told.append)
    trials = result.study.get_trials(deepcopy=False)
    assert [trial.params["price"] for trial in trials] == list(PRICES)
    assert all(HISTORY in trial.user_attrs for trial in trials)
    assert result.trials == 2
    assert [point["cost"] for point in result.front] == sorted(p["cost"] for p in result.front)
    assert trials[1].user_attrs[CANDIDATES][0]["cost"] == 1  # at such a price, the least
    flow = Flow.load(tmp_path / "flow")
    assert flow.specs[0].to_json() == trials[result.number or 0].user_attrs[names.SPEC]
    assert np.isfinite(result.test_nll)
    assert result.to_dict()["front"] == [dict(point) for point in result.front]
    assert {type(event).__name__ for event in told} >= {"Started", "Training", "Done"}
    again = call(source, tmp_path)  # the study has its trials: only the winner is trained again
    assert len(again.study.trials) == 2
    other = read(table(rows=301), seed=0)
    with pytest.raises(StudyError, match="`study` 'toy' was made with other data"):
        call(other, tmp_path)
    changed = Setup(**{**vars(SETUP), "places": 3})
    with pytest.raises(StudyError, match="was made with places 2, not 3"):
        call(source, tmp_path, changed)


def test_another_kind_of_study_is_left_alone(source: Source, tmp_path: Path) -> None:
    optuna.create_study(study_name="toy", storage=f"sqlite:///{tmp_path}/toy.db")
    with pytest.raises(StudyError, match="was not made by nfopt autonf"):
        call(source, tmp_path)


def test_a_stopped_call_says_so_and_keeps_the_study(source: Source, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        call(source, tmp_path, should_stop=lambda: True)
    study = optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/toy.db")
    assert study.trials[0].user_attrs[names.REASON] == "interrupted"
