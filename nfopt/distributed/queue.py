"""The queue of a study: which trials wait, and which may be taken within the budget.

Optuna's storages provide an order (a trial's number) and atomic changes of state (from WAITING to
RUNNING, from RUNNING to an end). Exactness rests on these two:

- An interrupted trial is FAIL with `nfopt:again`, and is missing until another trial refers to it
  by `nfopt:retry_of`. Any worker that sees a missing trial enqueues its parameters again; if two
  did, the first of the two trials counts. The other is failed by who enqueued it, as a look after
  that shows both; if that worker was killed before it, by whoever next takes from the queue or
  leaves the study. So a crash at any point neither loses nor duplicates a trial.
- A trial may train if fewer than N trials of a lower number are finished, running, waiting or
  missing. Of trials asked by several workers at the same time, those of lower numbers train.
- The waiting trials of an interrupted population are taken together: the worker that takes the
  first takes all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from nfopt import attributes as names
from nfopt.distributed.lease import Lease, Observer, gone, lead_of, ours
from nfopt.optuna_internals import (
    create_from,
    fixed_parameters,
    set_attribute,
    set_state,
    start_created,
    take_waiting,
)
from nfopt.stored import trials_of

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
MET = "the budget was met by others"
KEPT = (names.FIRST, names.REPEATS, names.SEED)  # what a retry takes from the interrupted trial


def counted(trials: Iterable[FrozenTrial]) -> int:
    """The number of COMPLETE + PRUNED trials."""
    return sum(trial.state in COUNTED for trial in trials)


def missing(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The interrupted trials that no other trial repeats yet, by number."""
    repeated = {trial.user_attrs.get(names.RETRY_OF) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state is TrialState.FAIL
        and trial.user_attrs.get(names.AGAIN)
        and trial.number not in repeated
        and parameters_of(trial)
    ]


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters that a trial has, or was enqueued with."""
    return fixed_parameters(trial) | trial.params


def in_play(trials: Sequence[FrozenTrial]) -> list[int]:
    """Numbers of the trials that are results or may become results, ascending."""
    alive = (*COUNTED, TrialState.WAITING)
    lost = {trial.number for trial in missing(trials)}
    return [
        trial.number
        for trial in trials
        if trial.state in alive
        or trial.number in lost
        or (trial.state is TrialState.RUNNING and ours(trial))
    ]


def allowed(numbers: Sequence[int], number: int, budget: int | None) -> bool:
    """Whether a trial may train within a budget of COMPLETE + PRUNED trials.

    >>> allowed([0, 1, 4], number=5, budget=3), allowed([0, 1, 4], number=4, budget=3)
    (False, True)

    Args:
        numbers: From `in_play`.
        number: Of the trial.
        budget: None: no limit.
    """
    return budget is None or bisect_left(numbers, number) < budget


@dataclass(frozen=True)
class Waiting:
    """Waiting trials that are to be taken together.

    Attributes:
        trials: By number.
        origin: First trial of the interrupted population that they repeat; None if they are new.
    """

    trials: tuple[FrozenTrial, ...]
    origin: FrozenTrial | None = None


def origin_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The first trial of the interrupted population that a trial repeats a part of, or None."""
    old = trial.user_attrs.get(names.RETRY_OF)
    if not isinstance(old, int) or not 0 <= old < len(trials):
        return None
    lead = lead_of(trials[old])
    return trials[old if lead is None or lead >= len(trials) else lead]


