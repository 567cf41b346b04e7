"""The publisher: what a dashboard finds, how often it writes, and that it never stops a search."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.storages import InMemoryStorage
from optuna_dashboard import _custom_plot_data as plots
from optuna_dashboard import _note, get_note, save_note
from optuna_dashboard.artifact._backend import list_study_artifacts

from nfopt.events import Closing, Done, Event, Notice, Started, ignore
from nfopt.report import attachments
from nfopt.report.corner import DRAWING, FEWEST, FEWEST_IN_TIME, ROWS, rows_in
from nfopt.report.hooks import publishing
from nfopt.report.publisher import PAUSE, Publisher

from .toys import group, kept, pixels, study, table, tell

DATA = table()
FIGURES = {
    "nfopt-1-best-by-trials", "nfopt-2-best-by-seconds", "nfopt-3-nll-and-parameters",
    "nfopt-4-coverage",
}  # fmt: skip


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def files(found: optuna.Study, number: int) -> dict[str, str]:
    """A trial's artifacts: file name to id."""
    metas = get_all_artifact_meta(found.trials[number], storage=found._storage)
    return {meta.filename: meta.artifact_id for meta in metas}


def note(found: optuna.Study, number: int) -> str:
    attributes = found._storage.get_study_system_attrs(found._study_id)
    return str(_note.get_note_from_system_attrs(attributes, found.trials[number]._trial_id)["body"])


