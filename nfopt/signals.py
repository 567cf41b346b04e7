"""Ctrl-C, SIGTERM and SIGHUP, turned into a question that loops ask."""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# a closed terminal is a request like any other, on systems that have it
SIGNALS = tuple([getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)])

HANG_UP = getattr(signal, "SIGHUP", None)


class Stop:
    """Whether to stop: set by a signal, or by a caller's own `should_stop`.

    Attributes:
        reason: The signal's name, or None.
    """

    def __init__(self, asked: Callable[[], bool] | None = None) -> None:
        self.reason: str | None = None
        self._asked = asked

    def __call__(self) -> bool:
        """Say whether to stop."""
        return self.reason is not None or (self._asked is not None and self._asked())

    def check(self) -> None:
        """Raise KeyboardInterrupt if it is time to stop."""
        if self():
            raise KeyboardInterrupt(self.reason or "stopped")


@contextmanager
def listening(asked: Callable[[], bool] | None = None) -> Iterator[Stop]:
    """Note the first signal to stop while the block runs; a second one interrupts at once.

    If the handler of SIGINT that was there has an `at_once`, the second one calls that instead.

    In another thread than the main one, where Python allows no handlers, only `asked` counts.

    Args:
        asked: A caller's own question.
    """
    stop = Stop(asked)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        if stop.reason is not None and number == HANG_UP:
            return  # a shell and the system may both send it
        if stop.reason is not None:
            at_once = getattr(before[signal.SIGINT], "at_once", None)
            if at_once is not None:  # the process is the command line's own
                at_once(number)
            raise KeyboardInterrupt(signal.Signals(number).name)
        stop.reason = signal.Signals(number).name
        if number == HANG_UP:
            _let_go_of_terminal()

    # nohup has it ignored, and so it stays
    heard = [n for n in SIGNALS if n != HANG_UP or before[n] is not signal.SIG_IGN]
    for number in heard:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number in heard:
            handler = before[number]
            # None: a handler that was not set from Python; it can't be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _let_go_of_terminal() -> None:
    """Write to nowhere from here on: a terminal that is closed answers with an error."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
