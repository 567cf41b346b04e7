"""How the process of a command ends early: a second Ctrl-C, and without seconds of taking down."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn


class CtrlC:
    """The process's own handler of SIGINT.

    While a search listens, it notes the first Ctrl-C, puts away what it trains, and has `at_once`
    called by the second one. Elsewhere the first one interrupts as usual.
    """

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Interrupt what does not listen."""
        raise KeyboardInterrupt

    def at_once(self, number: int) -> NoReturn:
        """End the process: 130 for SIGINT, 143 for SIGTERM."""
        os._exit(128 + number)


def leave(code: int) -> NoReturn:
    """End the process, all said and stored; taking torch down would take a second or more."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
