"""Storage URLs: parsing them, and keeping passwords out of all output.

| kind | URL |
|---|---|
| sqlite | sqlite:///FILE |
| database | postgresql://USER:PASSWORD@HOST/NAME, mysql://..., any other that SQLAlchemy knows |
| journal | journal:///FILE, or just a path that ends in .log or .journal |
| grpc | grpc://HOST:PORT of an `nfopt serve` |

FILE is relative to the current folder; an absolute path has its own slash: sqlite:////data/my.db.

    >>> address("postgres://ada:secret@db/flows").name
    'postgres://ada:***@db/flows'
    >>> address("runs/study.journal").kind
    'journal'
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from optuna.storages import BaseStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from nfopt.errors import StudyError
from nfopt.optuna_internals import behind, grpc_address, journal_path

RUNS = Path("nfopt-runs")  # where results go, and the default storage
DEFAULT_STORAGE = "sqlite:///nfopt-runs/nfopt.db"
VARIABLE = "NFOPT_STORAGE"  # environment variable: the storage where none is named
GRPC_PORT = 13000  # Optuna's
SUFFIXES = (".log", ".journal")  # of a path to a journal file
# The short names mean the drivers that our extras install; another one can be written out.
DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
}
EXTRAS = {"postgresql": "postgres", "mysql": "mysql"}
# of a URL, and in libpq's own form: host=h password='it is mine'
_SECRET_KEYS = re.compile(
    r"((?:[?&][^=&#\s]*|(?:^|[\s;])[^=&#\s]*)(?:pass|secret|token)[^=&#\s]*\s*=\s*)"
    r"('(?:[^'\\]|\\.)*'|(?:[^&#\s;\\]|\\.)*)",
    re.IGNORECASE,
)

Kind = Literal["sqlite", "database", "journal", "grpc"]
Storage = str | BaseStorage


def check_name(name: str, out: str | Path | None) -> str:
    """Check that a study's name can name a folder, where it has to."""
    if not name or (out is None and (name in (".", "..") or "/" in name or "\\" in name)):
        raise ValueError(f"`study` must be a name without slashes, got {name!r}.")
    return name


@dataclass(frozen=True)
class Address:
    """A storage's URL in parts.

    Attributes:
        kind: How it is opened.
        url: For SQLAlchemy, with the password; only of the kinds sqlite and database.
        name: For output, without a password.
        path: Of the file, if there is one.
        host: Of the gRPC server.
        port: Of the gRPC server.
    """

    kind: Kind
    url: str
    name: str
    path: Path | None = None
    host: str = ""
    port: int = 0


def address(storage: str | None) -> Address:
    """Parse a storage's URL.

    Args:
        storage: As the user wrote it; None: that of NFOPT_STORAGE, else the default.

    Raises:
        TypeError: If it is not a string.
        ValueError: If it is not a URL of a known kind; one line, the password masked.
    """
    given = chosen(storage)
    name = mask_url(given)
    scheme, separator, rest = given.partition("://")
    if not separator and given.endswith(SUFFIXES):
        return Address("journal", "", f"journal:///{given}", Path(given))
    if scheme == "journal":
        return Address("journal", "", name, _journal_path(rest, name))
    if scheme == "grpc":
        host, port = _host_and_port(rest, name)
        return Address("grpc", "", name, host=host, port=port)
    try:
        url = make_url(given)
        url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
        backend = url.get_backend_name()
        url.get_dialect()
    except NoSuchModuleError:
        raise ValueError(
            f"`storage` {name} has the scheme {scheme!r}, which is not known:"
            " take sqlite, postgresql, mysql, journal or grpc."
        ) from None
    except ImportError:  # a missing driver: `open_storage` says how to install it
        pass
    except (ArgumentError, ValueError):
        raise ValueError(
            f"`storage` must be a URL such as {DEFAULT_STORAGE}, postgresql://HOST/NAME,"
            f" journal:///FILE or grpc://HOST:PORT, got {name!r}."
        ) from None
    full = url.render_as_string(hide_password=False)
    if backend == "sqlite":
        database = url.database
        file = None if database in (None, "", ":memory:") else Path(str(database))
        return Address("sqlite", full, name, file)
    return Address("database", full, name)


