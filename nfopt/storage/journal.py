"""Optuna's journal file, made safe against writers that stop halfway: a full disk, a kill.

Optuna appends a line and assumes that it is complete. A truncated line makes the file unreadable
for everyone as soon as another one follows. So the next writer removes a truncated end first; no
caller was told that it had been written.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from nfopt.errors import StudyWarning
from nfopt.storage.operations import NOTHING, Reader

# Seconds after which a lock counts as that of a killed process. It is held for milliseconds.
GRACE = 15
BLOCK = 4096  # bytes read at a time when searching for the end of a line


class Journal(JournalFileBackend):
    """A journal file.

    Args:
        path: Of the file, which is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock_file = JournalFileSymlinkLock(str(path), grace_period=GRACE)
        super().__init__(str(path), lock_obj=self._lock_file)
        self._operations, self._said = Reader(), False

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
            # appended rather than written at an offset: a writer that was suspended for so long
            # that it lost its lock adds its lines behind those of others, and overwrites none
            with open(self._path, "r+b", opener=_appending) as file:
                end, size = _whole_lines(file.fileno())
                if end < size == os.fstat(file.fileno()).st_size:
                    os.ftruncate(file.fileno(), end)
                try:
                    file.write(lines)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):  # the next writer removes it
                        _take_back(file.fileno(), end, lines)
                    raise
        finally:
            # a process that was suspended for long has lost its lock: nothing to release
            with suppress(RuntimeError):
                self._lock_file.release()

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read lines.

        Args:
            log_number_from: The first one, from 0.

        Raises:
            StorageInternalError: If a line is not JSON.
        """
        number, over = log_number_from, False
        while not over:
            try:
                for line in super().read_logs(number):
                    number += 1
                    why = self._operations.fault(line)
                    if why is not None:
                        self._set_aside(number, why)
                    yield line if why is None else NOTHING
                over = True
            except RecursionError:  # of a line's own nesting: the next one goes on
                number += 1
                self._set_aside(number, "nested too deeply")
                yield NOTHING
            except ValueError as error:
                raise StorageInternalError(f"a line of it can't be read ({error})") from None

    def _set_aside(self, number: int, why: str) -> None:
        """Warn once that a line is no operation; Optuna counts it, and does nothing."""
        if not self._said:
            self._said = True
            warnings.warn(
                f"line {number} of the journal {str(self._path)!r} is no operation of a study and"
                f" is set aside, as all like it: {why}",
                StudyWarning,
                stacklevel=2,
            )


def _appending(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_APPEND)


def _take_back(descriptor: int, end: int, lines: bytes) -> None:
    """Truncate a file at `end`, if nothing but a beginning of these lines follows."""
    if lines.startswith(os.pread(descriptor, len(lines) + 1, end)):
        os.ftruncate(descriptor, end)


def _whole_lines(descriptor: int) -> tuple[int, int]:
    """The length of a file up to the end of its last complete line, and its whole length."""
    end = size = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - BLOCK)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1, size
        end = start
    return 0, size
