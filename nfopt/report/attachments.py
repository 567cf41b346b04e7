"""How optuna-dashboard keeps notes, figures and files: a few study attributes, few at a time.

The names and the size of the pieces are those of optuna-dashboard 0.21, whose own functions read
all attributes of a study at each write, and whose import takes longer than drawing thirty trials;
tests hold them together.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Container, Iterable
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from nfopt.optuna_internals import set_system_attribute, system_attributes_of, trial_id

if TYPE_CHECKING:
    from nfopt.optuna_internals import ArtifactStore

ARTIFACT = "artifacts:"  # of an attribute that names a file, as Optuna writes it
FIGURE = "dashboard:plot_data:"
PIECE = 2045  # characters of an attribute, at most
MOST_NOTES = 200  # of trials; a study of 1,000 trials would otherwise open a second later
OWN_NOTES = "*Notes of your own go below this line; nfopt keeps them.*"


def save_trial_notes(
    study: optuna.Study,
    trials: Iterable[FrozenTrial],
    text_of: Callable[[FrozenTrial], str | None],
    *,
    always: Container[int] = (),
) -> int:
    """Write the notes of trials that have none yet.

    A dashboard goes through all study attributes once a trial, and each note is two of them: so
    there is an end to their number, and beyond it only some trials get one.

    Args:
        study: Their study.
        trials: Those that have ended.
        text_of: Gives a trial's note, or None for none.
        always: Numbers of the trials that get one even if there are many already.

    Returns:
        How many were written.
    """
    known = system_attributes_of(study)
    before = sum(key.endswith(":note_ver") for key in known)
    written = 0
    for trial in trials:
        version = f"{_note(trial)}note_ver"
        room = before + written < MOST_NOTES or trial.number in always
        if version in known or not room or (text := text_of(trial)) is None:
            continue
        _write_pieces(study, f"{_note(trial)}note_str:", text)
        set_system_attribute(study, version, 1)  # last: from here on the note is there
        written += 1
    return written


def save_study_note(study: optuna.Study, text: str) -> None:
    """Write a study's note above what others wrote into it."""
    known, prefix = system_attributes_of(study), "dashboard:note_str:"
    before = _joined(known, prefix)
    own = before.partition(OWN_NOTES)[2] if OWN_NOTES in before else before
    whole = f"{text}\n\n---\n\n{OWN_NOTES}\n\n{own.strip()}".rstrip() + "\n"
    if whole != before:
        set_system_attribute(study, "dashboard:note_ver", note_version(study) + 1)
        _write_pieces(study, prefix, whole, known)


def note_version(study: optuna.Study) -> int:
    """Count how often the study's note was written."""
    return int(system_attributes_of(study).get("dashboard:note_ver", 0))


def save_figure(study: optuna.Study, name: str, figure: str) -> None:
    """Write a plotly figure, given as its JSON, under a name of its own."""
    _write_pieces(study, f"{FIGURE}{name}:", figure, system_attributes_of(study))


def replace(study: optuna.Study, store: ArtifactStore, name: str, content: bytes) -> None:
    """Give the study a file, in the place of the one of the same name."""
    files = [
        json.loads(v) for k, v in system_attributes_of(study).items() if k.startswith(ARTIFACT)
    ]
    known = [file["artifact_id"] for file in files if file and file["filename"] == name]
    key = known[0] if known else str(uuid.uuid4())
    store.write(key, io.BytesIO(content))
    if not known:
        meta = {"artifact_id": key, "filename": name, "mimetype": "image/png", "encoding": None}
        set_system_attribute(study, ARTIFACT + key, json.dumps(meta))


class Rounds:
    """When it is time to write study attributes again.

    A round writes the study's note, whose version so counts the rounds of all workers. A worker
    whose clock saw the version stand still for long enough is the next to write; clocks need not
    agree.

    Args:
        pause: Seconds between two rounds.
        clock: Seconds, monotonic.
    """

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        self._pause, self._clock = pause, clock
        self._seen: tuple[int, float] | None = None  # version, when it was first seen

    def due(self, study: optuna.Study) -> bool:
        """Say whether to write now; the first of all rounds is due at once."""
        now = self._clock()
        if self._seen is not None and now - self._seen[1] < self._pause:
            return False
        version = note_version(study)
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return version == 0
        return True

    def done(self, study: optuna.Study) -> None:
        """Note that a round was written."""
        self._seen = (note_version(study), self._clock())


def _note(trial: FrozenTrial) -> str:
    return f"dashboard:{trial_id(trial)}:"


def _joined(known: dict[str, Any], prefix: str) -> str:
    pieces = [key for key in known if key.startswith(prefix)]
    return "".join(known[f"{prefix}{place}"] for place in range(len(pieces)))


def _write_pieces(
    study: optuna.Study, prefix: str, text: str, known: dict[str, Any] | None = None
) -> None:
    """Write a text in pieces, and empty those that a longer one before had on top."""
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    before = sum(key.startswith(prefix) for key in known or ())
    for place, piece in enumerate(pieces + [""] * (before - len(pieces))):
        key = f"{prefix}{place}"
        if known is None or known.get(key) != piece:
            set_system_attribute(study, key, piece)
