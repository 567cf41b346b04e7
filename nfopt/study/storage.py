"""Open any Optuna storage by its URL, and never show a password."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from nfopt.errors import StudyError

DEFAULT_STORAGE = "sqlite:///nfopt-runs/nfopt.db"
PSYCOPG = "postgresql+psycopg"  # what the extra `postgres` installs
SQLITE_TIMEOUT = 60.0  # seconds that a process waits for another one's write

Storage = str | BaseStorage


def mask_url(storage: Storage | None) -> str:
    """Name a storage without its password."""
    if storage is None:
        storage = DEFAULT_STORAGE
    if isinstance(storage, BaseStorage):
        inner = getattr(storage, "_backend", storage)  # Optuna's cache wraps a database storage
        if isinstance(inner, RDBStorage):
            return mask_url(inner.url)
        return type(inner).__name__
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        # no URL that SQLAlchemy knows: whatever stands between "://" and "@" may be a secret
        head, separator, rest = storage.partition("://")
        return f"{head}://***@{rest.rpartition('@')[2]}" if separator and "@" in rest else storage


def mask_text(text: str, storage: Storage | None) -> str:
    """Take a storage's URL and password out of a message, in whatever way they are written."""
    url = storage
    if isinstance(storage, BaseStorage):
        url = getattr(getattr(storage, "_backend", storage), "url", None)
    if not isinstance(url, str):
        return text
    text = text.replace(url, mask_url(url))
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> list[str]:
    found = set()
    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        login = url.partition("://")[2].rpartition("@")[0]
        password = login.partition(":")[2] or None
    for plain in filter(None, (password, unquote(str(password or "")))):
        found |= {str(plain), quote(str(plain), safe=""), quote_plus(str(plain))}
    return sorted(found, key=len, reverse=True)


def open_storage(storage: Storage | None = None) -> BaseStorage:
    """Open a storage; a SQLite file is made with its folders, for several processes at a time.

    Args:
        storage: Any URL that Optuna takes, an open storage, or None for the default.

    Raises:
        ValueError: If it is no URL.
        StudyError: If it can't be opened; one line, the password masked.
    """
    if isinstance(storage, BaseStorage):
        return storage
    given = DEFAULT_STORAGE if storage is None else storage
    url = _parse(given)
    keywords: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        _make_folder(url)
        keywords["connect_args"] = {"timeout": SQLITE_TIMEOUT}
    with clear_errors(given, "can't be opened"):
        try:
            opened = RDBStorage(given, engine_kwargs=keywords)
        except ImportError:
            raise StudyError(f"`storage` {mask_url(given)} {_driver(url)}") from None
        except (RuntimeError, OSError) as error:
            # a schema of another version, a file that can't be read
            raise StorageInternalError(str(error)) from error
        if url.get_backend_name() == "sqlite":
            _share(opened)
    return opened


def exists(storage: Storage | None) -> bool:
    """Say whether there can be a study in a storage, without making anything."""
    if isinstance(storage, BaseStorage):
        return True
    path = _file(_parse(DEFAULT_STORAGE if storage is None else storage))
    return path is None or path.exists()


@contextmanager
def clear_errors(storage: Storage | None, what: str = "failed") -> Iterator[None]:
    """Turn what a database raises in the block into a StudyError of one line.

    Args:
        storage: For its name and its password.
        what: What is said of it.
    """
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        reason = " ".join(mask_text(_reason(error), storage).split())
        raise StudyError(f"`storage` {mask_url(storage)} {what}: {reason}") from None


def _reason(error: BaseException) -> str:
    inner = getattr(error, "orig", None) or error.__cause__ or error
    return (str(inner) or type(inner).__name__).splitlines()[0]


def _driver(url: URL) -> str:
    """Say how to get the driver that is not installed."""
    if url.get_backend_name() != "postgresql":
        return "needs its Python driver, which is not installed (SQLAlchemy's pages name them)."
    form = "" if url.drivername == PSYCOPG else f", and write the URL as {PSYCOPG}://..."
    return f"needs a driver that is not installed: pip install 'nfopt[postgres]'{form}."


def _parse(storage: str) -> URL:
    if not isinstance(storage, str):
        raise TypeError(
            f"`storage` must be a URL or an Optuna storage, got {type(storage).__name__}."
        )
    try:
        return make_url(storage)
    except (ArgumentError, ValueError):
        raise ValueError(
            f"`storage` must be a URL such as {DEFAULT_STORAGE} or postgresql+psycopg://HOST/NAME,"
            f" got {mask_url(storage)!r}."
        ) from None


def _file(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def _make_folder(url: URL) -> None:
    path = _file(url)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(
            f"`storage` {mask_url(str(url))} can't be opened: folder {str(path.parent)!r}:"
            f" {error.strerror}"
        ) from None


def _share(storage: RDBStorage) -> None:
    """Let readers and one writer work at a time (write-ahead log)."""

    def configure(connection: Any, record: ConnectionPoolEntry) -> None:
        # with a write-ahead log this is safe against a crash of the process; a full flush at each
        # of a trial's dozen commits would cost more than all else here
        connection.execute("PRAGMA synchronous=NORMAL")

    sqlalchemy.event.listen(storage.engine, "connect", configure)
    storage.engine.dispose()
    with storage.engine.connect() as connection:
        connection.execute(sqlalchemy.text("PRAGMA journal_mode=WAL"))
