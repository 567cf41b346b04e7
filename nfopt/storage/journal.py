"""Optuna's journal file, made safe against what stops a writer halfway: a full disk, a kill.

Optuna appends a line and trusts that it is whole. A line that was cut off makes the file unreadable
for everyone as soon as the next one follows. So whoever writes next takes the torn end away first;
it was never told to anyone as written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

# Seconds after which a lock is taken from its holder, who was killed. It is held for milliseconds.
GRACE = 15
BLOCK = 4096  # bytes that are read at a time in search of a line's end


class Journal(JournalFileBackend):
    """A journal file.

    Args:
        path: Of the file; it is made if there is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_file = JournalFileSymlinkLock(str(path), grace_period=GRACE)
        super().__init__(str(path), lock_obj=self._lock_file)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, all of them or none.

        Args:
            logs: One object a line.

        Raises:
            OSError: If the disk is full, or the file can't be written.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        self._lock_file.acquire()
        try:
            # appended, not put at a place: a writer that was stopped for so long that its lock was
            # taken from it adds its lines behind those of others, and overwrites none
            with open(self._path, "r+b", opener=_appending) as file:
                end, size = _whole_lines(file.fileno())
                if end < size == os.fstat(file.fileno()).st_size:
                    os.ftruncate(file.fileno(), end)
                try:
                    file.write(lines)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):  # whoever writes next tries again
                        _take_back(file.fileno(), end, lines)
                    raise
        finally:
            # the lock of a process that was stopped for long was taken from it: nothing to release
            with suppress(RuntimeError):
                self._lock_file.release()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read lines.

        Args:
            log_number_from: The first one, from 0.

        Raises:
            StorageInternalError: If a line is no JSON.
        """
        try:
            yield from super().read_logs(log_number_from)
        except ValueError as error:
            raise StorageInternalError(f"a line of it can't be read ({error})") from None


def _appending(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND)


def _take_back(descriptor: int, end: int, lines: bytes) -> None:
    """Cut a file off at `end`, if nothing but a beginning of these lines follows there."""
    if lines.startswith(os.pread(descriptor, len(lines) + 1, end)):
        os.ftruncate(descriptor, end)


def _whole_lines(descriptor: int) -> tuple[int, int]:
    """Return the length of a file without what follows its last line's end, and with it."""
    end = size = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1, size
        end = start
    return 0, size
