"""Progress on standard error: a live line on a terminal, plain lines elsewhere.

    with showing() as on_event:
        nfopt.search(..., on_event=on_event)

A terminal shows one moving bar. A log file gets a line when something ends, and otherwise one every
half minute.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nfopt.cli.failures import in_options, one_line

if TYPE_CHECKING:
    from rich.progress import Progress

    from nfopt.events import Event, OnEvent, Started, Training

PAUSE = 30.0  # seconds between lines about a running training, without a terminal
BATCH_PAUSE = 5.0  # seconds between lines about finished populations
PHASES = {"search": "searching", "retrain": "retraining", "fit": "training"}


@contextmanager
def showing() -> Iterator[OnEvent]:
    """A callback that shows events, for as long as the block runs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # the events say the same
    if not sys.stderr.isatty():
        yield Lines(lambda text: print(text, file=sys.stderr, flush=True)).tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True)),
        TextColumn(
            "{task.fields[what]}",
            markup=False,
            style="dim",
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
    )
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True, expand=True) as bar:
        yield Bar(bar).tell


class State:
    """What earlier events tell of the running training: rung, incumbent, time left."""

    def __init__(self) -> None:
        self._seconds: float | None = None  # of the whole call
        self._wanted: int | None = None  # trials
        self._trials = self._before = 0
        self._searching = 0.0  # seconds of the call when the last population was told
        self._rung = self._best = ""

    def tell(self, event: Event) -> None:
        """Update the state by an event."""
        from nfopt import events

        match event:
            case events.Started():
                self._seconds, self._wanted = event.budget_seconds, event.budget_trials
                self._trials = self._before = event.trials
            case events.RungReached():
                self._rung = f"past {event.fraction:.0%}"
                if event.pruned:
                    self._rung += f" ({len(event.pruned)} pruned)"
            case events.BatchTold():
                self._trials, self._searching, self._rung = event.trials, event.seconds, ""
                if event.best_nll is not None:
                    self._best = f"best: trial {event.best_number} {-event.best_nll:.3f}"
            case events.Finalists() | events.Mixed():
                self._rung = self._best = ""

    def share(self, event: Training) -> float:
        """The share that is done: of the call's time, of its trials, or of this training."""
        if self._seconds is not None:
            return event.seconds / self._seconds
        if event.phase != "search" or not self._wanted:
            return event.share
        return (self._trials + event.share * event.members) / self._wanted

    def remaining(self, event: Training) -> float | None:
        """Estimate the seconds left, of the call or of its search; None if it can't be known."""
        if self._seconds is not None:
            return max(0.0, self._seconds - event.seconds)
        own = self._trials - self._before
        if event.phase != "search" or self._wanted is None or own <= 0:
            return None
        due = self._searching + (self._wanted - self._trials) * self._searching / own
        return max(0.0, due - event.seconds)

    def more(self, event: Training) -> str:
        """The state in words, to be appended to a line."""
        seconds = self.remaining(event)
        parts = [self._rung, self._best, "" if seconds is None else f"{clock_text(seconds)} left"]
        return "".join(f", {text}" for text in parts if text)


class Lines:
    """Events as plain lines.

    Args:
        write: Takes a line.
        clock: Seconds; for tests.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._state = State()
        self._training_at = clock()
        self._batch_at = -BATCH_PAUSE

    def tell(self, event: Event) -> None:
        """Write a line, unless the last one was shortly before."""
        from nfopt import events

        now = self._clock()
        self._state.tell(event)
        if isinstance(event, events.Training):
            if now - self._training_at < PAUSE:
                return
            self._training_at = now
        elif isinstance(event, events.BatchTold):
            if now - self._batch_at < BATCH_PAUSE:
                return
            self._batch_at = self._training_at = now
        if text := line_of(event):
            more = self._state.more(event) if isinstance(event, events.Training) else ""
            self._write(one_line(text + more))


class Bar:
    """Events as one moving bar, with permanent lines above it.

    Args:
        progress: Running.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("reading the data", total=None, told="", what="")
        self._state = State()

    def tell(self, event: Event) -> None:
        """Move the bar, or write a line above it."""
        from nfopt import events

        self._state.tell(event)
        if isinstance(event, events.Training):
            nll = "" if event.nll is None else f"log-likelihood {-event.nll:.3f}, "
            self._progress.update(
                self._task,
                description=f"{_phase(event)} {count(event.members, 'flow')}",
                total=1.0,
                completed=min(self._state.share(event), 1.0),
                told=nll + clock_text(event.seconds) + self._state.more(event),
                what=one_line(event.what),
            )
        elif text := line_of(event):
            self._progress.console.print(one_line(text), markup=False, soft_wrap=True)


def line_of(event: Event) -> str:
    """An event in one line; "" for events that a log does not need."""
    from nfopt import events

    match event:
        case events.Notice():
            return f"Note: {in_options(event.text)}"
        case events.Started():
            return _started(event)
        case events.Training():
            told = f", {_nll(event.nll)}" if event.nll is not None else ""
            return (
                f"{_phase(event)} {count(event.members, 'flow')} ({brief(event.what)}): "
                f"{event.share:.0%}{told}, {clock_text(event.seconds)}"
            )
        case events.BatchTold():
            best = ""
            if event.best_nll is not None:
                best = f"; best so far: trial {event.best_number}, {_nll(event.best_nll)}"
            failed = f", {event.failed} failed" if event.failed else ""
            ended = f"{event.complete} complete, {event.pruned} pruned{failed}"
            return (
                f"{count(event.trials, 'trial')} (last {len(event.numbers)}: {ended}){best}, "
                f"{clock_text(event.seconds)}"
            )
        case events.Finalists():
            who = ", ".join(
                "the recipe" if number is None else f"trial {number}" for number in event.numbers
            )
            limit = "" if event.seconds is None else f", up to {clock_text(event.seconds)}"
            return f"training in full, from fresh seeds: {who}{limit}"
        case events.Mixed():
            who = ", ".join(
                f"trial {number}" + (f" ({times} times)" if times > 1 else "")
                for number, times in zip(event.numbers, event.times, strict=True)
            )
            return f"chosen on validation rows of {count(event.trained, 'trained flow')}: {who}"
        case _:
            return ""


def _phase(event: Training) -> str:
    return PHASES.get(event.phase, event.phase)


def _started(event: Started) -> str:
    budget = []
    if event.budget_trials is not None:
        budget.append(count(event.budget_trials, "trial"))
    if event.budget_seconds is not None:
        minutes = event.budget_seconds / 60
        budget.append("1 minute" if minutes == 1 else f"{minutes:g} minutes")
    how = f"resumes with {count(event.trials, 'trial')}" if event.resumed else "is new"
    return (
        f"study {event.study!r} {how} in {event.storage}: {event.sampler}, "
        f"{event.population} at a time, until {' or '.join(budget) or 'stopped'}"
    )


def count(number: int, thing: str) -> str:
    """A number and its noun.

    >>> count(1, "trial"), count(1200, "trial")
    ('1 trial', '1,200 trials')
    """
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def brief(text: str, length: int = 48) -> str:
    """Shorten a text that would fill the line."""
    return text if len(text) <= length else text[: length - 3].rstrip(" ,(") + "..."


def clock_text(seconds: float) -> str:
    """A time in words.

    >>> clock_text(45), clock_text(187), clock_text(3753)
    ('45 s', '3:07', '1:02:33')
    """
    seconds = max(seconds, 0.0)
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _nll(nll: float | None) -> str:
    """An NLL as the validation log-likelihood that users read."""
    return "" if nll is None else f"validation log-likelihood {-nll:.3f}"
