"""`fit` in a given time: members of the recipe first, then the recipes after it."""

from __future__ import annotations

from typing import Any

import pytest
from small_study import RECIPES, TRAIN, flow

from nfopt.runner import fit
from nfopt.runner.budget import Pace
from nfopt.runner.fit import run_fit
from nfopt.spec import Recipe
from nfopt.study.dataset import Source
from nfopt.study.length import MEMBERS

THREE = [*RECIPES, Recipe(flow("TCC", "CTT"), TRAIN)]


class Time:
    """A clock that a training of each member moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.now, self.trained = 0.0, []
        real = fit.Retraining.all

        def train(run: Any, finalists: Any, again: int = 0) -> Any:
            self.trained.append((finalists[0].recipe.flow, len(finalists)))
            deadline, run.deadline = run.deadline, None
            found = real(run, finalists, again)
            run.deadline = deadline
            self.now += seconds * len(finalists)
            return found

        monkeypatch.setattr(fit.Retraining, "all", train)
        monkeypatch.setattr(fit, "pace_of", lambda recipe, rows: Pace(seconds, seconds))

    def __call__(self) -> float:
        return self.now


def test_minutes_are_filled_with_members_and_then_the_next_recipes(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(monkeypatch, 5.0)
    result = run_fit(source, THREE, minutes=1.0, began=0.0, clock=clock)
    assert clock.trained == [(THREE[0].flow, MEMBERS), (THREE[1].flow, 3)]
    assert len(result.flow) <= MEMBERS
    assert result.flow.specs[0] in {recipe.flow for recipe in THREE}
    assert clock.now <= 60.0


def test_where_not_one_training_fits_one_is_trained(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(monkeypatch, 400.0)
    result = run_fit(source, THREE, minutes=1.0, began=0.0, clock=clock)
    assert clock.trained == [(THREE[0].flow, 1)]
    assert len(result.flow) == 1


@pytest.mark.parametrize("minutes", [None, 10.0])
def test_members_fix_what_is_trained(
    source: Source, monkeypatch: pytest.MonkeyPatch, minutes: float | None
) -> None:
    clock = Time(monkeypatch, 5.0)
    result = run_fit(source, THREE, members=2, minutes=minutes, began=0.0, clock=clock)
    assert clock.trained == [(THREE[0].flow, 2)]
    assert len(result.flow) == 2
    assert result.flow.shares is None


def test_without_minutes_and_members_one_flow(source: Source) -> None:
    result = run_fit(source, THREE)
    assert result.flow.specs == (THREE[0].flow,)
    assert result.flow.info["steps"] == [TRAIN.steps]


def test_a_flow_of_ones_own_is_not_followed_by_others(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(monkeypatch, 1.0)
    run_fit(source, THREE[2:], minutes=1.0, began=0.0, clock=clock)
    assert clock.trained == [(THREE[2].flow, MEMBERS)]
