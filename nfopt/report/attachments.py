"""How optuna-dashboard keeps notes, figures and files: a few study attributes, few at a time.

The dashboard's own functions read all attributes of the study at each write; where a thing is
written only once, this module does without.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

ARTIFACT = "artifacts:"  # of an attribute that names a file, as Optuna writes it
OWN_NOTES = "*Notes of your own go below this line; nfopt keeps them.*"


def save_trial_notes(
    study: optuna.Study,
    trials: Iterable[FrozenTrial],
    text_of: Callable[[FrozenTrial], str | None],
) -> int:
    """Write the notes of trials that have none yet.

    Args:
        study: Their study.
        trials: Those that have ended.
        text_of: Gives a trial's note, or None for none.

    Returns:
        How many were written.
    """
    from optuna_dashboard import _note

    storage, key = study._storage, study._study_id
    known = storage.get_study_system_attrs(key)
    written = 0
    for trial in trials:
        version = _note.note_ver_key(trial._trial_id)
        if version in known or (text := text_of(trial)) is None:
            continue
        for name, piece in _note.split_body(text, trial._trial_id).items():
            storage.set_study_system_attr(key, name, piece)
        storage.set_study_system_attr(key, version, 1)  # last: from here on the note is there
        written += 1
    return written


def save_study_note(study: optuna.Study, text: str) -> None:
    """Write a study's note above what others wrote into it."""
    from optuna_dashboard import _note, save_note

    attributes = study._storage.get_study_system_attrs(study._study_id)
    before = str(_note.get_note_from_system_attrs(attributes, None)["body"])
    own = before.partition(OWN_NOTES)[2] if OWN_NOTES in before else before
    whole = f"{text}\n\n---\n\n{OWN_NOTES}\n\n{own.strip()}".rstrip() + "\n"
    if whole != before:
        save_note(study, whole)


def save_figure(study: optuna.Study, name: str, figure: str) -> None:
    """Write a plotly figure, given as its JSON, under a name of its own."""
    from optuna_dashboard import _custom_plot_data as plots

    prefix = f"{plots.SYSTEM_ATTR_PLOT_DATA}{name}:"
    plots.save_graph_object_json(study._storage, study._study_id, prefix, figure)


def replace(study: optuna.Study, store: ArtifactStore, name: str, content: bytes) -> None:
    """Give the study a file, in the place of the one of the same name."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    known = [
        meta
        for key, value in attributes.items()
        if key.startswith(ARTIFACT) and (meta := json.loads(value)) and meta["filename"] == name
    ]
    key = known[0]["artifact_id"] if known else str(uuid.uuid4())
    store.write(key, io.BytesIO(content))
    if not known:
        meta = {"artifact_id": key, "filename": name, "mimetype": "image/png", "encoding": None}
        study._storage.set_study_system_attr(study._study_id, ARTIFACT + key, json.dumps(meta))


class Rounds:
    """When it is time to write study attributes again.

    Every round writes the study's note, whose version so counts the rounds of all workers. A
    worker whose clock saw the version stand still for long enough is the next to write; clocks
    need not agree.

    Args:
        pause: Seconds between two rounds.
        clock: Seconds, monotonic.
    """

    def __init__(self, pause: float, clock: Callable[[], float]) -> None:
        self._pause, self._clock = pause, clock
        self._seen: tuple[int, float] | None = None  # version, when it was first seen

    def due(self, study: optuna.Study | None) -> bool:
        """Say whether to write now; the first of all rounds is due at once."""
        if study is None:
            return False
        now = self._clock()
        if self._seen is not None and now - self._seen[1] < self._pause:
            return False
        version = _version(study)
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return version == 0
        return True

    def done(self, study: optuna.Study) -> None:
        """Note that a round was written."""
        self._seen = (_version(study), self._clock())


def _version(study: optuna.Study) -> int:
    from optuna_dashboard import _note

    attributes = study._storage.get_study_system_attrs(study._study_id)
    return int(attributes.get(_note.note_ver_key(None), 0))