class WorkQueue:
    """A worker's access to the trials of a study: it takes, reserves and releases them.

    Args:
        study: The study.
        lease: Of this worker, stored with its trials. None: one that is never renewed.
        budget: COMPLETE + PRUNED trials of the study at most, or None. It may change.
    """

    def __init__(
        self, study: optuna.Study, lease: Lease | None = None, budget: int | None = None
    ) -> None:
        self.study, self.budget = study, budget
        self.lease = Lease(study) if lease is None else lease

    # --------------------------------------------------------------------------------------- taking

    def next(self, count: int, trials: Sequence[FrozenTrial] | None = None) -> Waiting | None:
        """The waiting trials to take next: those of an interrupted population, or new ones.

        Duplicates in the queue are failed.

        Args:
            count: New trials at most; an interrupted population is always taken as a whole.
            trials: All of the study, if they were just read.
        """
        if trials is None:
            if not trials_of(self.study, TrialState.WAITING):  # cheap where none wait
                return None
            trials = trials_of(self.study)
        waiting = self._without_duplicates(trials)
        if not waiting:
            return None
        numbers = [] if self.budget is None else in_play(trials)
        waiting = [trial for trial in waiting if allowed(numbers, trial.number, self.budget)]
        busy: set[int | None] = set()
        for trial in trials:
            if trial.state is TrialState.RUNNING:  # taken by another worker, or partly interrupted
                origin = origin_of(trial, trials)
                busy |= {lead_of(trial), None if origin is None else origin.number}
        populations: dict[int | None, list[FrozenTrial]] = {}
        for trial in waiting:
            origin = origin_of(trial, trials)
            populations.setdefault(None if origin is None else origin.number, []).append(trial)
        for key, members in populations.items():
            if key is None:
                return Waiting(tuple(members[:count]))
            if key not in busy:
                return Waiting(tuple(members), trials[key])
        return None

    def take(self, trial: FrozenTrial) -> optuna.Trial | None:
        """Take a waiting trial; None if another worker has taken it."""
        taken = take_waiting(self.study, trial)
        if taken is None:
            return None
        try:
            self.lease.hold(taken)
        except BaseException:
            self.release([taken], "interrupted while it was taken")
            raise
        return taken

    def _without_duplicates(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Fail waiting trials that two workers enqueued at the same time, and return the others."""
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        retries: dict[object, int] = {}
        firsts: dict[object, int] = {}
        for trial in trials:
            retries.setdefault(trial.user_attrs.get(names.RETRY_OF), trial.number)
            firsts.setdefault(trial.user_attrs.get(names.FIRST), trial.number)
        kept = []
        for trial in waiting:
            old = trial.user_attrs.get(names.RETRY_OF)
            key = trial.user_attrs.get(names.FIRST)
            first = firsts[key] if old is None else retries[old]
            if (old is None and key is None) or first == trial.number:
                kept.append(trial)
            else:
                self.interrupt(trial, f"twice in the queue: as trial {first}", again=False)
        return kept

    # ------------------------------------------------------------------------------------ reserving

    def reserve(self, count: int) -> list[FrozenTrial]:
        """Create new running trials, as many as the budget allows.

        The study is not read while their numbers are below the budget.

        Args:
            count: Trials wanted.

        Returns:
            The trials as created, for `start`.
        """
        alone = self.lease.lead is None
        made = [self._made() for _ in range(count)]
        # a trial of a number below the budget is always allowed
        if self.budget is None or all(trial.number < self.budget for trial in made):
            return made
        kept, numbers = [], in_play(trials_of(self.study))
        for trial in made:
            if allowed(numbers, trial.number, self.budget):
                kept.append(trial)
            else:
                self.interrupt(trial, MET, again=False)
        if alone and not kept:
            self.lease.drop()
        return kept

    def _made(self) -> FrozenTrial:
        """Create a running trial from a template, and return the template.

        It holds only the lease, since Optuna locks the whole study while it writes a template.
        """
        trial = create_trial(state=TrialState.RUNNING, user_attrs=self.lease.attributes())
        create_from(self.study, trial)
        if self.lease.lead is None:
            self.lease.led_by(trial)
        return trial

    def start(self, reserved: FrozenTrial) -> optuna.Trial:
        """The trial of a reservation, to be asked for its parameters."""
        return start_created(self.study, reserved)

    # ------------------------------------------------------------------------------------ releasing

    def interrupt(
        self, trial: optuna.Trial | FrozenTrial, reason: str, *, again: bool = True
    ) -> bool:
        """Fail a running trial, so that another one repeats it; False if it had ended already.

        Args:
            trial: Of the study, maybe no longer running.
            reason: Stored with the trial.
            again: Whether another trial must repeat it.
        """
        try:
            set_attribute(self.study, trial, names.REASON, reason)
            if again:
                set_attribute(self.study, trial, names.AGAIN, True)
            return set_state(self.study, trial, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False

    def requeue(self, numbers: Collection[int] | None = None) -> int:
        """Enqueue the parameters of interrupted trials again; returns their number.

        Args:
            numbers: Of these trials only; None: of all missing ones.
        """
        lost = missing(trials_of(self.study))
        if numbers is not None:
            lost = [trial for trial in lost if trial.number in numbers]
        for trial in lost:
            kept = {name: trial.user_attrs[name] for name in KEPT if name in trial.user_attrs}
            self.study.enqueue_trial(parameters_of(trial), {names.RETRY_OF: trial.number, **kept})
        if lost:
            # another worker may have read the same: whoever is second sees it now, and the budget
            # may be met by the first before anybody looks into the queue again
            self._without_duplicates(trials_of(self.study))
        return len(lost)

    def tidy(self, trials: Sequence[FrozenTrial]) -> None:
        """Fail what will never train: duplicates in the queue, and reservations over the budget.

        To be called by a worker that leaves: others that were killed can't do it themselves.

        Args:
            trials: All of the study.
        """
        self._without_duplicates(trials)
        numbers = [] if self.budget is None else in_play(trials)
        for trial in trials:
            leased = trial.state is TrialState.RUNNING and lead_of(trial) is not None
            reserved = leased and not parameters_of(trial)
            if reserved and not allowed(numbers, trial.number, self.budget):
                self.interrupt(trial, MET, again=False)

    def release(self, trials: Iterable[optuna.Trial | FrozenTrial], reason: str) -> None:
        """Interrupt trials, and release their parameters to the queue."""
        trials = list(trials)
        for trial in trials:
            self.interrupt(trial, reason)
        self.requeue([trial.number for trial in trials])

    def reap(self, observer: Observer, trials: Sequence[FrozenTrial] | None = None) -> list[int]:
        """Release the running trials whose worker is gone.

        Args:
            observer: Of their leases; not needed for processes of this host.
            trials: All of the study, if they were just read.

        Returns:
            Numbers of the trials that this call interrupted.
        """
        trials = trials_of(self.study) if trials is None else trials
        running = {trial.number: trial for trial in trials if trial.state is TrialState.RUNNING}
        observer.note(running.values())
        dead = [
            number
            for number, reason in gone(running.values(), observer).items()
            if self.interrupt(running[number], reason)
        ]
        # the worker that fails a trial also enqueues it; what it did not is overdue after a while
        late = observer.overdue(missing(trials))
        if dead or late:
            self.requeue({*dead, *late})
        return dead