def chosen(storage: str | None) -> str:
    """The given storage, else that of NFOPT_STORAGE, else the default."""
    if storage is None:
        return os.environ.get(VARIABLE) or DEFAULT_STORAGE
    if not isinstance(storage, str):
        raise TypeError(
            f"`storage` must be a URL or an Optuna storage, got {type(storage).__name__}."
        )
    return storage


def _journal_path(rest: str, name: str) -> Path:
    if not rest.startswith("/") or len(rest) < 2 or "@" in rest.partition("/")[0]:
        raise ValueError(
            f"`storage` {name} must be journal:///FILE, or journal:////FILE from the root."
        )
    return Path(unquote(rest[1:]))


def _host_and_port(rest: str, name: str) -> tuple[str, int]:
    host, _, port = rest.rstrip("/").rpartition(":")
    if not host and port:
        host, port = port, str(GRPC_PORT)
    if not host or "@" in host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"`storage` {name} must be grpc://HOST:PORT, without user and password.")
    return host, int(port)


# ---------------------------------------------------------------------------------------- passwords


def url_of(storage: Storage | None) -> str | None:
    """The URL of a storage, with its password; None if it has none.

    Args:
        storage: A URL, an open storage, wrapped or not, or None for the default.
    """
    if storage is None or isinstance(storage, str):
        return chosen(storage)
    inner: Any = storage
    while hasattr(inner, "inner"):  # ours
        inner = inner.inner
    if server := grpc_address(inner):
        return "grpc://{}:{}".format(*server)
    inner = behind(inner)
    if path := journal_path(inner):
        return f"journal:///{path}"
    url = getattr(inner, "url", None)
    return url if isinstance(url, str) else None


def mask_url(storage: Storage | None) -> str:
    """Name a storage without its password."""
    url = url_of(storage)
    if url is None:
        return type(behind(getattr(storage, "inner", storage))).__name__
    head, separator, rest = url.partition("://")
    if separator and head not in ("journal", "grpc"):
        try:
            shown = make_url(url).render_as_string(hide_password=True)
            return _SECRET_KEYS.sub(r"\1***", shown)
        except (ArgumentError, ValueError):
            pass
    # not a URL that SQLAlchemy knows: everything between "://" and "@" may be secret
    login = separator and "@" in rest and not rest.startswith("/")
    shown = f"{head}://***@{rest.rpartition('@')[2]}" if login else url
    return _SECRET_KEYS.sub(r"\1***", shown)


def mask_text(text: str, storage: Storage | None) -> str:
    """Mask a storage's URL and password in a message, in all their spellings."""
    url = url_of(storage)
    if url is None:
        return text
    text = text.replace(url, mask_url(url))
    for secret in _secrets(url):
        text = text.replace(secret, "***")
    return text


def _secrets(url: str) -> list[str]:
    spellings: set[str] = set()
    try:
        password = make_url(url).password
    except (ArgumentError, ValueError):
        login = url.partition("://")[2].rpartition("@")[0]
        password = login.partition(":")[2] or None
    given = [str(password or ""), *(value for _, value in _SECRET_KEYS.findall(url))]
    # libpq's quotes and backslashes
    given += [re.sub(r"\\(.)", r"\1", text.strip("'")) for text in given]
    for plain in {form for text in given for form in (text, unquote(text), unquote_plus(text))}:
        spellings |= {plain, quote(plain, safe=""), quote_plus(plain), repr(plain)[1:-1]}
    return sorted(spellings - {""}, key=len, reverse=True)


def worker_environment(storage: Storage | None) -> dict[str, str]:
    """The environment variable that names a storage to another process.

    Never a command line, which everyone on the machine can read.

    Raises:
        StudyError: If the storage exists in this process only.
    """
    url = url_of(storage)
    if url is None or ":memory:" in url:
        raise StudyError(
            f"`storage` {mask_url(storage)} lives in this process only: other workers can't reach"
            " it. Give a URL, such as " + DEFAULT_STORAGE + "."
        )
    return {VARIABLE: url}
