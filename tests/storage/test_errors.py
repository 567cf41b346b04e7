"""Which errors of which storage mean that it is away, and which that it can't."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from sqlalchemy import create_engine, exc, text

from nfopt.errors import StudyError
from nfopt.storage.backoff import StorageAway
from nfopt.storage.errors import Trouble, trouble
from nfopt.storage.open import clear_errors, open_storage


class Driver(Exception):
    """What a driver raises: PostgreSQL's have a code of their own, MySQL's a number first."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args)
        self.__dict__ |= more


def of(driver: Exception, kind: Any = exc.OperationalError, lost: bool = False) -> Exception:
    """As Optuna raises it: packed by SQLAlchemy, and again by Optuna."""
    packed = StorageInternalError("An exception is raised during the commit.")
    packed.__cause__ = kind("SELECT 1", {}, driver, connection_invalidated=lost)
    return packed


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (of(Driver("terminating connection", sqlstate="57P01"), lost=True), True),
        (of(Driver("the database system is starting up", sqlstate="57P03")), True),
        (of(Driver("deadlock detected", sqlstate="40P01")), True),
        (of(Driver("connection refused", sqlstate=None)), True),
        (of(Driver("password authentication failed", sqlstate=None)), False),
        (of(Driver('database "x" does not exist', sqlstate=None)), False),
        (of(Driver("disk full", sqlstate="53100")), False),
        (of(Driver("canceling statement", sqlstate="57014")), False),
        (of(Driver("undefined table", sqlstate="42P01"), exc.ProgrammingError), False),
        (of(Driver(2006, "MySQL server has gone away")), True),
        (of(Driver(1213, "Deadlock found")), True),
        (of(Driver(1045, "Access denied")), False),
        (of(Driver(1114, "The table is full")), False),
        (exc.TimeoutError("QueuePool limit"), True),
        (OSError(errno.ESTALE, "Stale file handle"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (PermissionError(errno.EACCES, "Permission denied"), False),
        (StorageAway("is away since 5 seconds: x"), True),
        (StorageInternalError("a line of it can't be read"), False),
    ],
    ids=str,
)
def test_what_passes(error: Exception, passes: bool) -> None:
    found = trouble(error)
    assert found is not None
    assert found.passes is passes
    assert found.reason
    assert "\n" not in found.reason


@pytest.mark.parametrize(
    "error", [KeyError("x"), ValueError("x"), UpdateFinishedTrialError("x"), RuntimeError("x")]
)
def test_an_answer_is_no_trouble(error: Exception) -> None:
    assert trouble(error) is None


def test_sqlite_says_it_by_a_code(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/s.db", connect_args={"timeout": 0.0})
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("CREATE TABLE t (x)")
    other.execute("BEGIN EXCLUSIVE")
    with engine.connect() as connection, pytest.raises(exc.OperationalError) as caught:
        connection.execute(text("INSERT INTO t VALUES (1)"))
    assert trouble(caught.value) == Trouble("database is locked", passes=True)
    other.execute("ROLLBACK")
    with engine.connect() as connection:
        connection.execute(text("PRAGMA query_only=1"))
        with pytest.raises(exc.OperationalError) as caught:
            connection.execute(text("INSERT INTO t VALUES (1)"))
    found = trouble(caught.value)
    assert found is not None
    assert not found.passes
    other.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("code", "details", "passes"),
    [
        ("UNAVAILABLE", "failed to connect to all addresses", True),
        ("UNKNOWN", "Exception calling application: is away since 20 seconds: x", True),
        ("UNKNOWN", "Stream removed", True),
        ("UNKNOWN", "Exception calling application: name 'x' is not defined", False),
        ("UNIMPLEMENTED", "Method not found!", False),
    ],
)
def test_grpc_says_it_by_a_status(code: str, details: str, passes: bool) -> None:
    grpc = pytest.importorskip("grpc")

    class Failed(grpc.RpcError):  # type: ignore[misc, name-defined]
        def code(self) -> Any:
            return grpc.StatusCode[code]

        def details(self) -> str:
            return details

    found = trouble(Failed())
    assert found is not None
    assert found.passes is passes


@pytest.mark.parametrize("kind", ["sqlite:///{}/s.db", "journal:///{}/s.log"])
def test_a_study_that_is_deleted_meanwhile_is_one_line(tmp_path: Path, kind: str) -> None:
    url = kind.format(tmp_path)
    study = optuna.create_study(study_name="s", storage=open_storage(url))
    optuna.delete_study(study_name="s", storage=open_storage(url))
    for use in (lambda: study.ask(), lambda: study.user_attrs, lambda: study.set_user_attr("k", 1)):
        with pytest.raises(StudyError, match="deleted meanwhile"), clear_errors(url):
            use()
    with pytest.raises(KeyError), clear_errors(url):
        raise KeyError("another")
