"""Open any storage by its URL, retried while its server is away, with passwords kept secret."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import (
    BaseStorage,
    InMemoryStorage,
    RDBStorage,
    get_storage,
)
from optuna.storages.journal import JournalStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from nfopt.errors import StudyError
from nfopt.optuna_internals import BulkStorage, behind
from nfopt.storage.backoff import PATIENCE, StorageAway
from nfopt.storage.errors import trouble
from nfopt.storage.grpc import Remote
from nfopt.storage.journal import Journal
from nfopt.storage.retrying import PatientStorage
from nfopt.storage.sqlite import SqliteStorage
from nfopt.storage.url import (
    DEFAULT_STORAGE,
    DRIVERS,
    EXTRAS,
    Address,
    Storage,
    address,
    mask_text,
    mask_url,
    worker_environment,
)

__all__ = [
    "DEFAULT_STORAGE",
    "Storage",
    "StorageAway",
    "clear_errors",
    "exists",
    "mask_text",
    "mask_url",
    "open_storage",
    "worker_environment",
]

SQLITE_TIMEOUT = 60.0  # seconds that a process waits for another one's write
CONNECT_TIMEOUT = 10  # seconds in which a server must answer
# Two workers that open a new database at once both create its tables: one of them tries again.
CREATED_MEANWHILE = (
    "already exists",
    "duplicate key",
    "UNIQUE constraint failed",
    "Duplicate entry",
)
GONE = "Record does not exist."  # Optuna's words for a study or trial that is not there
ATTEMPTS, PAUSE = 10, 0.2  # seconds between them


def open_storage(
    storage: Storage | None = None,
    *,
    patience: float = PATIENCE,
    on_wait: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BaseStorage:
    """Open a storage that retries its calls; a file is created with its folders.

    Args:
        storage: A URL (see `nfopt.storage.url`), an open storage, or None for that of the variable
            NFOPT_STORAGE, else the default.
        patience: Seconds to wait for a storage that goes away once it is open. One that is away
            when it is opened is an error at once.
        on_wait: See `PatientStorage`.
        should_stop: See `Patience`.

    Raises:
        ValueError: If it is not a URL.
        StudyError: If it can't be opened; one line, the password masked.
    """
    if isinstance(storage, PatientStorage | InMemoryStorage):
        return storage
    failures: Callable[[], int] | None = None
    if isinstance(storage, BaseStorage):
        opened = get_storage(storage)
    else:
        location = address(storage)
        with clear_errors(storage, "can't be opened"):
            opened = _OPEN[location.kind](location)
    if isinstance(inner := behind(opened), RDBStorage):
        failures = _count_failures(inner.engine)
    return PatientStorage(
        opened, patience=patience, on_wait=on_wait, should_stop=should_stop, failures=failures
    )


def exists(storage: Storage | None) -> bool:
    """Whether a storage may hold studies, without creating a file."""
    if isinstance(storage, BaseStorage):
        return True
    path = address(storage).path
    return path is None or path.exists()


@contextmanager
def clear_errors(storage: Storage | None, what: str = "failed") -> Iterator[None]:
    """Turn a storage's errors within the block into a StudyError of one line.

    Args:
        storage: For its name and its password.
        what: What failed, as the message says it.
    """
    try:
        yield
    except KeyError as error:
        if error.args[:1] != (GONE,):
            raise
        raise StudyError(
            f"`storage` {mask_url(storage)} no longer has the study: it was deleted meanwhile."
        ) from None
    except StorageAway as error:
        raise StudyError(f"`storage` {mask_url(storage)} {error}") from None
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        failure = trouble(error)
        reason = " ".join(mask_text(failure.reason if failure else str(error), storage).split())
        raise StudyError(
            f"`storage` {mask_url(storage)} {what}: {reason}{_advice(reason)}"
        ) from None


@contextmanager
def find_study(name: str, storage: Storage | None = None) -> Iterator[BaseStorage]:
    """Open the storage that has a study, for a block in which its errors are one line.

    Raises:
        StudyError: If there is no such study, or the storage fails.
    """
    missing = f"`study` {name!r} is not in `storage` {mask_url(storage)}"
    if not exists(storage):
        raise StudyError(f"{missing}: there is no such file.")
    with clear_errors(storage, "can't be opened"):
        opened = open_storage(storage)
        known = [one.study_name for one in opened.get_all_studies()]
        if name in known:
            yield opened
            return
    listed = ", ".join(sorted(known)[:5]) + (", ..." if len(known) > 5 else "")
    raise StudyError(f"{missing}: it has {listed or 'no study'}.")


def _advice(reason: str) -> str:
    if "does not exist" in reason and "database" in reason:
        return " (make it first: createdb NAME)"
    if "Unknown database" in reason:
        return " (make it first: CREATE DATABASE NAME)"
    return ""


# ---------------------------------------------------------------------------- kinds of storages


def _open_sqlite(location: Address) -> BaseStorage:
    _make_folder(location)
    storage = _rdb(location, {"connect_args": {"timeout": SQLITE_TIMEOUT}}, SqliteStorage)
    _share(storage)
    return get_storage(storage)


def _open_database(location: Address) -> BaseStorage:
    url = make_url(location.url)
    keywords: dict[str, Any] = {}
    if url.drivername in DRIVERS.values() and "connect_timeout" not in url.query:
        keywords["connect_args"] = {"connect_timeout": CONNECT_TIMEOUT}
    return get_storage(_rdb(location, keywords))


def _rdb(
    location: Address, keywords: dict[str, Any], kind: type[RDBStorage] = BulkStorage
) -> RDBStorage:
    for _ in range(ATTEMPTS):
        try:
            return kind(location.url, engine_kwargs=keywords)
        except ImportError:
            raise StudyError(
                f"`storage` {location.name} {_driver(make_url(location.url))}"
            ) from None
        except RuntimeError as error:  # a schema of another version
            raise StorageInternalError(str(error)) from error
        except SQLAlchemyError as error:
            if not any(text in str(error) for text in CREATED_MEANWHILE):
                raise
            time.sleep(PAUSE)
    return kind(location.url, engine_kwargs=keywords)


def _open_journal(location: Address) -> BaseStorage:
    _make_folder(location)
    try:
        return JournalStorage(Journal(location.path or Path()))
    except OSError as error:
        raise StorageInternalError(str(error)) from error


def _open_grpc(location: Address) -> BaseStorage:
    try:
        proxy = Remote(location.host, location.port)
        proxy.wait_server_ready(timeout=CONNECT_TIMEOUT)
        proxy.get_all_studies()  # it may be another server than ours
    except ImportError:
        raise StudyError(
            f"`storage` {location.name} needs what is not installed: pip install 'nfopt[grpc]'."
        ) from None
    except ConnectionError:
        raise StudyError(
            f"`storage` {location.name} can't be opened: no server answers there. Start one:"
            f" nfopt serve --storage URL --port {location.port}"
        ) from None
    except Exception as error:
        failure = trouble(error)
        if failure is None:
            raise
        raise StorageInternalError(failure.reason) from None
    return proxy


_OPEN: dict[str, Callable[[Address], BaseStorage]] = {
    "sqlite": _open_sqlite,
    "database": _open_database,
    "journal": _open_journal,
    "grpc": _open_grpc,
}


def _driver(url: URL) -> str:
    """How to install a missing driver, in words."""
    backend = url.get_backend_name()
    if backend not in EXTRAS:
        return "needs its Python driver, which is not installed (SQLAlchemy's pages name them)."
    form = "" if url.drivername in DRIVERS.values() else f", and write the URL as {backend}://..."
    return f"needs a driver that is not installed: pip install 'nfopt[{EXTRAS[backend]}]'{form}."


def _make_folder(location: Address) -> None:
    if location.path is None:
        return
    folder = location.path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"`storage` {location.name} can't be opened: folder {str(folder)!r}: {error.strerror}"
        ) from None
    if not os.access(folder, os.W_OK):
        raise StudyError(
            f"`storage` {location.name} can't be opened: no right to write in {folder}."
        )


def _share(storage: RDBStorage) -> None:
    """Switch to a write-ahead log: readers go on while one process writes."""

    def configure(connection: Any, record: ConnectionPoolEntry) -> None:
        # safe against a crash of the process with a write-ahead log; a full flush at each of a
        # trial's dozen commits would cost more than everything else
        connection.execute("PRAGMA synchronous=NORMAL")

    sqlalchemy.event.listen(storage.engine, "connect", configure)
    storage.engine.dispose()
    with storage.engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))


def _count_failures(engine: sqlalchemy.Engine) -> Callable[[], int]:
    """Count the errors of a database's driver."""
    numbers = count(1)
    last = 0

    def note(context: Any) -> None:
        nonlocal last
        last = next(numbers)

    sqlalchemy.event.listen(engine, "handle_error", note)
    return lambda: last
