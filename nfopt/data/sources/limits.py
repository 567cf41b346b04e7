"""How much of a file is read: memory stays in proportion to the file that was given.

A few bytes can claim terabytes (a header), or unpack to gigabytes (a bomb). Both are refused before
anything is allocated. `nfopt search --help` names the limits.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nfopt.data.wording import short
from nfopt.errors import DataError

MIB = 2**20
MOST = 16 * 2**30  # bytes of a file, also once it is unpacked
EXPANSION = 100  # a compressed file may hold so many times its size, ...
SMALL = 256 * MIB  # ... or so many bytes, whichever is more
MAX_COLUMNS = 100_000


def regular_size(path: Path) -> int:
    """Give a regular file's size in bytes.

    Raises:
        DataError: If it is a device, a pipe or a socket, which may never end, or too large.
        OSError: If it can't be looked at.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{str(path)!r} is a device or a pipe, not a file: save the data first")
    if status.st_size > MOST:
        raise DataError(
            f"{path.name!r} has {status.st_size / 2**30:,.1f} GiB: at most {MOST >> 30} are read"
        )
    return status.st_size


def allowance(size: int) -> int:
    """Say how many bytes a compressed file of so many bytes may hold."""
    return min(MOST, max(SMALL, EXPANSION * size))


def check_unpacked(path: Path, size: int, unpacked: int) -> None:
    """Refuse a file that unpacks to more than it may.

    Args:
        path: The file.
        size: Its bytes.
        unpacked: What it holds, as far as known.

    Raises:
        DataError: Naming the limit.
    """
    most = allowance(size)
    if unpacked > most:
        raise DataError(
            f"{path.name!r} unpacks to more than {most // MIB:,} MiB, from {size / MIB:,.1f} MiB: "
            f"at most {EXPANSION} times its size (or {SMALL // MIB} MiB) is read"
        )


def check_width(path: Path, columns: int) -> None:
    """Refuse a file of more columns than are ever looked at.

    Raises:
        DataError: Naming the limit.
    """
    if columns > MAX_COLUMNS:
        raise DataError(f"{path.name!r} has {columns:,} columns: at most {MAX_COLUMNS:,} are read")


@contextmanager
def refusing(
    path: Path, inside: str = "", passing: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Say in one line why a file can't be read, whatever its reader raises.

    Args:
        path: The file.
        inside: Which part of it.
        passing: What the caller says itself.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (DataError, *passing)):
            raise
        # A reader that meets a damaged file may raise anything, from KeyError to RecursionError.
        where = f"{str(path)!r}" + (f" ({inside})" if inside else "")
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{where} cannot be read: {short(reason, 90)}") from error
