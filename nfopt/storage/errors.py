"""What a storage's error means: that it does not answer now, or that it can't do what was asked.

Each kind of storage has its own errors. SQLite and the databases raise SQLAlchemy's version of the
driver's error (Optuna wraps it in a StorageInternalError), a journal file raises OSError, the gRPC
proxy an RpcError with a status code. All other errors of a storage (KeyError, a trial that is
finished already, a distribution that does not fit) are answers, and are not handled here.
"""

from __future__ import annotations

import errno
import sqlite3
import sys
from dataclasses import dataclass

from optuna.exceptions import StorageInternalError
from sqlalchemy import exc

AWAY = "is away"  # in the message of StorageAway, which also comes through gRPC

# https://www.sqlite.org/rescode.html: another process writes
_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection exceptions (08), server
# ends or starts (57P), too many connections, serialisation, deadlock, lock
_POSTGRES = ("08", "57P", "53300", "40001", "40P01", "55P03")
# in libpq's messages, without a code, where the server did answer and waiting does not help
_POSTGRES_REFUSED = ("authentication", "does not exist", "no password", "pg_hba", "not permitted")
# https://dev.mysql.com/doc/mysql-errors/8.0/en/: too many connections, server ends, locks, lost
_MYSQL = {1040, 1053, 1203, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2055}
# a network's file system, or a lock of it
_FILE = {
    errno.EAGAIN,
    errno.EBUSY,
    errno.EINTR,
    errno.EIO,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOLCK,
    errno.ENOTCONN,
    errno.ESTALE,
    errno.ETIMEDOUT,
}
_GRPC = {"UNAVAILABLE", "ABORTED", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED"}
# from a server whose own storage is away (ours, Optuna's), or that was killed while it answered
_GRPC_TEXTS = (AWAY, "raised during the commit", "Stream removed", "RST_STREAM", "Socket closed")


@dataclass(frozen=True)
class Trouble:
    """Why a storage failed.

    Attributes:
        reason: In one line; may contain a password.
        passes: Whether it may succeed later.
    """

    reason: str
    passes: bool


def trouble(error: BaseException) -> Trouble | None:
    """Why a storage failed, from its error; None if the error is the storage's answer."""
    cause = error.__cause__
    if isinstance(error, StorageInternalError) and isinstance(cause, Exception):
        return trouble(cause) or Trouble(_line(cause), passes=False)
    if isinstance(error, exc.SQLAlchemyError):
        return Trouble(_line(getattr(error, "orig", None) or error), _database_passes(error))
    if isinstance(error, StorageInternalError | sqlite3.Error):
        return Trouble(_line(error), passes=AWAY in str(error))
    if isinstance(error, OSError):
        reason = error.strerror or _line(error)
        where = f": {str(error.filename)!r}" if error.filename else ""
        return Trouble(f"{reason}{where}", error.errno in _FILE)
    return _of_grpc(error)


def _database_passes(error: exc.SQLAlchemyError) -> bool:
    if isinstance(error, exc.TimeoutError):
        return True  # all connections of the pool are in use
    if isinstance(error, exc.PendingRollbackError):
        return True  # the server went away between two statements of a transaction
    if not isinstance(error, exc.DBAPIError):
        return False
    if error.connection_invalidated:
        return True  # SQLAlchemy recognises this driver's error of a lost server
    driver = error.orig
    if isinstance(driver, sqlite3.Error):
        return getattr(driver, "sqlite_errorcode", 0) & 0xFF in _SQLITE
    if not isinstance(error, exc.OperationalError | exc.InterfaceError):
        return False
    if driver is not None and hasattr(driver, "sqlstate"):
        if driver.sqlstate is not None:
            return str(driver.sqlstate).startswith(_POSTGRES)
        return not any(text in str(driver) for text in _POSTGRES_REFUSED)
    code = driver.args[0] if driver is not None and driver.args else None
    return code in _MYSQL


def _of_grpc(error: BaseException) -> Trouble | None:
    grpc = sys.modules.get("grpc")  # if it is not imported, it did not raise this
    if grpc is None or not isinstance(error, grpc.RpcError):
        return None
    code = error.code().name if hasattr(error, "code") else "UNKNOWN"
    details = str(error.details() if hasattr(error, "details") else error)
    passes = code in _GRPC or any(text in details for text in _GRPC_TEXTS)
    if code == "UNAVAILABLE":
        details = "no server answers"
    return Trouble(" ".join(details.split()) or code, passes)


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
