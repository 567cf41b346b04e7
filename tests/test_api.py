"""The functions that a user calls: any data, saved flows, retraining from storage alone."""

from __future__ import annotations

import functools
import inspect
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

import nfopt
from nfopt import api, recipes
from nfopt import attributes as names
from nfopt.errors import NfoptError, StudyError
from nfopt.events import Event, Notice
from nfopt.report.page.facts import Facts
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec
from nfopt.stored import recipe_of
from nfopt.study.data_options import DataOptions
from nfopt.study.results import SearchResult
from nfopt.study.stacks import train_stack

Search = Callable[..., SearchResult]
TRAIN = TrainSpec(steps=40, batch_size=64, learning_rate=5e-3)
NET = Conditioner(width=8, hidden_layers=1)
FLOW = FlowSpec(
    features=3,
    layers=(Coupling(mask="CTC", conditioner=NET), Coupling(mask="TCT", conditioner=NET)),
)
LIMITS = {"kind": "coupling", "depth": [1, 2], "width": 8, "hidden_layers": 1, "maps": "affine"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small recipes, a folder of its own, one thread, no log lines of Optuna."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    monkeypatch.chdir(tmp_path)

    def small(features: int, rows: int, **more: Any) -> Recipe:
        return Recipe(FLOW, TRAIN, "asinh")

    monkeypatch.setattr(api, "recipe", small)
    monkeypatch.setattr(api, "portfolio", lambda *a, **k: [small(*a, **k)])
    monkeypatch.setattr("nfopt.runner.options.portfolio", lambda *a, **k: [small(*a, **k)])
    assert recipes.recipe is not small


@pytest.fixture
def search() -> Callable[..., SearchResult]:
    """A search in memory, always the same one: storages have tests of their own."""
    return functools.partial(nfopt.search, storage=optuna.storages.InMemoryStorage(), space=LIMITS)


def rows(count: int = 300, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    x[:, 1] += x[:, 0] ** 2
    return x


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    pd.DataFrame(rows(), columns=["a", "b", "c"]).to_csv(path, index=False)
    return path


def test_public_names() -> None:
    assert nfopt.search is api.search
    assert nfopt.fit is api.fit
    assert nfopt.load is api.load
    assert nfopt.load_study is api.load_study


def test_a_page_lies_beside_the_flow(path: Path, search: Search) -> None:
    result = search(path, trials=2, out="found")
    page = Path("found", "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert result.study.study_name in page
    assert sorted(one.name for one in Path("found").iterdir()) == [
        "flow.json", "flow.safetensors", "report.html",
    ]  # fmt: skip


def test_a_fit_and_a_retraining_leave_a_page_too(path: Path, search: Search) -> None:
    one = FlowSpec(features=3, layers=(Coupling(mask="CTC"),))
    fitted = nfopt.fit(path, flow=Recipe(one, TrainSpec(steps=20)), out="fitted")
    page = Path("fitted", "report.html").read_text(encoding="utf-8")
    assert "How to use it" in page
    assert "The search" not in page
    assert fitted.flow.info["command"] == f"nfopt.fit({str(path)!r}, flow=flow, out='fitted')"
    assert fitted.flow.info["seconds"] == pytest.approx(fitted.seconds, abs=2)
    study = search(path, trials=2).study
    again = api.retrain(study, 1)
    assert again.out is not None
    assert "For a paper" in (again.out / "report.html").read_text(encoding="utf-8")
    nfopt.fit(path, flow=Recipe(one, TrainSpec(steps=20)), out="without", report=False)
    assert not Path("without", "report.html").exists()


def test_a_study_tells_what_it_delivered(path: Path, search: Search) -> None:
    result = search(path, trials=2, out="found")
    told = result.study.user_attrs[names.DELIVERED]
    assert told["out"] == str(Path("found").absolute())
    assert told["test_nll"] == result.test_nll
    assert told["command"].startswith("nfopt.search(")
    assert told["command"] == result.flow.info["command"]


def test_a_page_that_fails_is_said_and_stops_nothing(
    path: Path, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(facts: Facts) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nfopt.report.hooks.html_page", full)
    said: list[Event] = []
    result = search(path, trials=2, out="found", on_event=said.append)
    assert result.out == Path("found")
    page = Path("found", "report.html")
    reason = "OSError: [Errno 28] No space left on device"
    assert Notice(f"{page} can't be written ({reason})") in said


def test_search_with_the_defaults_of_place_and_name(path: Path, tmp_path: Path) -> None:
    result = nfopt.search(path, trials=4, space=LIMITS)
    assert result.study.study_name == "events"
    assert result.out == Path("nfopt-runs/events")
    assert (tmp_path / "nfopt-runs" / "nfopt.db").exists()
    assert (tmp_path / "nfopt-runs" / "events" / "flow.json").exists()
    flow = nfopt.load("nfopt-runs/events")
    assert flow.columns == ("a", "b", "c")
    np.testing.assert_allclose(flow.log_prob(rows(5)), result.flow.log_prob(rows(5)), atol=1e-5)
    assert flow.sample(7, seed=0).shape == (7, 3)
    study = nfopt.load_study("events")
    assert len(study.trials) == 4
    assert api.retrain("events", 1).number == 1
    assert nfopt.search(str(path), trials=6).trials == 6


def test_any_trial_is_retrained_from_storage_alone(path: Path, search: Search) -> None:
    study = search(path, trials=4).study
    result = api.retrain(study, 2)
    assert result.number == 2
    assert result.out == Path("nfopt-runs/events-2")
    assert result.flow.specs[0].to_json() == study.trials[2].user_attrs[names.SPEC]
    assert result.trials == 4
    assert api.retrain(study, 2, out="elsewhere").test_nll == result.test_nll
    assert api.retrain(study, 2, seed=9).test_nll != result.test_nll
    with pytest.raises(ValueError, match=r"`trial` 4 is not in .* 0 to 3"):
        api.retrain(study, 4)
    path.write_text(path.read_text().replace("0.", "1."))
    with pytest.raises(StudyError, match="fingerprint"):
        api.retrain(study, 2)


@pytest.mark.parametrize("kind", ["array", "frame", "tensor", "npy"])
def test_data_of_any_kind(kind: str, tmp_path: Path) -> None:
    x = rows()
    np.save(tmp_path / "t.npy", x)
    data = {
        "array": x,
        "frame": pd.DataFrame(x, columns=["a", "b", "c"]),
        "tensor": torch.from_numpy(x),
        "npy": tmp_path / "t.npy",
    }[kind]
    result = nfopt.fit(data, out="out")
    assert math.isfinite(result.test_nll)
    assert len(result.flow) == 1


def test_data_in_memory_gets_a_name_of_its_own(search: Search) -> None:
    first = search(rows(), trials=1)
    second = search(rows(seed=1), trials=1)
    assert first.study.study_name.startswith("data-")
    assert first.study.study_name != second.study.study_name
    assert first.out != second.out


def test_an_ensemble_is_the_mixture_of_its_members(path: Path) -> None:
    result = nfopt.fit(path, members=3)
    assert len(result.flow) == 3
    assert len(set(result.members)) == 3
    # the mixture is at least as good as the members on average (Jensen)
    assert result.test_nll <= np.mean(result.members) + 1e-9
    assert result.disagreement > 0
    assert result.parameters == 3 * FLOW.parameter_count()
    assert result.out == Path("nfopt-runs/events-fit")
    assert nfopt.load("nfopt-runs/events-fit").info["scores"]["test_nll"] == result.test_nll
    told = json.loads(json.dumps(result.to_dict()))
    assert told["members"] == 3
    again = nfopt.fit(path, members=3)
    assert again.members == result.members
    assert nfopt.fit(path, members=1).members[0] == pytest.approx(result.members[0], abs=1e-4)


def test_fit_keeps_to_its_minutes(path: Path) -> None:
    endless = TrainSpec(steps=10_000_000, batch_size=64)
    result = nfopt.fit(path, minutes=0.05, members=2, flow=(FLOW, endless))
    assert 0.5 * 3.0 < result.seconds < 1.1 * 3.0 + 0.5


def test_a_member_that_fails_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nfopt.runner import retrain as finish

    bad: set[int] = {1}

    def broken(*arguments: Any, **more: Any) -> Any:
        stack, results = train_stack(*arguments, **more)
        spoiled = {"status": "failed", "reason": "weights not finite at step 3"}
        return stack, [type(r)(**(vars(r) | (spoiled if r.member in bad else {}))) for r in results]

    monkeypatch.setattr(finish, "train_stack", broken)
    result = nfopt.fit(path, members=3)
    assert len(result.flow) == 2
    assert any("1 of 3 members are left out" in line for line in result.warnings)
    bad |= {0, 2}
    with pytest.raises(NfoptError, match=r"can't be trained.*not finite at step 3"):
        nfopt.fit(path, members=3)


def test_a_flow_of_ones_own(path: Path, tmp_path: Path, search: Search) -> None:
    own = FlowSpec(features=3, layers=(Coupling(mask="TCC", conditioner=NET),))
    (tmp_path / "own.json").write_text(own.to_json())
    assert nfopt.fit(path, flow=tmp_path / "own.json").flow.specs == (own,)
    assert nfopt.fit(path, flow=own).flow.specs == (own,)
    result = search(path, trials=4, initial="own.json")
    specs = [recipe_of(trial).flow for trial in result.study.trials]
    assert own in specs
    saved = search(path, study="b", trials=4, initial="nfopt-runs/events-fit/flow.json")
    assert saved.trials == 4


def test_the_seed_of_a_study_holds_for_its_resumes(path: Path, search: Search) -> None:
    search(path, trials=2, seed=5)
    assert search(path, trials=3).trials == 3
    with pytest.raises(StudyError, match="seed was 5, now 6"):
        search(path, trials=4, seed=6)


def test_threads_are_put_back(path: Path) -> None:
    before = torch.get_num_threads()
    nfopt.fit(path, threads=2)
    assert torch.get_num_threads() == before


def test_spaces_in_all_forms(path: Path, tmp_path: Path, search: Search) -> None:
    (tmp_path / "space.toml").write_text('kind = "coupling"\ndepth = [1, 2]\nmaps = "affine"\n')
    for number, space in enumerate((["coupling", "depth=[1,2]"], "space.toml", "layers")):
        result = search(path, study=f"s{number}", trials=1, space=space)
        assert result.study.user_attrs[names.SPACE]["kind"] == (
            "layers" if number == 2 else "coupling"
        )


def test_a_wrong_path_in_space(path: Path) -> None:
    with pytest.raises(ValueError, match="`space` must be coupling"):
        nfopt.search(path, trials=1, space="couplings")


@pytest.mark.parametrize("function", [nfopt.search, nfopt.fit])
def test_the_options_of_the_data_stand_in_the_signature(function: Callable[..., object]) -> None:
    shown = inspect.signature(function).parameters
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in shown.values())
    defaults = {name: shown[name].default for name in DataOptions.__annotations__}
    assert [name for name, value in defaults.items() if value is False] == ["drop_rows", "strict"]
    assert all(not value for value in defaults.values())
    with pytest.raises(TypeError, match="`colums` is no option of the data; known: columns, "):
        function(np.zeros((20, 2)), colums=["x0"])
