"""`fit` in a given time: as many recipes of the portfolio as are trained in it, mixed."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors import SafetensorError
from scipy.stats import multivariate_normal
from small_study import RECIPES, TRAIN, flow

from nfopt.errors import NfoptError
from nfopt.events import Done, Event, Notice, Training
from nfopt.model import Flow, disk
from nfopt.report.hooks import REPORT, reported
from nfopt.report.page.markup import LEFT_OUT
from nfopt.runner import budget as plan
from nfopt.runner import deliver, fit
from nfopt.runner.budget import Pace
from nfopt.runner.context import Run
from nfopt.runner.fit import run_fit
from nfopt.signals import Stop
from nfopt.spec import Recipe
from nfopt.study.dataset import Source
from nfopt.study.length import MEMBERS
from nfopt.study.results import FitResult
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import FEW_STEPS

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


def test_minutes_are_filled_with_the_recipes_by_shape(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(monkeypatch, 5.0)
    result = run_fit(source, THREE, minutes=1.0, began=0.0, clock=clock)
    assert clock.trained == [(THREE[0].flow, 6), (THREE[1].flow, 3)]
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


def late(source: Source, **more: Any) -> FitResult:
    """Fit in a call whose time was over before its training began."""
    return run_fit(source, THREE, members=2, minutes=1.0, began=-1e6, clock=lambda: 0.0, **more)


def test_what_is_delivered_was_trained_though_the_time_was_over(source: Source) -> None:
    result = late(source)
    assert result.flow.info["steps"] == [FEW_STEPS, FEW_STEPS]


def test_what_is_of_use_but_not_needed_is_left_out_where_the_time_is_over(
    source: Source, tmp_path: Path
) -> None:
    events: list[Event] = []
    result = reported(late(source, out=tmp_path / "flow", on_event=events.append), None)
    assert result.costs == {}
    assert math.isfinite(result.test_nll)
    assert "what scoring and sampling cost" in result.left_out
    assert "the report's picture of samples" in result.to_dict()["left_out"]
    said = [event.text for event in events if isinstance(event, Notice)]
    for what in result.left_out:
        assert said.count(f"{what} is left out: there is no time for it") == 1
    page = (tmp_path / "flow" / REPORT).read_text(encoding="utf-8")
    assert "What was delivered" in page
    assert LEFT_OUT in page


def test_with_time_nothing_is_left_out(source: Source, tmp_path: Path) -> None:
    result = reported(
        run_fit(source, THREE, members=1, minutes=60.0, out=tmp_path / "flow", clock=lambda: 0.0),
        None,
    )
    assert result.left_out == ()
    assert set(result.costs) == {"score_1000", "sample_1000"}
    assert LEFT_OUT not in (tmp_path / "flow" / REPORT).read_text(encoding="utf-8")


def test_training_leaves_the_time_of_its_round_trip(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliver, "inverse_seconds", lambda specs, device: 7.0)
    clock = Time(monkeypatch, 5.0)
    call = Run(Stop(None), began=0.0, clock=clock).within(100.0)
    ends = deliver.trained_by(call, 100.0, [THREE[0].flow], MappedRows(source.data))
    assert ends == plan.trained_by(100.0) - 7.0
    assert call.closing.inverse == 7.0
    assert call.closing.left() == 100.0


def test_no_time_is_spent_on_measuring_what_cannot_be_trained(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Time(monkeypatch, 40.0)
    measured: list[Recipe] = []

    def pace(recipe: Recipe, rows: object) -> Pace:
        measured.append(recipe)
        return Pace(40.0, 40.0)

    monkeypatch.setattr(fit, "pace_of", pace)
    run_fit(source, THREE, minutes=1.0, began=0.0, clock=clock)
    assert len(measured) == 1


def test_a_flow_that_was_never_trained_is_not_delivered(source: Source) -> None:
    with pytest.raises(NfoptError, match="No flow was trained for a single step"):
        run_fit(source, [Recipe(flow("CTC", "TCT"), msgspec.structs.replace(TRAIN, steps=0))])


def test_worse_than_a_gaussian_is_said_once(source: Source) -> None:
    events: list[Event] = []
    result = late(source, on_event=events.append)
    (line,) = [one for one in result.warnings if "Gaussian" in one]
    assert [e.text for e in events if isinstance(e, Notice)].count(line) == 1
    assert result.flow.info["warnings"] == list(result.warnings)
    rows = MappedRows(source.data)
    assert f"{rows.gaussian_nll():.6g} of a Gaussian" in line
    train, val = (part.source.line for part in source.data.parts[:2])
    known = multivariate_normal(train.mean(axis=0), np.cov(train, rowvar=False, bias=True))
    assert rows.gaussian_nll() == pytest.approx(-known.logpdf(val).mean(), abs=1e-3)
    assert result.validation_nll > rows.gaussian_nll()


def test_better_than_a_gaussian_is_not_said(source: Source) -> None:
    steps = msgspec.structs.replace(TRAIN, steps=400)
    result = run_fit(source, [Recipe(THREE[0].flow, steps)])
    assert result.validation_nll < MappedRows(source.data).gaussian_nll()
    assert not any("Gaussian" in line for line in result.warnings)


def test_folds_have_a_gaussian_each(source: Source) -> None:
    rows = MappedRows(source.data, folds=5)
    alone = [MappedRows(part).gaussian_nll() for part in rows.parts]
    sizes = [part.sizes[1] for part in rows.parts]
    assert rows.gaussian_nll() == pytest.approx(np.average(alone, weights=sizes))


# ------------------------------------------------------------------------------ the flow's folder


def test_a_folder_that_becomes_a_file_leaves_the_flow_beside_it(
    source: Source, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (tmp_path / "out-2").mkdir()  # somebody else's

    def became(event: Event) -> None:
        if isinstance(event, Training):
            out.write_text("a file")

    events: list[Event] = []
    result = run_fit(source, THREE, out=out, on_event=lambda e: (became(e), events.append(e))[1])
    assert result.out == tmp_path / "out-3"
    assert result.to_dict()["out"] == str(result.out)
    assert f"{str(out)!r} (File exists): it is in {str(result.out)!r}" in result.warnings[-1]
    assert result.warnings[-1] in [e.text for e in events if isinstance(e, Notice)]
    assert [e.out for e in events if isinstance(e, Done)] == [str(result.out)]
    assert "elsewhere" in Flow.load(result.out).info["warnings"][-1]
    assert not any((tmp_path / "out-2").iterdir())
    assert out.read_text() == "a file"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("28")])
def test_a_disk_that_is_full_leaves_the_flow_in_a_temporary_folder(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, full, spare = disk.save, tmp_path / "full", tmp_path / "spare"
    full.mkdir(), spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))

    def save(home: Path, stored: Any) -> None:
        if home.is_relative_to(full):
            home.mkdir(exist_ok=True)
            raise error
        real(home, stored)

    monkeypatch.setattr(disk, "save", save)
    result = run_fit(source, THREE, out=full / "out")
    assert result.out is not None
    assert result.out.parent == spare
    assert len(Flow.load(result.out)) == 1
    assert str(result.out) in result.warnings[-1]
    assert [path.name for path in full.iterdir()] == ["out"]
    monkeypatch.setattr(disk, "save", lambda home, stored: save(full, stored))
    with pytest.raises(NfoptError, match="nor elsewhere"):
        run_fit(source, THREE, out=full / "out")


def test_one_failure_leaves_the_flow_beside(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(flow: Flow, folder: Path) -> Path:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Flow, "save", fail)
    result = run_fit(source, THREE, out=tmp_path / "out")
    assert result.out == tmp_path / "out-2"
    assert len(Flow.load(result.out)) == 1
