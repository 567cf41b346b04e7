"""What a study's page is made of, quick and small for many trials; around optuna-dashboard's own.

optuna-dashboard writes all trials anew for each look at a study, each with the choices of all its
parameters, and goes through all attributes of the study once a trial. Here what a finished trial
says is kept as text, without what no page shows, and each trial has a note: the stored one, or one
that is written from the trial's attributes.

Only its address and the names in its answer are taken for granted (of optuna-dashboard 0.21); where
they are others, its own answer is given.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from wsgiref.util import setup_testing_defaults

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from nfopt import attributes as names
from nfopt.optuna_internals import trial_id
from nfopt.report.notes import trial_note

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
FINISHED = {"Complete", "Pruned", "Fail"}
_STUDY = re.compile(r"/api/studies/(\d+)/?")
_NOTE = re.compile(r"dashboard:(\d+):note_(?:ver|str:(\d+))")


def of_a_trial(key: str) -> bool:
    """Say whether an attribute of a study is the note of a trial."""
    return _NOTE.fullmatch(key) is not None


@dataclass
class _Known:
    """What was read of a study.

    Attributes:
        name: Of the study, as another one may get its id.
        texts: JSON of the finished trials up to the first that runs, without notes.
        notes: JSON of the notes that were written from attributes, by the trial's id.
        seen: What the latest answers were made of.
        answers: The latest answers, by the number of trials that they leave out.
    """

    name: str = ""
    texts: list[tuple[int, str]] = field(default_factory=list)
    notes: dict[int, str] = field(default_factory=dict)
    seen: tuple[Any, ...] = ()
    answers: dict[int, bytes] = field(default_factory=dict)


class Answers:
    """A WSGI application that answers for studies, and leaves all else to another one.

    Args:
        app: optuna-dashboard's.
        storage: Of the studies.
    """

    def __init__(self, app: App, storage: BaseStorage) -> None:
        self._app, self._storage = app, storage
        self._known: dict[int, _Known] = {}
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request."""
        found = _STUDY.fullmatch(environ.get("PATH_INFO", ""))
        if found is None or environ.get("REQUEST_METHOD", "GET") != "GET":
            return self._app(environ, start_response)
        try:
            query = parse_qs(environ.get("QUERY_STRING", ""))
            body = self.study(int(found[1]), int(query.get("after", ["0"])[0]))
        except (KeyError, TypeError, ValueError, LookupError):
            return self._app(
                environ, start_response
            )  # it says what is wrong, or is another version
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    def study(self, study_id: int, after: int = 0) -> bytes:
        """Write a study as JSON.

        Args:
            study_id: Of the study.
            after: Trials at the beginning that are left out.

        Raises:
            ValueError: If there is no such study, or optuna-dashboard's answer is another one.
        """
        if after < 0:
            raise ValueError(f"`after` must be at least 0, got {after}.")
        with self._lock:
            known = self._known.setdefault(study_id, _Known())
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            attributes = self._storage.get_study_system_attrs(study_id)
            own = self._storage.get_study_user_attrs(study_id)
            settled = all(trial.state.is_finished() for trial in trials)
            seen = (settled, len(trials), attributes, own)
            if seen != known.seen:
                known.seen, known.answers = seen, {}
            if after not in known.answers:
                columns = [str(name) for name in (own.get(names.DATA) or {}).get("columns", ())]
                told = self._told(study_id, known)
                notes = _stored(attributes)
                texts = [
                    f'{text[:-1]}, "note": {notes.get(key) or _own(known, trial, columns)}}}'
                    for (key, text), trial in zip(told.texts, trials, strict=False)
                ]
                body = told.answer(texts, after)
                if not settled or len(known.texts) < len(trials):
                    return body  # optuna-dashboard looks at trials every few seconds only
                known.answers[after] = body
            return known.answers[after]

    def _told(self, study_id: int, known: _Known) -> _Told:
        """Ask optuna-dashboard for what is not known yet."""
        rest = self._inner(study_id, len(known.texts))
        if rest["name"] != known.name and known.texts:
            known.texts, known.notes = [], {}
            rest = self._inner(study_id, 0)
        known.name = rest["name"]
        texts = list(known.texts)
        for trial in rest.pop("trials"):
            texts.append((int(trial["trial_id"]), json.dumps(_light(trial), separators=(",", ":"))))
            if len(known.texts) == len(texts) - 1 and trial["state"] in FINISHED:
                known.texts.append(texts[-1])
        best = [int(trial["number"]) for trial in rest.pop("best_trials")]
        return _Told(rest, texts, best)

    def _inner(self, study_id: int, after: int) -> dict[str, Any]:
        environ: dict[str, Any] = {"PATH_INFO": f"/api/studies/{study_id}"}
        environ["QUERY_STRING"] = f"after={after}"
        setup_testing_defaults(environ)
        said: list[str] = []
        body = b"".join(self._app(environ, lambda status, headers, *error: said.append(status)))
        if not said or not said[0].startswith("200"):
            raise ValueError(f"study {study_id}: {said}")
        found: dict[str, Any] = json.loads(body)
        return found


@dataclass
class _Told:
    """A study: all that is not of its trials, their texts, and the numbers of the best ones."""

    rest: dict[str, Any]
    texts: list[tuple[int, str]]
    best: list[int]

    def answer(self, texts: list[str], after: int) -> bytes:
        best = ", ".join(texts[number] for number in self.best if number < len(texts))
        head = json.dumps(self.rest)[:-1]
        whole = f'{head}, "best_trials": [{best}], "trials": [{", ".join(texts[after:])}]}}'
        return whole.encode()


def _light(trial: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is the study's, too: what a parameter may be; its note comes later."""
    del trial["note"]
    for parameter in trial["params"]:
        parameter.pop("param_external_pytyp", None)
        kind = parameter["distribution"]["type"]
        bare: dict[str, list[str]] = {"choices": []} if kind == "CategoricalDistribution" else {}
        parameter["distribution"] = {"type": kind, **bare}
    return trial


def _stored(attributes: Mapping[str, Any]) -> dict[int, str]:
    """JSON of the notes that are stored, by the trial's id."""
    versions: dict[int, int] = {}
    pieces: dict[int, dict[int, str]] = {}
    for key, value in attributes.items():
        if (found := _NOTE.fullmatch(key)) is None:
            continue
        if found[2] is None:
            versions[int(found[1])] = int(value)
        else:
            pieces.setdefault(int(found[1]), {})[int(found[2])] = str(value)
    return {
        key: json.dumps(
            {"version": version, "body": "".join(x for _, x in sorted(pieces.get(key, {}).items()))}
        )
        for key, version in versions.items()
    }


def _own(known: _Known, trial: FrozenTrial, columns: list[str]) -> str:
    """JSON of a note that is not stored: of a finished trial of nfopt, else an empty one."""
    if not trial.state.is_finished():
        return json.dumps({"version": 0, "body": ""})
    if trial_id(trial) not in known.notes:
        text = trial_note(trial, columns) or ""
        known.notes[trial_id(trial)] = json.dumps({"version": 0, "body": text})
    return known.notes[trial_id(trial)]
