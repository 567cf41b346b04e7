"""Retries with backoff for a storage that does not answer: reported once, ended by Ctrl-C."""

from __future__ import annotations

import random
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage

from nfopt.errors import StudyWarning
from nfopt.storage.errors import AWAY, Trouble, trouble
from nfopt.storage.url import mask_text, mask_url

PATIENCE = 300.0  # seconds: a server's restart, an update of its machine
PAUSES = (0.05, 5.0)  # seconds before the second attempt, and between attempts at most
POLL = 0.2  # seconds between two checks of `should_stop`
QUIET = 1.0  # seconds of waiting that are not reported (a lock)

T = TypeVar("T")


class StorageAway(StorageInternalError):
    """A storage did not come back within the patience."""


class Patience:
    """Calls a storage until it answers.

    Args:
        storage: For its name and its password.
        seconds: That a call waits at most.
        on_wait: Called once when the storage is away and once when it is back; None: a
            StudyWarning.
        should_stop: Polled while waiting. Once it is true, the wait ends with KeyboardInterrupt
            (with StorageAway in threads other than the main one), and no call waits any more. Its
            attribute `reason`, if it has one, is the KeyboardInterrupt's argument.
        clock: Seconds.
    """

    def __init__(
        self,
        storage: BaseStorage,
        seconds: float = PATIENCE,
        *,
        on_wait: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.storage = storage
        self.seconds = seconds
        self.on_wait = on_wait
        self.should_stop = should_stop
        self._clock = clock
        self._lock = threading.Lock()
        self._random = random.Random()  # spreads the workers' attempts
        self._reported_at: float | None = None  # when it was reported that the storage is away

    def __getstate__(self) -> dict[str, Any]:
        """The state that another process can use: neither lock nor callbacks."""
        return self.__dict__ | {"_lock": None, "on_wait": None, "should_stop": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore it with a lock of its own."""
        self.__dict__ |= state | {"_lock": threading.Lock()}

    def call(self, do: Callable[[], T], again: Callable[[], T] | None = None) -> T:
        """Call until the storage answers.

        Args:
            do: The call.
            again: The call at a retry, when an earlier attempt may have been carried out.

        Raises:
            StorageAway: If the patience is over.
            StorageInternalError: If the storage can't do it; one line, the password masked.
            KeyboardInterrupt: If `should_stop` is true.
        """
        began, attempt = 0.0, 0
        while True:
            try:
                answer = do() if attempt == 0 or again is None else again()
            except Exception as error:
                failure = trouble(error)
                if failure is None:
                    raise
                if not failure.passes:
                    raise StorageInternalError(self._masked(failure.reason)) from None
                if attempt == 0:
                    began = self._clock()
                self._pause(failure, began, attempt)
                attempt += 1
            else:
                if attempt:
                    self._report_back()
                return answer

    def _pause(self, failure: Trouble, began: float, attempt: int) -> None:
        reason = self._masked(failure.reason)
        waited = self._clock() - began
        if waited >= self.seconds:
            raise StorageAway(f"{AWAY} since {waited:.0f} seconds: {reason}") from None
        if waited >= QUIET:
            self._report_away(reason)
        first, longest = PAUSES
        pause = min(longest, first * 2.0 ** min(attempt, 20)) * self._random.uniform(0.5, 1.0)
        until = self._clock() + min(pause, self.seconds - waited)
        while True:
            if self.should_stop is not None and self.should_stop():
                if threading.current_thread() is threading.main_thread():
                    raise KeyboardInterrupt(getattr(self.should_stop, "reason", None) or "stopped")
                raise StorageAway(f"{AWAY}: {reason}") from None
            remaining = until - self._clock()
            if remaining <= 0:
                return
            time.sleep(min(remaining, POLL))

    def _report_away(self, reason: str) -> None:
        with self._lock:
            if self._reported_at is not None:
                return
            self._reported_at = self._clock()
        minutes = f"{self.seconds / 60:.3g} minutes"
        self._report(f"storage {mask_url(self.storage)} {AWAY}, waiting up to {minutes} ({reason})")

    def _report_back(self) -> None:
        with self._lock:
            since, self._reported_at = self._reported_at, None
        if since is not None:
            waited = self._clock() - since
            self._report(f"storage {mask_url(self.storage)} is back after {waited:.0f} seconds")

    def _report(self, text: str) -> None:
        if self.on_wait is not None:
            self.on_wait(text)
        else:
            warnings.warn(text, StudyWarning, stacklevel=2)

    def _masked(self, reason: str) -> str:
        return " ".join(mask_text(reason, self.storage).split())
