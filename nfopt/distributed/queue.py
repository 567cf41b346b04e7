"""What waits in a study, who may take it, and whether the budget allows it.

Optuna's storages give an order (a trial's number) and one step that only one can take (from WAITING
to RUNNING, from RUNNING to an end). All that has to be exact is built from these two:

- An interrupted trial is FAIL with `nfopt:again`, and is missing until a trial says
  `nfopt:retry_of` it. Whoever sees one that is missing puts its parameters back into the queue;
  where two did, the first of the two trials counts and the other is struck out when it is taken.
  So a crash at any point loses and doubles nothing.
- A trial may train if fewer than N trials with a lower number are finished, running, waiting or
  missing. Of trials asked at one time by several workers, the lower numbers go on.
- Of the trials that one population left, whoever takes the first takes all.
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
KEPT = (names.FIRST, names.SEED)  # what a retry takes from the interrupted trial


def counted(trials: Iterable[FrozenTrial]) -> int:
    """Count COMPLETE + PRUNED trials."""
    return sum(trial.state in COUNTED for trial in trials)


def missing(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """List the interrupted trials that have not come back, by number."""
    paid = {trial.user_attrs.get(names.RETRY_OF) for trial in trials}
    return [
        trial
        for trial in trials
        if trial.state is TrialState.FAIL
        and trial.user_attrs.get(names.AGAIN)
        and trial.number not in paid
        and parameters_of(trial)
    ]


def parameters_of(trial: FrozenTrial) -> dict[str, Any]:
    """Read what was suggested, or is to be suggested, to a trial."""
    return fixed_parameters(trial) | trial.params


def in_play(trials: Sequence[FrozenTrial]) -> list[int]:
    """List the numbers of the trials that are results, or may become some; they rise."""
    alive = (*COUNTED, TrialState.WAITING)
    lost = {trial.number for trial in missing(trials)}
    return [
        trial.number
        for trial in trials
        if trial.state in alive
        or trial.number in lost
        or (trial.state is TrialState.RUNNING and ours(trial))
    ]


def allowed(places: Sequence[int], number: int, budget: int | None) -> bool:
    """Say whether a trial may train under a budget of COMPLETE + PRUNED trials.

    Args:
        places: From `in_play`.
        number: Of the trial.
        budget: None: there is none.
    """
    return budget is None or bisect_left(places, number) < budget


@dataclass(frozen=True)
class Waiting:
    """Trials that are to be taken together.

    Attributes:
        trials: In the order of their numbers.
        origin: First trial of the population that they were interrupted in; None if they are new.
    """

    trials: tuple[FrozenTrial, ...]
    origin: FrozenTrial | None = None


def origin_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Find the first trial of the population in which what a trial repeats was interrupted."""
    old = trial.user_attrs.get(names.RETRY_OF)
    if not isinstance(old, int) or not 0 <= old < len(trials):
        return None
    lead = lead_of(trials[old])
    return trials[old if lead is None or lead >= len(trials) else lead]


