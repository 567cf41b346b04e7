"""The process that trains a trial, and whether it still lives."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import msgspec
from optuna.trial import FrozenTrial

from nfopt.attributes import WORKER


class Worker(msgspec.Struct, frozen=True):
    """The process that trains a trial.

    Attributes:
        host: Of the machine.
        pid: Of the process.
        began: Start time of the process, in the system's units, which tells it from a later one
            with the same pid; "" where the system does not provide it.
        space: The PID namespace: two containers may share a host name, but see different processes;
            "" where the system does not provide it.
    """

    host: str
    pid: int
    began: str
    space: str = ""

    @classmethod
    def here(cls) -> Worker:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _began(os.getpid()), _space())

    @classmethod
    def of(cls, trial: FrozenTrial) -> Worker | None:
        """The worker of a trial, or None."""
        try:
            return msgspec.convert(trial.user_attrs.get(WORKER), cls)
        except msgspec.ValidationError:
            return None

    def alive(self) -> bool | None:
        """Whether the process lives; None if that can't be known, as on another machine."""
        if self.host != socket.gethostname() or (self.space and self.space != _space()):
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return not self.began or self.began == _began(self.pid)


def _began(pid: int) -> str:
    if not sys.platform.startswith("linux"):
        return ""
    try:
        # field 22 of stat, counted after the command's closing bracket, is the start time
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


msgspec.json.Decoder(Worker)  # read now: two threads that do it at once crash msgspec
