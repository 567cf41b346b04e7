"""Leases: how a worker's death is detected on any storage.

A worker increments a counter four times in the time of a lease, on the first trial of the
population that it trains; the other trials refer to that one, so a lease costs one write a
population. Other workers measure by their own clocks how long a counter has not changed: clocks
need not agree.

    nfopt:lease = {"beat": 7}      of the first trial
    nfopt:lease = {"lead": 12}     of the others: trial 12 has the counter

A worker that was suspended for too long finds its trials finished by another one, and drops them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.distributed.process import Worker
from nfopt.optuna_internals import set_attribute, trial_id
from nfopt.storage.errors import trouble
from nfopt.stored import attributes_of, trials_of

SECONDS = 60.0  # without a change of the counter, after which the lease has expired
BEATS = 4  # increments in that time
LEAST_SECONDS = 1.0
OVERDUE = 2.0  # seconds in which the worker that failed a trial must queue its repetition


def check_lease(seconds: float) -> float:
    """Raise ValueError unless the seconds of a lease are finite and at least 1."""
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not number or not LEAST_SECONDS <= seconds < float("inf"):
        raise ValueError(
            f"`lease` must be at least {LEAST_SECONDS:g} second and finite, got {seconds!r}."
        )
    return float(seconds)


def lease_seconds(study: optuna.Study) -> float:
    """Seconds of a study's leases."""
    return float(attributes_of(study).get(names.LEASE_SECONDS, SECONDS))


def ours(trial: FrozenTrial) -> bool:
    """Whether a running trial is nfopt's: it has a lease, or neither a worker nor parameters."""
    return lead_of(trial) is not None or not (names.WORKER in trial.user_attrs or trial.params)


def lead_of(trial: FrozenTrial) -> int | None:
    """Number of the trial that has the counter of a trial's lease; None without a lease."""
    lease = trial.user_attrs.get(names.LEASE)
    if not isinstance(lease, dict):
        return None
    lead = lease.get("lead", trial.number)
    return lead if isinstance(lead, int) else None


# ---------------------------------------------------------------------------- holding a lease


class Lease:
    """The lease of the population that this process trains, with the thread that renews it.

    Args:
        study: The study.
        seconds: Of the lease.
        observer: Updated with the running trials at each beat, or None.

    Attributes:
        lost: Another worker finished trials of the population: its results must not be told.
    """

    def __init__(
        self, study: optuna.Study, seconds: float = SECONDS, observer: Observer | None = None
    ) -> None:
        self.lost = False
        self.seconds = seconds
        self._study, self._observer = study, observer
        self._lead: tuple[int, int] | None = None  # its id in the storage, its number
        self._beat = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nfopt-lease", daemon=True)

    def attributes(self) -> dict[str, Any]:
        """The attributes that the next trial of the population is created with."""
        lead = self._lead
        return {
            names.LEASE: {"beat": 0} if lead is None else {"lead": lead[1]},
            names.WORKER: msgspec.to_builtins(Worker.here()),
        }

    def led_by(self, trial: optuna.Trial | FrozenTrial) -> None:
        """Make a trial the one with the counter."""
        with self._lock:
            self._lead, self._beat, self.lost = (trial_id(trial), trial.number), 0, False

    def hold(self, trial: optuna.Trial) -> None:
        """Put a trial from the queue under the lease; a population's first trial leads it."""
        attributes = self.attributes()
        if self._lead is None:
            self.led_by(trial)
        try:
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
        except UpdateFinishedTrialError:
            self.lost = True

    def move(self, trials: Sequence[optuna.Trial]) -> None:
        """Make the first of these the lead of the others, before the present lead is told."""
        self.drop()
        for trial in trials:
            self.hold(trial)

    def drop(self) -> None:
        """Release the lease; to be called before the first trial is told."""
        with self._lock:
            self._lead, self.lost = None, False

    @property
    def lead(self) -> int | None:
        """Number of the trial with the counter."""
        return None if self._lead is None else self._lead[1]

    @property
    def lead_key(self) -> int | None:
        """Id in the storage of the trial with the counter."""
        return None if self._lead is None else self._lead[0]

    @contextmanager
    def beating(self) -> Iterator[Lease]:
        """Advance the counter for as long as the block runs."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join(timeout=1.0)  # it may be waiting for the storage

    def _run(self) -> None:
        while not self._over.wait(self.seconds / BEATS):
            try:
                self.beat()
                if self._observer is not None:
                    self._observer.look(self._study)
            except KeyError:  # the study was deleted, which the main thread reports
                return
            except Exception as error:
                if trouble(error) is None:
                    raise
                # the storage is away, which the main thread reports

    def beat(self) -> None:
        """Advance the counter once."""
        with self._lock:
            lead = self._lead
            if lead is None or self.lost:
                return
            self._beat += 1
            try:
                set_attribute(self._study, lead[0], names.LEASE, {"beat": self._beat})
            except UpdateFinishedTrialError:
                self.lost = True


# ------------------------------------------------------------------------- observing leases


class Observer:
    """Measures how long the lease of each running trial has not changed. Thread-safe.

    At most half of a lease's time counts between two observations, so that an observer that was
    suspended, or waited for the storage, does not take the others for dead right afterwards.

    Args:
        seconds: After which a lease has expired.
        clock: Seconds, monotonic.
    """

    def __init__(
        self, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds, self._clock = seconds, clock
        self._seen: dict[int, tuple[object, float]] = {}  # counter, seconds without a change
        self._owed: dict[int, float] = {}  # interrupted trials, when they were first seen
        self._observed_at = clock()
        self._lock = threading.Lock()

    def look(self, study: optuna.Study) -> None:
        """Read the running trials and record their counters."""
        self.note(trials_of(study, TrialState.RUNNING))

    def note(self, running: Iterable[FrozenTrial]) -> None:
        """Record the counters of all running trials, as given."""
        trials = {trial.number: trial for trial in running}
        with self._lock:
            now, before = self._clock(), self._seen
            gap = min(now - self._observed_at, self.seconds / 2)
            self._observed_at, self._seen = now, {}
            for number, trial in trials.items():
                counter = _counter(trial, trials)
                old = before.get(number)
                same = old is not None and old[0] == counter
                self._seen[number] = (counter, old[1] + gap if old is not None and same else 0.0)

    def expired(self, trial: FrozenTrial) -> bool:
        """Whether a running trial's lease has expired; never of a trial without a lease."""
        return ours(trial) and self.still(trial) >= self.seconds

    def overdue(self, owed: Iterable[FrozenTrial]) -> list[int]:
        """Interrupted trials whose repetition no worker has queued for some seconds."""
        with self._lock:
            now = self._clock()
            self._owed = {trial.number: self._owed.get(trial.number, now) for trial in owed}
            return [number for number, since in self._owed.items() if now - since >= OVERDUE]

    def still(self, trial: FrozenTrial) -> float:
        """Seconds for which a trial's counter was observed not to change."""
        with self._lock:
            return self._seen.get(trial.number, (None, 0.0))[1]


