"""Ask a population: what waits in the queue first, then new trials of one shape.

candidates = ask_population(study, space, 8, seed)      one free trial, then 7 of its shape
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from nfopt.distributed import queue
from nfopt.distributed.lease import Lease
from nfopt.errors import StudyWarning
from nfopt.optuna_internals import start_created, take_waiting
from nfopt.space import SearchSpace
from nfopt.study import candidate as batch
from nfopt.study.candidate import Candidate, release
from nfopt.study.sampler import StudySampler


def ask_population(
    study: optuna.Study,
    space: SearchSpace,
    count: int,
    seed: int,
    *,
    lease: Lease | None = None,
    budget: int | None = None,
) -> list[Candidate]:
    """Ask a population: what waits in the queue first, then trials of the first one's shape.

    Args:
        study: With a `StudySampler`.
        space: What is searched.
        count: Trials to ask, at least 1; what an interrupted population left comes back whole.
        seed: Of the study.
        lease: Of this worker.
        budget: COMPLETE + PRUNED trials of the study at most, or None.

    Returns:
        Candidates. They share their shape, unless different ones waited in the queue. Fewer than
        `count`, or none, if others have met the budget or were faster.
    """
    lease = Lease(study) if lease is None else lease
    waiting = queue.next_waiting(study, count, budget)
    asked = [] if waiting is None else take(study, space, seed, waiting, lease)
    return fill(study, space, count, seed, asked, lease=lease, budget=budget)


def take(
    study: optuna.Study, space: SearchSpace, seed: int, waiting: queue.Waiting, lease: Lease
) -> list[Candidate]:
    """Take what waits; nothing, if someone else was faster with the first one.

    Args:
        study: The study.
        space: What is searched.
        seed: Of the study.
        waiting: From `nfopt.distributed.queue`.
        lease: Of this worker.
    """
    asked: list[Candidate] = []
    try:
        for one in waiting.trials:
            trial = take_waiting(study, one)
            candidate = None if trial is None else _asked(study, space, seed, trial, lease)
            if candidate is not None:
                asked.append(candidate)
            elif not asked and waiting.origin is not None:
                break
    except BaseException:
        release(study, asked, "interrupted while it was asked")
        raise
    return asked


def fill(
    study: optuna.Study,
    space: SearchSpace,
    count: int,
    seed: int,
    asked: Sequence[Candidate],
    *,
    lease: Lease,
    budget: int | None = None,
) -> list[Candidate]:
    """Ask further trials, of the shape that the first one has, until there are `count`.

    Args:
        study: With a `StudySampler`.
        space: What is searched.
        count: Of all.
        seed: Of the study.
        asked: Those that there are.
        lease: Of this worker.
        budget: COMPLETE + PRUNED trials of the study at most, or None.
    """
    asked, left = list(asked), []
    try:
        left = queue.reserve(study, count - len(asked), budget, lease)
        with _together(study):
            while left:
                with _holding(study, _shape(space, asked)):  # the first one is free
                    candidate = _described(study, space, seed, left[0])
                left.pop(0)
                if candidate is not None:
                    asked.append(candidate)
    except BaseException:
        release(study, asked, "interrupted while it was asked")
        for trial in left:
            queue.interrupt(study, trial, "interrupted", again=False)
        raise
    return asked


def _asked(
    study: optuna.Study, space: SearchSpace, seed: int, trial: optuna.Trial, lease: Lease
) -> Candidate | None:
    """Describe a trial that was in the queue, where it comes back if that fails."""
    try:
        lease.hold(trial)
        return batch.describe(trial, space, seed)
    except UpdateFinishedTrialError:
        return None
    except (ValueError, TypeError) as error:  # whoever queued it gave it what the space has not
        why = f"what was queued can't be asked: {' '.join(str(error).split()):.300}"
        queue.interrupt(study, trial, why, again=False)
        warnings.warn(
            f"study {study.study_name!r}: trial {trial.number} is set aside: {why}",
            StudyWarning,
            stacklevel=1,
        )
        return None
    except BaseException:
        queue.interrupt(study, trial, "interrupted while it was asked")
        queue.pay(study)
        raise


def _described(
    study: optuna.Study, space: SearchSpace, seed: int, made: FrozenTrial
) -> Candidate | None:
    """Describe a new trial; None if someone else ended it, as nothing was heard of this worker."""
    try:
        return batch.describe(start_created(study, made), space, seed)
    except UpdateFinishedTrialError:
        return None


def _together(study: optuna.Study) -> AbstractContextManager[None]:
    sampler = study.sampler
    return sampler.together() if isinstance(sampler, StudySampler) else nullcontext()


def _holding(study: optuna.Study, shape: dict[str, object]) -> AbstractContextManager[None]:
    sampler = study.sampler
    return sampler.holding(shape) if isinstance(sampler, StudySampler) else nullcontext()


def _shape(space: SearchSpace, asked: Sequence[Candidate]) -> dict[str, object]:
    return {name: asked[0].trial.params[name] for name in space.shape_parameters} if asked else {}
