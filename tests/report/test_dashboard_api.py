"""What a study's page is made of: optuna-dashboard's answer, lighter, and a note for each trial."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import save_note, wsgi

from nfopt import attributes as names
from nfopt.report import attachments
from nfopt.report.dashboard import LightStorage
from nfopt.report.dashboard_api import StudyApi, is_trial_note

from .toys import group, published, study, table, tell

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Counted:
    """optuna-dashboard, and the queries that it is asked."""

    def __init__(self, app: App) -> None:
        self.queries: list[str] = []
        self._app = app

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.queries.append(environ.get("QUERY_STRING", ""))
        return self._app(environ, start)


def ask(app: App, path: str, body: object = None, **more: str) -> tuple[str, Any]:
    """The status and what the JSON of an answer says."""
    environ: dict[str, Any] = {"PATH_INFO": path, **more}
    setup_testing_defaults(environ)
    if body is not None:
        sent = json.dumps(body).encode()
        environ |= {"wsgi.input": io.BytesIO(sent), "CONTENT_LENGTH": str(len(sent))}
        environ |= {"CONTENT_TYPE": "application/json"}
    said: list[str] = []
    got = b"".join(app(environ, lambda status, headers, *error: said.append(status)))
    return said[0], json.loads(got) if got else None


def pair(found: optuna.Study) -> tuple[StudyApi, Counted, str]:
    """Ours, the one that it asks, and the study's address."""
    light = LightStorage(found._storage)
    inner = Counted(wsgi(light))
    return StudyApi(inner, light), inner, f"/api/studies/{found._study_id}"


@pytest.fixture
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    """Six trials, two of which have a note that is stored."""
    monkeypatch.setattr(attachments, "MOST_NOTES", 2)
    monkeypatch.setattr("nfopt.report.publisher.NOTED", 0)
    return published(tmp_path, [[3.0, 2.0, 5.0], [2.5, 1.0, 4.0]])


def test_it_is_optuna_dashboards_answer_without_what_no_page_shows(few: optuna.Study) -> None:
    ours, _, path = pair(few)
    status, mine = ask(ours, path)
    assert status == "200 OK"
    _, theirs = ask(wsgi(few._storage), path)
    assert mine.keys() == theirs.keys()
    assert len(mine["trials"]) == 6
    for key in ("trials", "best_trials"):
        for one, other in zip(mine[key], theirs[key], strict=True):
            assert one.keys() == other.keys()
            assert [p["name"] for p in one["params"]] == [p["name"] for p in other["params"]]
            for parameter, original in zip(one["params"], other["params"], strict=True):
                for same in ("param_internal_value", "param_external_value"):
                    assert parameter[same] == original[same]
                assert parameter["distribution"]["type"] == original["distribution"]["type"]
            for same in one.keys() - {"params", "note"}:
                assert one[same] == other[same]
    for same in mine.keys() - {"trials", "best_trials", "plotly_graph_objects"}:
        assert mine[same] == theirs[same]
    figures = [sorted(x["plotly_graph_objects"], key=lambda f: f["id"]) for x in (mine, theirs)]
    assert figures[0] == figures[1]


def test_each_trial_has_a_note(few: optuna.Study) -> None:
    attributes = few._storage.get_study_system_attrs(few._study_id)
    assert sum(map(is_trial_note, attributes)) == 4  # of two trials
    ours, _, path = pair(few)
    notes = [trial["note"] for trial in ask(ours, path)[1]["trials"]]
    assert [note["version"] for note in notes] == [1, 1, 0, 0, 0, 0]
    for number, note in enumerate(notes):
        assert "affine coupling" in note["body"]
        assert f"validation NLL: **{[3.0, 2.0, 5.0, 2.5, 1.0, 4.0][number]:.4f}**" in note["body"]


