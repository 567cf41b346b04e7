"""The checkpoint of a trial that is a differentiable search, in the study's store of artifacts.

Places, slots and the pointer `nfopt:checkpoint` are those of `nfopt.distributed.checkpoints`; the
file is that of `nfopt.autonf.checkpoint`. A trial that repeats an interrupted one goes on from its
checkpoint.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import BaseTrial, FrozenTrial

from nfopt import attributes as names
from nfopt.autonf import Choice
from nfopt.distributed.artifacts import artifact_store
from nfopt.distributed.checkpoints import Asked, Checkpoints, Restored, Saving
from nfopt.distributed.lease import Lease, lease_seconds
from nfopt.distributed.queue import origin_of
from nfopt.events import OnEvent
from nfopt.spec import TrainSpec
from nfopt.stored import trials_of
from nfopt.training import CheckpointError


class Keeping:
    """Keeps one trial, and holds its lease; as a context. A trial of no study is not kept.

    Args:
        trial: That begins.
        train: Its candidates' training.
        seed: Of the trial.
        artifacts: Where; None: where the study has it, if it says so.
        on_event: Told in one line what went wrong.

    Attributes:
        rungs: Validation NLL by rung in percent, as reported so far.
    """

    def __init__(
        self,
        trial: BaseTrial,
        train: TrainSpec,
        seed: int,
        artifacts: str | os.PathLike[str] | None,
        on_event: OnEvent,
    ) -> None:
        self.rungs = dict[int, float]()
        self._trial, self._seed, self._train = trial, seed, train
        self._own = trial if isinstance(trial, optuna.Trial) else None  # not a FixedTrial, say
        self._place, self._on_event = artifacts, on_event
        self._stack = ExitStack()
        self._lease: Lease | None = None
        self._checkpoints: Checkpoints | None = None
        self._source: Restored | None = None
        self._saving: Saving | None = None

    def __enter__(self) -> Keeping:
        if self._own is None:
            return self
        study = self._own.study
        lease = self._lease = Lease(study, lease_seconds(study))
        # before the lease is told: Optuna's own retries take all attributes along
        origin = _origin(self._own)
        lease.hold(self._own)
        self._stack.enter_context(lease.beating())
        found = Checkpoints(study, lease, self._on_event, what="search")
        self._stack.callback(found.close)
        if self._place is not None:
            found.store = artifact_store(self._place)
        self._checkpoints = found
        if origin is not None:
            self._source = found.find(origin)
        if self._source is not None:
            self.rungs |= self._source.asked.rungs[0]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # whatever ends the process is no result: KeyboardInterrupt, SystemExit
        kept = error is not None and not isinstance(error, Exception)
        if self._saving is not None:
            self._saving.end(kept=kept)
        if self._lease is not None and not kept:
            self._lease.drop()
        self._stack.close()

    @property
    def lost(self) -> bool:
        """Whether someone else has finished the trial, because this process was not heard of."""
        return self._lease is not None and self._lease.lost

    def interrupted(self) -> None:
        """Say of the trial that it is to be gone on with."""
        if not self.lost:
            with suppress(UpdateFinishedTrialError):
                self._trial.set_user_attr(names.AGAIN, True)

    def run(self, work: Callable[[Path | None], Choice]) -> Choice:
        """Work, from the checkpoint if there is one that can be used.

        Args:
            work: Takes the file of the checkpoint, or None.
        """
        checkpoints = self._checkpoints
        if checkpoints is None:
            return work(None)
        self._saving = checkpoints.begin(self._asked(), self._source)
        try:
            return work(self._saving.path)
        except CheckpointError as error:
            checkpoints.set_aside(self._trial.number, error)
            self._saving.end(kept=True)
            self.rungs.clear()
            self._saving = checkpoints.begin(self._asked())
            return work(self._saving.path)

    def saved(self, error: Exception | None) -> None:
        """Put a checkpoint that was just written into the store."""
        if self._saving is not None:
            self._saving.asked.rungs = [self.rungs]
            self._saving.saved(error)

    def _asked(self) -> Asked:
        return Asked(
            numbers=[self._trial.number],
            specs=[],  # many: they are in the file
            trains=[self._train],
            seeds=[self._seed],
            batches=0,
            steps=self._train.steps,
            seconds=None,
            device="",
            rungs=[self.rungs],
        )


def _origin(trial: optuna.Trial) -> FrozenTrial | None:
    """Find the trial whose checkpoint counts: the interrupted one, or what was copied to this."""
    if names.CHECKPOINT in trial.user_attrs:
        return trials_of(trial.study)[trial.number]
    if names.RETRY_OF not in trial.user_attrs:
        return None
    trials = trials_of(trial.study)
    return origin_of(trials[trial.number], trials)
