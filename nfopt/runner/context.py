"""The context that all parts of a call share: its events, what stops it, its clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from nfopt.events import Closing, Notice, OnEvent, Training, ignore
from nfopt.signals import Stop
from nfopt.training import Progress


@dataclass(frozen=True)
class Run:
    """One call of `search`, `fit`, `retrain`, `autonf` or a worker.

    Attributes:
        stop: Polled while it works.
        on_event: Receives all events.
        began: Clock time at which the call began.
        clock: Seconds.
        command: What made it, in a shell or in Python; "" where that is not known.
        closing: What there is time for after training.
    """

    stop: Stop
    on_event: OnEvent = ignore
    began: float = 0.0
    clock: Callable[[], float] = time.monotonic
    command: str = ""
    closing: Closing = field(default_factory=Closing)

    def within(self, seconds: float | None) -> Run:
        """Give the same call with so many seconds from its beginning; None: all the time."""
        ends = None if seconds is None else self.at(seconds)
        return replace(self, closing=Closing(ends, self.notice, self.clock))

    def notice(self, text: str) -> None:
        """Send a notice of one line."""
        self.on_event(Notice(text))

    def training(self, phase: str, what: str, progress: Progress) -> None:
        """Tell how far a training is.

        Args:
            phase: "search", "retrain" or "fit".
            what: The structure in words.
            progress: What the training tells.
        """
        seen = [nll for nll in progress.nlls if nll is not None]
        self.on_event(
            Training(
                phase=phase,
                what=what,
                members=len(progress.members),
                step=progress.step,
                share=progress.share,
                nll=min(seen, default=None),
                seconds=self.elapsed(),
            )
        )

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self.clock() - self.began

    def at(self, seconds: float) -> float:
        """Clock time so many seconds after the call began."""
        return self.began + seconds

    def left(self, deadline: float | None) -> float | None:
        """Seconds until a clock time; negative once it is over, None if there is none."""
        return None if deadline is None else deadline - self.clock()

    def over(self, deadline: float | None, grace: float = 0.0) -> bool:
        """Whether a clock time was more than `grace` seconds ago; False if there is none."""
        return deadline is not None and self.clock() > deadline + grace
