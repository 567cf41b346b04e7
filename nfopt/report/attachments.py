"""Notes, figures and files in optuna-dashboard's format, written with few study attributes.

The attributes' names and sizes are those of optuna-dashboard 0.21. Its own functions are not used:
they read all attributes of a study at each write, and their import takes longer than drawing thirty
trials. Tests check that both formats agree.
"""

from __future__ import annotations

import io
import json
import mimetypes
import uuid
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from nfopt.distributed.artifacts import mark
from nfopt.distributed.ownership import is_picture, new_picture
from nfopt.optuna_internals import set_system_attribute, system_attributes_of, trial_id

if TYPE_CHECKING:
    from nfopt.optuna_internals import ArtifactStore

ARTIFACT = "artifacts:"  # prefix of an attribute that describes a file, as Optuna writes it
FIGURE = "dashboard:plot_data:"
PIECE = 2045  # characters of an attribute, at most
MOST_NOTES = 200  # of trials; with 1,000 notes a study's page would take a second longer to open
OWN_NOTES = "*Notes of your own go below this line; nfopt keeps them.*"


def save_trial_notes(
    study: optuna.Study,
    trials: Iterable[FrozenTrial],
    text_of: Callable[[FrozenTrial], str | None],
    *,
    always: Container[int] = (),
) -> int:
    """Write the notes of trials that have none yet, up to `MOST_NOTES`.

    A dashboard goes through all study attributes once a trial, and each note is two of them, so
    their number is limited; beyond it only the trials in `always` get one.

    Args:
        study: Their study.
        trials: Trials that have ended.
        text_of: From a trial to its note, or None for none.
        always: Numbers of the trials that get a note beyond the limit too.

    Returns:
        The number of notes written.
    """
    known = system_attributes_of(study)
    before = sum(key.endswith(":note_ver") for key in known)
    written = 0
    for trial in trials:
        version = f"{_note(trial)}note_ver"
        allowed = before + written < MOST_NOTES or trial.number in always
        if version in known or not allowed or (text := text_of(trial)) is None:
            continue
        _write_pieces(study, f"{_note(trial)}note_str:", text)
        set_system_attribute(study, version, 1)  # last: with it the note is complete
        written += 1
    return written


def save_study_note(study: optuna.Study, text: str) -> None:
    """Write a study's note, above the user's own text in it."""
    known, prefix = system_attributes_of(study), "dashboard:note_str:"
    before = _joined(known, prefix)
    own = before.partition(OWN_NOTES)[2] if OWN_NOTES in before else before
    whole = f"{text}\n\n---\n\n{OWN_NOTES}\n\n{own.strip()}".rstrip() + "\n"
    if whole != before:
        set_system_attribute(study, "dashboard:note_ver", note_version(study) + 1)
        _write_pieces(study, prefix, whole, known)


def note_version(study: optuna.Study) -> int:
    """How often the study's note was written."""
    version = system_attributes_of(study).get("dashboard:note_ver")
    return version if isinstance(version, int) else 0


def save_figure(study: optuna.Study, name: str, figure: str) -> None:
    """Write a plotly figure, given as JSON, under a name."""
    _write_pieces(study, f"{FIGURE}{name}:", figure, system_attributes_of(study))


def attach(trial: optuna.Trial, store: ArtifactStore, name: str, content: bytes) -> None:
    """Attach a file to a trial as Optuna does, by an id that is the study's (see `ownership`).

    Raises:
        UpdateFinishedTrialError: If the trial has ended.
    """
    key = new_picture(mark(trial.study))
    trial.storage.set_trial_system_attr(trial_id(trial), ARTIFACT + key, _meta(key, name))
    store.write(key, io.BytesIO(content))


def replace(study: optuna.Study, store: ArtifactStore, name: str, content: bytes) -> None:
    """Attach a file to the study, replacing the one of the same name."""
    files = [v for k, v in system_attributes_of(study).items() if k.startswith(ARTIFACT)]
    own = mark(study)
    known = [key for file in files if (key := _picture(file, name, own)) is not None]
    key = known[0] if known else new_picture(own)
    store.write(key, io.BytesIO(content))
    if not known:
        set_system_attribute(study, ARTIFACT + key, _meta(key, name))


def _meta(key: str, name: str) -> str:
    kind, encoding = mimetypes.guess_type(name)
    return json.dumps(
        {"artifact_id": key, "filename": name, "mimetype": kind, "encoding": encoding}
    )


def _picture(told: object, name: str, own: str | None) -> str | None:
    """Read which artifact is the study's file of a name; the id must be one of the study's own."""
    try:
        file = json.loads(str(told))
        key = str(uuid.UUID(file["artifact_id"])) if file["filename"] == name else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return key if key is None or own is None or is_picture(key, own) else None


class Rounds:
    """When to write study attributes again, over all workers.

    A round writes the study's note, so that the note's version counts the rounds of all workers. A
    worker that saw the same version for the whole pause, by its own clock, writes next; clocks need
    not agree.

    Args:
        pause: Seconds between two rounds.
        clock: Seconds, monotonic.
    """

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        self._pause, self._clock = pause, clock
        self._seen: tuple[int, float] | None = None  # version, when it was first seen

    def due(self, study: optuna.Study) -> bool:
        """Whether to write now; the first of all rounds is due at once."""
        now = self._clock()
        if self._seen is not None and now - self._seen[1] < self._pause:
            return False
        version = note_version(study)
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return version == 0
        return True

    def done(self, study: optuna.Study) -> None:
        """Record that a round was written."""
        self._seen = (note_version(study), self._clock())


def _note(trial: FrozenTrial) -> str:
    return f"dashboard:{trial_id(trial)}:"


def _joined(known: dict[str, Any], prefix: str) -> str:
    pieces = [key for key in known if key.startswith(prefix)]
    return "".join(known[f"{prefix}{index}"] for index in range(len(pieces)))


def _write_pieces(
    study: optuna.Study, prefix: str, text: str, known: dict[str, Any] | None = None
) -> None:
    """Write a text in pieces, and empty the surplus pieces of a longer earlier one."""
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    before = sum(key.startswith(prefix) for key in known or ())
    for index, piece in enumerate(pieces + [""] * (before - len(pieces))):
        key = f"{prefix}{index}"
        if known is None or known.get(key) != piece:
            set_system_attribute(study, key, piece)