class WorkQueue:
    """One worker's way to the trials of a study: it takes, reserves and releases them.

    Args:
        study: The study.
        lease: Of this worker; whoever sees a trial, sees whose it is. None: one that stands still.
        budget: COMPLETE + PRUNED trials of the study at most, or None. It may change.
    """

    def __init__(
        self, study: optuna.Study, lease: Lease | None = None, budget: int | None = None
    ) -> None:
        self.study, self.budget = study, budget
        self.lease = Lease(study) if lease is None else lease

    # --------------------------------------------------------------------------------------- taking

    def next(self, count: int, trials: Sequence[FrozenTrial] | None = None) -> Waiting | None:
        """Choose what to take: what an interrupted population left, or new trials.

        What is twice in the queue is struck out.

        Args:
            count: New trials at most; an interrupted population is never cut.
            trials: All of the study, if they were just read.
        """
        if trials is None:
            if not trials_of(self.study, TrialState.WAITING):  # cheap where nothing waits
                return None
            trials = trials_of(self.study)
        waiting = [trial for trial in trials if trial.state is TrialState.WAITING]
        if not waiting:
            return None
        waiting = self._strike_out(trials, waiting)
        places = [] if self.budget is None else in_play(trials)
        waiting = [trial for trial in waiting if allowed(places, trial.number, self.budget)]
        busy: set[int | None] = set()
        for trial in trials:
            if trial.state is TrialState.RUNNING:  # taken by another, or not yet all interrupted
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
        """Take a waiting trial; None if someone else has."""
        taken = take_waiting(self.study, trial)
        if taken is None:
            return None
        try:
            self.lease.hold(taken)
        except BaseException:
            self.release([taken], "interrupted while it was taken")
            raise
        return taken

    def _strike_out(
        self, trials: Sequence[FrozenTrial], waiting: Sequence[FrozenTrial]
    ) -> list[FrozenTrial]:
        """Fail what stands in the queue a second time, because two put it there at one time."""
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
        """Make trials that are not in the queue, as many as the budget has a place for.

        Args:
            count: Trials.

        Returns:
            What they are made of, for `start`. Nothing was read of the study while their numbers
            are below the budget.
        """
        alone = self.lease.lead is None
        made = [self._made() for _ in range(count)]
        # a trial of a low number has a place whatever the others are
        if self.budget is None or all(trial.number < self.budget for trial in made):
            return made
        kept, places = [], in_play(trials_of(self.study))
        for trial in made:
            if allowed(places, trial.number, self.budget):
                kept.append(trial)
            else:
                self.interrupt(trial, "the budget was met by others", again=False)
        if alone and not kept:
            self.lease.drop()
        return kept

    def _made(self) -> FrozenTrial:
        """Make a running trial; its template is what the storage has of it now.

        The template holds the lease alone: Optuna writes a template while it locks the whole study.
        """
        trial = create_trial(state=TrialState.RUNNING, user_attrs=self.lease.attributes())
        create_from(self.study, trial)
        if self.lease.lead is None:
            self.lease.led_by(trial)
        return trial

    def start(self, reserved: FrozenTrial) -> optuna.Trial:
        """Give a reserved trial to be asked for its parameters."""
        return start_created(self.study, reserved)

    # ------------------------------------------------------------------------------------ releasing

    def interrupt(
        self, trial: optuna.Trial | FrozenTrial, reason: str, *, again: bool = True
    ) -> bool:
        """Make a running trial FAIL, its parameters to come back; False if someone else was first.

        Args:
            trial: Of the study, maybe no longer running.
            reason: Kept with the trial.
            again: Whether its parameters come back.
        """
        try:
            set_attribute(self.study, trial, names.REASON, reason)
            if again:
                set_attribute(self.study, trial, names.AGAIN, True)
            return set_state(self.study, trial, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False

    def requeue(self, numbers: Collection[int] | None = None) -> int:
        """Put the parameters of interrupted trials back into the queue; return how many.

        Args:
            numbers: Only of these trials; None: of all that are missing.
        """
        lost = missing(trials_of(self.study))
        if numbers is not None:
            lost = [trial for trial in lost if trial.number in numbers]
        for trial in lost:
            kept = {name: trial.user_attrs[name] for name in KEPT if name in trial.user_attrs}
            self.study.enqueue_trial(parameters_of(trial), {names.RETRY_OF: trial.number, **kept})
        return len(lost)

    def release(self, trials: Iterable[optuna.Trial | FrozenTrial], reason: str) -> None:
        """Interrupt trials and put their parameters back."""
        trials = list(trials)
        for trial in trials:
            self.interrupt(trial, reason)
        self.requeue([trial.number for trial in trials])

    def reap(self, observer: Observer, trials: Sequence[FrozenTrial] | None = None) -> list[int]:
        """Release the running trials whose worker is gone.

        Args:
            observer: That has looked at them before; processes of this host are judged without.
            trials: All of the study, if they were just read.

        Returns:
            Numbers of the trials that were interrupted by this call.
        """
        trials = trials_of(self.study) if trials is None else trials
        running = {trial.number: trial for trial in trials if trial.state is TrialState.RUNNING}
        observer.note(running.values())
        dead = [
            number
            for number, reason in gone(running.values(), observer).items()
            if self.interrupt(running[number], reason)
        ]
        # whoever failed a trial queues it too; what they left undone is seen at the second look
        late = observer.overdue(missing(trials))
        if dead or late:
            self.requeue({*dead, *late})
        return dead
