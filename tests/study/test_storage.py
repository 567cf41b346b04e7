"""Any URL opens or fails in one line, and no password is shown."""

from __future__ import annotations

import threading
from pathlib import Path

import optuna
import pytest
import sqlalchemy

from nfopt.errors import StudyError
from nfopt.study import storage as module
from nfopt.study.storage import clear_errors, exists, mask_text, mask_url, open_storage

SECRET = "p@ss/w:rd"
QUOTED = "p%40ss%2Fw%3Ard"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///a/b.db", "sqlite:///a/b.db"),
        (
            f"postgresql+psycopg://me:{QUOTED}@host:5432/db",
            "postgresql+psycopg://me:***@host:5432/db",
        ),
        (f"mysql://me:{QUOTED}@host/db?charset=utf8", "mysql://me:***@host/db?charset=utf8"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("strange://me:secret@host:port:more/db", "strange://***@host:port:more/db"),
        ("study.db", "study.db"),
    ],
)
def test_password_is_masked(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_password_is_masked_in_any_message() -> None:
    url = f"postgresql+psycopg://me:{QUOTED}@host/db"
    for text in (f"can't reach {url}", f"password {SECRET} is wrong", f"login me:{QUOTED}"):
        masked = mask_text(text, url)
        assert SECRET not in masked
        assert QUOTED not in masked


def test_an_open_storage_has_a_name(tmp_path: Path) -> None:
    assert mask_url(optuna.storages.InMemoryStorage()) == "InMemoryStorage"
    url = f"sqlite:///{tmp_path}/s.db"
    assert mask_url(open_storage(url)) == url
    study = optuna.create_study(storage=open_storage(url))
    assert mask_url(study._storage) == url


def test_sqlite_is_made_with_its_folders_and_can_be_shared(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "study.db"
    url = f"sqlite:///{path}"
    assert not exists(url)
    storage = open_storage(url)
    assert path.exists()
    assert exists(url)
    assert isinstance(storage, optuna.storages.RDBStorage)
    with storage.engine.connect() as connection:
        mode = connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar()
    assert mode == "wal"

    study = optuna.create_study(study_name="s", storage=storage)
    failures: list[Exception] = []

    def work() -> None:
        try:
            other = optuna.load_study(study_name="s", storage=open_storage(url))
            for _ in range(5):
                trial = other.ask()
                other.tell(trial, trial.suggest_float("x", 0, 1))
        except Exception as error:  # noqa: BLE001 - all that a thread raises
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [trial.number for trial in study.trials] == list(range(15))


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("study.db", ValueError, "must be a URL"),
        ("", ValueError, "must be a URL"),
        (f"nosuch://me:{QUOTED}@host/db", StudyError, "can't be opened"),
        (f"mysql+nosuch://me:{QUOTED}@host/db", StudyError, "can't be opened"),
        (
            f"postgresql+psycopg2://me:{QUOTED}@localhost:1/db",
            StudyError,
            r"pip install 'nfopt\[postgres\]', and write the URL as postgresql\+psycopg://",
        ),
        (f"mysql+mysqldb://me:{QUOTED}@localhost:1/db", StudyError, "needs its Python driver"),
        ("sqlite:////proc/none/study.db", StudyError, "can't be opened"),
    ],
)
def test_what_cannot_be_opened_is_one_line(url: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        open_storage(url)
    said = str(caught.value)
    assert "\n" not in said
    assert "`storage`" in said
    assert SECRET not in said
    assert QUOTED not in said
    assert caught.value.__cause__ is None


def test_what_is_no_storage_at_all(tmp_path: Path) -> None:
    for wrong in (tmp_path / "study.db", 7):
        with pytest.raises(TypeError, match="`storage` must be a URL"):
            open_storage(wrong)  # type: ignore[arg-type]


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are only notes, and long enough to be looked at\n" * 50)
    with pytest.raises(StudyError, match="not a database"):
        open_storage(f"sqlite:///{path}")
    assert path.read_text().startswith("these")


def test_a_failure_later_on_is_masked_too() -> None:
    url = f"postgresql://me:{QUOTED}@host/db"
    inner = Exception(f"connection to {url} lost: {SECRET}\nDETAIL: more")
    with pytest.raises(StudyError) as caught, clear_errors(url, "failed"):
        raise sqlalchemy.exc.OperationalError("SELECT 1", {}, inner)
    said = str(caught.value)
    assert SECRET not in said
    assert QUOTED not in said
    assert "\n" not in said
    assert "failed" in said


def test_errors_of_others_pass() -> None:
    with pytest.raises(KeyError), clear_errors(module.DEFAULT_STORAGE):
        raise KeyError("x")
    with pytest.raises(optuna.TrialPruned), clear_errors(module.DEFAULT_STORAGE):
        raise optuna.TrialPruned
