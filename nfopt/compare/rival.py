"""What is compared: a rival fits a table within some seconds; then it is scored and sampled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nfopt.data import Part, Prepared

Array = NDArray[np.float64]
Curve = list[tuple[float, float]]  # seconds since the fit began, validation NLL in nats a row


class Clock:
    """Seconds since it was made, against a limit.

    Args:
        seconds: The limit.
        now: What tells the time; `time.process_time` leaves other work on the machine out.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self.now = seconds, now
        self._began = now()

    def gone(self) -> float:
        """Seconds since the start."""
        return self.now() - self._began

    def left(self) -> float:
        """Seconds until the limit; negative behind it."""
        return self.seconds - self.gone()

    def share(self) -> float:
        """Share of the limit that is gone, at most 1."""
        return min(1.0, self.gone() / self.seconds)

    def part(self, seconds: float) -> Clock:
        """Begin another clock with a limit of its own."""
        return Clock(seconds, self.now)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A density that a rival has fitted, in whatever coordinates it works.

    Attributes:
        log_prob: Log-density of a part's rows on the data's own scale, shape (n,), in nats; -inf
            where there is none.
        sample: Draws so many rows; None where it can't be sampled.
        parameters: Free numbers, or None where that is not known.
        what: What was chosen, in a few words.
        curve: Seconds and validation NLL while it was fitted, where that is known.
    """

    log_prob: Callable[[Part], Array]
    sample: Callable[[int], object] | None = None
    parameters: int | None = None
    what: str = ""
    curve: Curve = field(default_factory=list)


class Fit(Protocol):
    """How a rival is fitted; it ends by itself once its clock is over."""

    def __call__(self, data: Prepared, clock: Clock, seed: int) -> Fitted:
        """Fit the training rows; choose on validation rows; leave the test rows alone."""


@dataclass(frozen=True)
class Rival:
    """A method by its name.

    Attributes:
        name: As the user writes it.
        about: What it is, in one line.
        fit: How it is fitted.
        needs: Modules that it imports beyond what nfopt requires.
        ours: It is nfopt.
    """

    name: str
    about: str
    fit: Fit
    needs: tuple[str, ...] = ()
    ours: bool = False

    def missing(self) -> list[str]:
        """Name the packages that are not installed."""
        packages = dict.fromkeys(module.partition(".")[0] for module in self.needs)
        return [package for package in packages if find_spec(package) is None]

    def load(self) -> None:
        """Import what it needs, so that no import counts as its time."""
        for module in self.needs:
            import_module(module)
