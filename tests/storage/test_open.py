"""Any URL opens or fails in one line, and no password is shown."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy

from nfopt.errors import StudyError
from nfopt.storage import open as module
from nfopt.storage.open import (
    clear_errors,
    exists,
    mask_text,
    mask_url,
    open_storage,
    worker_environment,
)
from nfopt.storage.retrying import PatientStorage

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
        ("host=h password=secret dbname=x", "host=h password=*** dbname=x"),
        ("host=h PassWord = 'it is \\' mine' user=me", "host=h PassWord = *** user=me"),
        ("postgresql:///db?host=h&sslpassword=x", "postgresql:///db?host=h&sslpassword=***"),
        ("postgresql://host/db?password=a%20b&x=1", "postgresql://host/db?password=***&x=1"),
        ("mysql://host/db?ssl_passphrase=ab", "mysql://host/db?ssl_passphrase=***"),
        ("journal:////data/a@b.log", "journal:////data/a@b.log"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("grpc://me:secret@host:13000", "grpc://***@host:13000"),
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


def test_a_password_in_libpqs_form_is_masked_in_any_message() -> None:
    url = r"host=h password='it\'s mine' user=me"
    for text in (url, repr(url), "login it's mine", "login 'it\\'s mine'"):
        assert "mine" not in mask_text(text, url)


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
    assert isinstance(storage, PatientStorage)
    with storage.inner._backend.engine.connect() as connection:  # type: ignore[attr-defined]
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
        (f"nosuch://me:{QUOTED}@host/db", ValueError, "scheme 'nosuch', which is not known"),
        (f"mysql+nosuch://me:{QUOTED}@host/db", ValueError, "which is not known"),
        (
            f"postgresql+psycopg2://me:{QUOTED}@localhost:1/db",
            StudyError,
            r"pip install 'nfopt\[postgres\]', and write the URL as postgresql://",
        ),
        (f"mysql+mysqldb://me:{QUOTED}@localhost:1/db", StudyError, r"install 'nfopt\[mysql\]'"),
        (f"oracle+oracledb://me:{QUOTED}@localhost:1/db", StudyError, "needs its Python driver"),
        ("sqlite:////proc/none/study.db", StudyError, "can't be opened"),
        ("journal:////proc/none/study.log", StudyError, "can't be opened"),
        ("journal:///", ValueError, "must be journal:///FILE"),
        (f"grpc://me:{QUOTED}@host:13000", ValueError, "must be grpc://HOST:PORT"),
        ("grpc://host:port", ValueError, "must be grpc://HOST:PORT"),
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


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "pymysql", None)
    for url, extra in ((f"postgresql://me:{QUOTED}@h/db", "postgres"), ("mysql://h/db", "mysql")):
        with pytest.raises(StudyError, match=rf"pip install 'nfopt\[{extra}\]'\.$") as caught:
            open_storage(url)
        assert QUOTED not in str(caught.value)


def test_the_environment_names_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/from_environment.db"
    monkeypatch.setenv("NFOPT_STORAGE", url)
    assert mask_url(None) == url
    assert not exists(None)
    opened = open_storage()
    assert mask_url(opened) == url
    assert worker_environment(None) == worker_environment(opened) == {"NFOPT_STORAGE": url}
    secret = f"postgresql://me:{QUOTED}@host/db"
    assert worker_environment(secret) == {"NFOPT_STORAGE": secret}
    with pytest.raises(StudyError, match="lives in this process only"):
        worker_environment(optuna.storages.InMemoryStorage())


@pytest.mark.parametrize("name", ["study.log", "study.journal"])
def test_a_journal_is_named_by_its_path_or_url(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    optuna.create_study(study_name="s", storage=open_storage(f"new/{name}"))
    for url in (f"journal:///new/{name}", f"journal:///{tmp_path}/new/{name}"):
        assert exists(url)
        assert optuna.get_all_study_names(open_storage(url)) == ["s"]
    assert worker_environment(open_storage(f"new/{name}")) == {
        "NFOPT_STORAGE": f"journal:///new/{name}"
    }


def test_what_is_open_is_made_patient_once(tmp_path: Path) -> None:
    memory = optuna.storages.InMemoryStorage()
    assert open_storage(memory) is memory
    plain = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/s.db")
    opened = open_storage(plain)
    assert isinstance(opened, PatientStorage)
    assert opened.inner._backend is plain  # type: ignore[attr-defined]
    assert open_storage(opened) is opened


def test_a_newer_schema_is_one_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    optuna.create_study(storage=open_storage(url))
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    with pytest.raises(StudyError, match=r"pip install -U optuna") as caught:
        open_storage(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_folder_without_the_right_to_write_is_one_line(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    before = os.geteuid()
    if before == 0:
        tmp_path.chmod(0o755)
        for parent in list(tmp_path.parents)[:3]:
            parent.chmod(parent.stat().st_mode | 0o055)
        os.seteuid(65534)  # root may write everywhere
    try:
        with pytest.raises(StudyError, match="can't be opened") as caught:
            open_storage(f"{kind}:///{folder}/study.x")
    finally:
        os.seteuid(before)
    assert "\n" not in str(caught.value)


def test_a_full_disk_under_sqlite_is_one_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)
    study.optimize(lambda trial: 1.0, n_trials=1)

    def full(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # SQLite takes the size that it has

    engine = storage.inner._backend.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "connect", full)
    engine.dispose()
    with (
        pytest.raises(StudyError, match=r"database or disk is full$") as caught,
        clear_errors(url, "failed"),
    ):
        study.set_user_attr("long", "x" * 10**6)
    assert "\n" not in str(caught.value)


def test_two_that_make_a_database_at_once_both_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, real = f"sqlite:///{tmp_path}/s.db", sqlalchemy.MetaData.create_all

    def create_all(self: Any, engine: Any, **more: Any) -> None:
        monkeypatch.setattr(sqlalchemy.MetaData, "create_all", real)
        real(self, engine)  # by the other one, after we looked
        real(self, engine, checkfirst=False)

    monkeypatch.setattr(sqlalchemy.MetaData, "create_all", create_all)
    assert open_storage(url).get_all_studies() == []
