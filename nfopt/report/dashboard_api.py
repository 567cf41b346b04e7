"""The dashboard's data of a study, fast and small for many trials; wraps optuna-dashboard's own.

optuna-dashboard serialises all trials at each request for a study, each with the choices of all its
parameters, and goes through all attributes of the study once a trial. Here the JSON of finished
trials is cached, without what no page shows, and each trial has a note: the stored one, or one
written from the trial's attributes.

It relies only on the address and the keys of optuna-dashboard 0.21's response; where these differ,
that response is passed on unchanged.
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


def is_trial_note(key: str) -> bool:
    """Whether an attribute of a study belongs to the note of a trial."""
    return _NOTE.fullmatch(key) is not None


@dataclass
class _Cache:
    """What is cached of a study.

    Attributes:
        name: Of the study, since a later one may get the same id.
        texts: JSON of the finished trials before the first running one, without notes.
        notes: JSON of the notes that were written from attributes, by the trial's id.
        state: What the cached responses were made from.
        responses: By the number of trials that they leave out.
    """

    name: str = ""
    texts: list[tuple[int, str]] = field(default_factory=list)
    notes: dict[int, str] = field(default_factory=dict)
    state: tuple[Any, ...] = ()
    responses: dict[int, bytes] = field(default_factory=dict)


class StudyApi:
    """A WSGI application that serves the data of studies, and passes all else on to another one.

    Args:
        app: optuna-dashboard's.
        storage: Of the studies.
    """

    def __init__(self, app: App, storage: BaseStorage) -> None:
        self._app, self._storage = app, storage
        self._caches: dict[int, _Cache] = {}
        self._lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer a request."""
        path = _STUDY.fullmatch(environ.get("PATH_INFO", ""))
        if path is None or environ.get("REQUEST_METHOD", "GET") != "GET":
            return self._app(environ, start_response)
        try:
            query = parse_qs(environ.get("QUERY_STRING", ""))
            body = self.study(int(path[1]), int(query.get("after", ["0"])[0]))
        except (KeyError, TypeError, ValueError, LookupError):
            # optuna-dashboard says what is wrong with the request, or is of another version
            return self._app(environ, start_response)
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
            cache = self._caches.setdefault(study_id, _Cache())
            trials = self._storage.get_all_trials(study_id, deepcopy=False)
            attributes = self._storage.get_study_system_attrs(study_id)
            own = self._storage.get_study_user_attrs(study_id)
            all_finished = all(trial.state.is_finished() for trial in trials)
            state = (all_finished, len(trials), attributes, own)
            if state != cache.state:
                cache.state, cache.responses = state, {}
            if after not in cache.responses:
                columns = [str(name) for name in (own.get(names.DATA) or {}).get("columns", ())]
                answer = self._ask(study_id, cache)
                notes = _stored(attributes)
                texts = [
                    f'{text[:-1]}, "note": {notes.get(key) or _own(cache, trial, columns)}}}'
                    for (key, text), trial in zip(answer.texts, trials, strict=False)
                ]
                body = answer.response(texts, after)
                if not all_finished or len(cache.texts) < len(trials):
                    return body  # optuna-dashboard itself reads trials every few seconds only
                cache.responses[after] = body
            return cache.responses[after]

    def _ask(self, study_id: int, cache: _Cache) -> _Answer:
        """Ask optuna-dashboard for the trials that are not cached."""
        fields = self._inner(study_id, len(cache.texts))
        if fields["name"] != cache.name and cache.texts:
            cache.texts, cache.notes = [], {}
            fields = self._inner(study_id, 0)
        cache.name = fields["name"]
        texts = list(cache.texts)
        for trial in fields.pop("trials"):
            texts.append((int(trial["trial_id"]), json.dumps(_light(trial), separators=(",", ":"))))
            if len(cache.texts) == len(texts) - 1 and trial["state"] in FINISHED:
                cache.texts.append(texts[-1])
        best = [int(trial["number"]) for trial in fields.pop("best_trials")]
        return _Answer(fields, texts, best)

    def _inner(self, study_id: int, after: int) -> dict[str, Any]:
        environ: dict[str, Any] = {"PATH_INFO": f"/api/studies/{study_id}"}
        environ["QUERY_STRING"] = f"after={after}"
        setup_testing_defaults(environ)
        statuses: list[str] = []
        body = b"".join(self._app(environ, lambda status, headers, *error: statuses.append(status)))
        if not statuses or not statuses[0].startswith("200"):
            raise ValueError(f"study {study_id}: {statuses}")
        response: dict[str, Any] = json.loads(body)
        return response


@dataclass
class _Answer:
    """A study: its fields without the trials, the trials' JSON, and the numbers of the best."""

    fields: dict[str, Any]
    texts: list[tuple[int, str]]
    best: list[int]

    def response(self, texts: list[str], after: int) -> bytes:
        best = ", ".join(texts[number] for number in self.best if number < len(texts))
        head = json.dumps(self.fields)[:-1]
        whole = f'{head}, "best_trials": [{best}], "trials": [{", ".join(texts[after:])}]}}'
        return whole.encode()


def _light(trial: dict[str, Any]) -> dict[str, Any]:
    """Drop the choices of the parameters, which the study has too, and the note, added later."""
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
        if (match := _NOTE.fullmatch(key)) is None:
            continue
        if match[2] is None:
            versions[int(match[1])] = int(value)
        else:
            pieces.setdefault(int(match[1]), {})[int(match[2])] = str(value)
    return {
        key: json.dumps(
            {"version": version, "body": "".join(x for _, x in sorted(pieces.get(key, {}).items()))}
        )
        for key, version in versions.items()
    }


def _own(cache: _Cache, trial: FrozenTrial, columns: list[str]) -> str:
    """JSON of a note that is not stored: of a finished trial of nfopt, else an empty one."""
    if not trial.state.is_finished():
        return json.dumps({"version": 0, "body": ""})
    if trial_id(trial) not in cache.notes:
        text = trial_note(trial, columns) or ""
        cache.notes[trial_id(trial)] = json.dumps({"version": 0, "body": text})
    return cache.notes[trial_id(trial)]