def started(seconds: float) -> Started:
    return Started(
        study="toy", storage="", sampler="evolution", population=4, trials=0, budget_trials=None,
        budget_seconds=seconds, resumed=False, data=DATA,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> FileSystemArtifactStore:
    return FileSystemArtifactStore(tmp_path)


def test_a_dashboard_finds_all_of_it(store: FileSystemArtifactStore) -> None:
    found, publisher = study(DATA), Publisher(DATA, store)
    trained = group(found, [2.0, 1.5, 3.0], ["complete", "complete", "pruned"])
    publisher.on_event(trained)
    publisher.on_event(tell(found, trained))
    for number in range(3):
        assert set(files(found, number)) >= {"masks.png", "learning_curve.png"}
        assert "affine coupling" in note(found, number)
        for key in files(found, number).values():
            with store.open_reader(key) as file:
                assert pixels(file.read()).size
    assert ["samples.png" in files(found, number) for number in range(3)] == [False, True, False]
    attributes = found._storage.get_study_system_attrs(found._study_id)
    assert set(plots.list_graph_object_ids(attributes)) == FIGURES
    shown = plots.get_plotly_graph_objects(attributes)
    assert all(text.startswith("{") and text.endswith("}") for text in shown.values())
    assert "best so far: trial 1" in get_note(found)


def test_study_attributes_are_written_once_a_minute(store: FileSystemArtifactStore) -> None:
    found, clock = study(DATA), Clock()
    first, second = (Publisher(DATA, store, clock=clock) for _ in range(2))
    written: list[float] = []
    write = found._storage.set_study_system_attr

    def counted(*args: object) -> None:
        written.append(clock.now)
        write(*args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(found._storage, "set_study_system_attr", counted)
        for batch in range(11):  # two workers tell a batch every 35 seconds
            clock.now = 35.0 * batch
            for worker in (first, second):
                trained = group(found, [10.0])
                worker.on_event(trained)
                worker.on_event(tell(found, trained))
    rounds = sorted(set(written))
    assert rounds[0] == 0.0
    assert len(rounds) == 6
    assert min(b - a for a, b in pairwise(rounds)) >= PAUSE


def test_what_is_interrupted_is_not_drawn(store: FileSystemArtifactStore) -> None:
    found, publisher = study(DATA), Publisher(DATA, store)
    trained = group(found, [math.inf], ["interrupted"])
    member = trained.members[0]
    object.__setattr__(member, "rungs", {})
    publisher.on_event(trained)
    assert files(found, 0) == {}


def test_a_failure_is_said_once_and_stops_nothing() -> None:
    class Full:
        """A store whose disk is full."""

        def write(self, artifact_id: str, content_body: object) -> None:
            raise OSError(28, "No space left on device")

    said: list[Event] = []
    found = study(DATA)
    publisher = Publisher(DATA, Full())  # type: ignore[arg-type]
    tell_both = publisher.through(said.append)
    for _ in range(2):
        trained = group(found, [1.0])
        tell_both(trained)
        tell_both(tell(found, trained))
    notices = [event for event in said if isinstance(event, Notice)]
    assert [notice.text for notice in notices] == [
        "a picture can't be made (OSError: [Errno 28] No space left on device)"
    ]
    assert len(said) == 5
    assert "2 complete" in get_note(found) or "1 complete" in get_note(found)


def test_another_workers_trial_is_left_alone(store: FileSystemArtifactStore) -> None:
    found, said = study(DATA), list[Event]()
    publisher = Publisher(DATA, store)
    trained = group(found, [1.0])
    tell(found, trained)  # the lease was lost, and the trial finished by someone else
    publisher.through(said.append)(trained)
    assert said == [trained]


def test_users_notes_stay() -> None:
    found = study(DATA)
    save_note(found, "mine before")
    attachments.save_study_note(found, "first")
    assert get_note(found).startswith("first")
    assert "mine before" in get_note(found)
    save_note(found, get_note(found) + "mine after " + "x" * 5000)
    attachments.save_study_note(found, "second")
    whole = get_note(found)
    assert whole.startswith("second")
    assert "first" not in whole
    assert whole.index("mine before") < whole.index("mine after")
    attachments.save_study_note(found, "second")
    assert get_note(found) == whole


def test_notes_of_trials_have_an_end() -> None:
    found = study(DATA)
    tell(found, group(found, [3.0, 2.0, 1.0, 4.0]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attachments, "MOST_NOTES", 2)
        trials = found.trials
        save = attachments.save_trial_notes
        assert save(found, trials, lambda trial: f"note {trial.number}", always={3}) == 3
        assert save(found, trials, lambda trial: "again", always={3}) == 0
    assert [note(found, number) for number in range(4)] == ["note 0", "note 1", "", "note 3"]


def test_a_studys_picture_is_replaced(store: FileSystemArtifactStore) -> None:
    found = study(DATA)
    for content in (b"one", b"two"):
        attachments.replace(found, store, "samples.png", content)
    attributes = found._storage.get_study_system_attrs(found._study_id)
    (meta,) = list_study_artifacts(attributes)
    assert (meta["filename"], meta["mimetype"]) == ("samples.png", "image/png")
    with store.open_reader(meta["artifact_id"]) as file:
        assert file.read() == b"two"


def test_a_figure_that_shrinks_leaves_no_rest() -> None:
    found = study(DATA)
    for text in ("x" * 5000, "y" * 10):
        attachments.save_figure(found, "f", text)
    attributes = found._storage.get_study_system_attrs(found._study_id)
    assert plots.get_plotly_graph_objects(attributes) == {"f": "y" * 10}


def test_a_study_in_memory_is_not_drawn_unless_asked() -> None:
    def draws(pictures: bool | None, storage: object) -> bool:
        with publishing(ignore, storage, pictures) as callback:
            return callback is not ignore

    assert not draws(None, InMemoryStorage())
    assert not draws(False, "sqlite:///x.db")
    assert draws(True, InMemoryStorage())
    assert draws(None, None)


def test_pictures_end_with_the_time_of_the_search(store: FileSystemArtifactStore) -> None:
    clock, said = Clock(), list[Event]()
    found, publisher = study(DATA), Publisher(DATA, store, clock=clock)
    tell_on = publisher.through(said.append)
    tell_on(started(100.0))
    clock.now = 50.0
    tell_on(group(found, [2.0], ["complete"]))
    assert "samples.png" in files(found, 0)
    clock.now = 101.0
    for nll in (1.5, 1.0):
        tell_on(group(found, [nll], ["complete"]))
    assert files(found, 1) == files(found, 2) == {}
    lines = [event.text for event in said if isinstance(event, Notice)]
    assert lines == ["drawing the last trials is left out: there is no time for it"]


@pytest.mark.parametrize(("left", "drawn"), [(60.0, True), (6.0, False)])
def test_the_winner_is_drawn_if_the_report_has_time_left(
    store: FileSystemArtifactStore, tmp_path: Path, left: float, drawn: bool
) -> None:
    found, publisher = study(DATA), Publisher(DATA, store)
    publisher.on_event(group(found, [2.0]))
    closing = Closing(left, clock=lambda: 0.0, sampling=12.0)
    home = kept(DATA).save(tmp_path / "flow")
    publisher.on_event(Done(0, 1.0, 1.0, 0.1, 9.0, str(home), closing))
    names = [meta.filename for meta in get_all_artifact_meta(found, storage=found._storage)]
    assert ("samples.png" in names) is drawn
    assert closing.left_out == ([] if drawn else ["the dashboard's picture of samples"])


def test_points_of_a_picture_follow_what_samples_cost() -> None:
    free = Closing()
    assert rows_in(free, 1.0, 4.0) == (ROWS, DRAWING + 4.0)
    assert rows_in(free, 100.0, 4.0)[0] == FEWEST
    short = Closing(3.0, clock=lambda: 0.0)
    assert rows_in(short, 4.0, 4.0) == (500, DRAWING + 2.0)
    assert rows_in(short, 100.0, 4.0) == (FEWEST_IN_TIME, DRAWING + 20.0)