def _counter(trial: FrozenTrial, running: dict[int, FrozenTrial]) -> object:
    lead = lead_of(trial)
    leading = None if lead is None else running.get(lead)
    beat = None if leading is None else (leading.user_attrs.get(names.LEASE) or {}).get("beat")
    # other writes are signs of life too
    return lead, beat, len(trial.user_attrs), len(trial.params), len(trial.intermediate_values)


@dataclass(frozen=True)
class Running:
    """A worker with its running trials, for a table.

    Attributes:
        worker: Host and process; None if not stored.
        lead: Number of the trial with the counter.
        numbers: Its running trials.
        beat: The counter.
        still: Seconds for which the counter was observed not to change; 0 without an observer.
        alive: False: its process is gone, or its lease has expired; None: can't be known.
    """

    worker: Worker | None
    lead: int | None
    numbers: tuple[int, ...]
    beat: int | None
    still: float
    alive: bool | None


def workers(study: optuna.Study, observer: Observer | None = None) -> list[Running]:
    """The workers of a study's running trials.

    Args:
        study: The study.
        observer: Of its leases; None: only for processes of this host is it known if they live.
    """
    running = trials_of(study, TrialState.RUNNING)
    if observer is not None:
        observer.note(running)
    by_lead: dict[tuple[bool, int], list[FrozenTrial]] = {}
    for trial in running:
        lead = lead_of(trial)
        by_lead.setdefault((lead is not None, trial.number if lead is None else lead), []).append(
            trial
        )
    rows = []
    for (leased, lead), trials in sorted(by_lead.items()):
        first = next((trial for trial in trials if trial.number == lead), trials[0])
        worker = Worker.of(first)
        alive = None if worker is None else worker.alive()
        if observer is not None and alive is not False:
            alive = not observer.expired(first) if leased else alive
        lease: Any = first.user_attrs.get(names.LEASE) or {}
        rows.append(
            Running(
                worker=worker,
                lead=lead if leased else None,
                numbers=tuple(trial.number for trial in trials),
                beat=lease.get("beat"),
                still=0.0 if observer is None else observer.still(first),
                alive=alive,
            )
        )
    return rows


def gone(running: Iterable[FrozenTrial], observer: Observer) -> dict[int, str]:
    """The trials whose worker is gone.

    Args:
        running: All running trials.
        observer: Of their leases.

    Returns:
        Reasons by trial number; a population's lead before its other trials, so that a worker that
        returns late loses the whole population.
    """
    reasons, lead = {}, {}
    for trial in running:
        worker = Worker.of(trial)
        lead[trial.number] = lead_of(trial) == trial.number
        if worker is not None and worker.alive() is False:
            reasons[trial.number] = "its process was killed"
        elif observer.expired(trial):
            reasons[trial.number] = f"its lease ran out: unheard of for {observer.seconds:g} s"
    return {number: reasons[number] for number in sorted(reasons, key=lambda n: (not lead[n], n))}