def test_a_note_that_is_written_on_the_page_stays(few: optuna.Study) -> None:
    ours, _, path = pair(few)
    trial = few.trials[4]
    assert ask(ours, path)[1]["trials"][4]["note"]["version"] == 0
    address, note = f"{path}/{trial._trial_id}/note", {"version": 1, "body": "mine " * 900}
    assert ask(ours, address, note, REQUEST_METHOD="PUT")[0].startswith("204")
    assert ask(ours, path)[1]["trials"][4]["note"] == note
    assert ask(ours, address, note, REQUEST_METHOD="PUT")[0].startswith("409")


def test_what_has_ended_is_asked_for_once(few: optuna.Study) -> None:
    ours, inner, path = pair(few)
    first = ask(ours, path)[1]
    assert inner.queries == ["after=0"]
    assert ask(ours, path)[1] == first
    assert len(ask(ours, path, QUERY_STRING="after=4")[1]["trials"]) == 2
    assert inner.queries == ["after=0", "after=6"]


def test_a_trial_is_seen_when_it_begins_and_when_it_ends(few: optuna.Study) -> None:
    light = LightStorage(few._storage)
    app = wsgi(light)
    ours, path = StudyApi(app, light), f"/api/studies/{few._study_id}"

    def states() -> list[str]:
        return [trial["state"] for trial in ask(ours, path)[1]["trials"][5:]]

    assert states() == ["Complete"]
    running = few.ask()
    app._inmemory_cache.clear()  # optuna-dashboard looks at trials every few seconds only
    assert states() == ["Complete", "Running"]
    running.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    few.tell(running, 0.5)
    assert states() == ["Complete", "Running"]
    app._inmemory_cache.clear()
    assert states() == ["Complete", "Complete"]


def test_a_running_trial_is_not_kept(tmp_path: Path) -> None:
    found = study(table())
    trained = group(found, [2.0, 1.0])
    ours, inner, path = pair(found)
    states = [trial["state"] for trial in ask(ours, path)[1]["trials"]]
    assert states == ["Running", "Running"]
    tell(found, trained)
    ask(ours, path)
    assert inner.queries == ["after=0", "after=0"]


def test_another_study_may_get_the_id_of_one_that_was_deleted(few: optuna.Study) -> None:
    ours, _, path = pair(few)
    assert len(ask(ours, path)[1]["trials"]) == 6
    known = ours._caches[few._study_id]
    known.name = "the one before"
    known.texts = [(key, '{"number": -1}') for key, _ in known.texts]
    save_note(few, "so that something is new")
    assert [trial["number"] for trial in ask(ours, path)[1]["trials"]] == list(range(6))


@pytest.mark.parametrize(("path", "query"), [("/api/studies/99", ""), ("", "after=-1")])
def test_what_is_not_there_is_optuna_dashboards_to_say(
    few: optuna.Study, path: str, query: str
) -> None:
    ours, _, own = pair(few)
    assert ask(ours, path or own, QUERY_STRING=query)[0][:3] in ("400", "404")


def test_all_else_is_passed_on(few: optuna.Study) -> None:
    ours, inner, path = pair(few)
    assert ask(ours, "/api/studies")[1]["study_summaries"][0]["study_name"] == "toy"
    assert inner.queries == [""]
    light = LightStorage(few._storage)

    def other(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        start("200 OK", [])
        return [b'{"another": "version"}']

    assert ask(StudyApi(other, light), path) == ("200 OK", {"another": "version"})


def test_constraints_are_where_the_dashboard_looks() -> None:
    found = study(table())
    trained = group(found, [2.0, 1.0, 3.0])
    trained.members[0].trial.set_constraint("inverse cost", 0.5)
    trained.members[1].trial.set_user_attr(names.ROUND_TRIP, 0.21)
    trained.members[2].trial.set_user_attr(names.ROUND_TRIP, 1e-6)
    tell(found, trained)
    ours, _, path = pair(found)
    shown = [trial["constraints"] for trial in ask(ours, path)[1]["trials"]]
    assert shown == [[0.5], [pytest.approx(0.2)], []]
    assert "constraints" not in found.trials[0].system_attrs  # only what the page reads
