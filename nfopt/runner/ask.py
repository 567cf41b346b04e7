"""Ask a population: waiting trials first, then new trials of one shape.

candidates = Asker(WorkQueue(study), space, seed).population(8)   # one free trial, 7 of its shape
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from nfopt.distributed.queue import Waiting, WorkQueue
from nfopt.errors import StudyWarning
from nfopt.space import SearchSpace
from nfopt.study.candidate import Candidate, describe, release
from nfopt.study.sampler import StudySampler

INTERRUPTED = "interrupted while it was asked"


@dataclass(frozen=True)
class Asker:
    """Asks the trials of a study for their flows.

    Attributes:
        queue: Of a study with a `StudySampler`.
        space: What is searched.
        seed: Of the study.
    """

    queue: WorkQueue
    space: SearchSpace
    seed: int

    def population(self, count: int) -> list[Candidate]:
        """Take waiting trials, then ask new ones of the first one's shape.

        Args:
            count: At least 1; an interrupted population is taken as a whole.

        Returns:
            Candidates. They share their shape, unless different ones waited in the queue. Fewer
            than `count`, or none, if other workers met the budget or took them.
        """
        waiting = self.queue.next(count)
        return self.fill(count, [] if waiting is None else self.take(waiting))

    def take(self, waiting: Waiting) -> list[Candidate]:
        """Take waiting trials; none if another worker took the first one."""
        asked: list[Candidate] = []
        try:
            for waiting_trial in waiting.trials:
                trial = self.queue.take(waiting_trial)
                candidate = None if trial is None else self._taken(trial)
                if candidate is not None:
                    asked.append(candidate)
                elif not asked and waiting.origin is not None:
                    break
        except BaseException:
            release(self.queue, asked, INTERRUPTED)
            raise
        return asked

    def fill(self, count: int, asked: Sequence[Candidate]) -> list[Candidate]:
        """Ask further trials, of the first one's shape, until there are `count`.

        Args:
            count: Of all trials.
            asked: Those asked already.
        """
        asked, reserved = list(asked), []
        try:
            reserved = self.queue.reserve(count - len(asked))
            with self._together():
                while reserved:
                    with self._holding_shape(asked):  # the first one is free
                        candidate = self._described(reserved[0])
                    reserved.pop(0)
                    if candidate is not None:
                        asked.append(candidate)
        except BaseException:
            release(self.queue, asked, INTERRUPTED)
            for trial in reserved:
                self.queue.interrupt(trial, "interrupted", again=False)
            raise
        return asked

    def _taken(self, trial: optuna.Trial) -> Candidate | None:
        """Describe a trial taken from the queue; if that fails, it is released to the queue."""
        try:
            return self._described(trial)
        except (
            ValueError,
            TypeError,
        ) as error:  # enqueued with parameters that the space does not have
            why = f"what was queued can't be asked: {' '.join(str(error).split()):.300}"
            self.queue.interrupt(trial, why, again=False)
            warnings.warn(
                f"study {self.queue.study.study_name!r}: trial {trial.number} is set aside: {why}",
                StudyWarning,
                stacklevel=1,
            )
            return None
        except BaseException:
            self.queue.release([trial], INTERRUPTED)
            raise

    def _described(self, trial: optuna.Trial | FrozenTrial) -> Candidate | None:
        """Describe a trial; None if another worker ended it after this one's lease expired."""
        try:
            running = self.queue.start(trial) if isinstance(trial, FrozenTrial) else trial
            return describe(running, self.space, self.seed)
        except UpdateFinishedTrialError:
            return None

    def _together(self) -> AbstractContextManager[None]:
        sampler = self.queue.study.sampler
        return sampler.together() if isinstance(sampler, StudySampler) else nullcontext()

    def _holding_shape(self, asked: Sequence[Candidate]) -> AbstractContextManager[None]:
        sampler = self.queue.study.sampler
        if not isinstance(sampler, StudySampler):
            return nullcontext()
        names = self.space.shape_parameters if asked else ()
        return sampler.holding({name: asked[0].trial.params[name] for name in names})
