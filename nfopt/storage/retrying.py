"""A storage that retries its calls while its server is away, so that no result is lost.

`PatientStorage` wraps any Optuna storage. A call that fails because the server is being restarted,
the gRPC proxy is gone, or another process holds a lock, is retried, with growing pauses, until it
succeeds or the patience is over. All other errors are passed on.

A call whose answer was lost may have been carried out. Writing an attribute, a parameter or an
intermediate value twice is harmless. A retry of the others first checks:

| call | at a retry |
|---|---|
| create a trial | one that began in the same microsecond as ours is ours |
| finish a trial | finished with our state and values: done; with others: an error, as usual |
| create a study | an empty one of that name is ours |
| delete a study | none of that id: done |

It can't be known whether this process took a waiting trial from the queue; such a trial is not
touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Container, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nfopt.optuna_internals import (
    BaseHeartbeat,
    FrozenStudy,
    Heartbeats,
    behind,
    number_in_cache,
    stale_trial_ids,
    trial_id,
)
from nfopt.storage.backoff import PATIENCE, Patience

OPEN_STATES = (TrialState.RUNNING, TrialState.WAITING)
ONE_OPEN = tuple([(state,) for state in OPEN_STATES])


class PatientStorage(BaseStorage, Heartbeats):
    """An Optuna storage that waits for its server.

    Args:
        inner: Any Optuna storage; a database with Optuna's cache around it.
        patience: Seconds that a call waits at most.
        on_wait: Called once when the storage is away and once when it is back; None: a
            StudyWarning.
        should_stop: See `Patience`; may be set later.
        failures: The number of errors of the storage's driver so far, also of those that Optuna
            retried itself; None where they can't be counted.

    Attributes:
        inner: The storage.
        artifacts: Where this process was told to keep what its studies keep; None: beside it.
    """

    def __init__(
        self,
        inner: BaseStorage,
        *,
        patience: float = PATIENCE,
        on_wait: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        failures: Callable[[], int] | None = None,
    ) -> None:
        self.inner = inner
        self.artifacts: str | None = None
        self._patience = Patience(inner, patience, on_wait=on_wait, should_stop=should_stop)
        self._failures = failures

    def __getstate__(self) -> dict[str, Any]:
        """The state that another process can use."""
        return self.__dict__ | {"_failures": None}

    def listen(
        self,
        *,
        on_wait: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Set the callbacks of a wait.

        Args:
            on_wait: See the class.
            should_stop: See the class.
        """
        self._patience.on_wait, self._patience.should_stop = on_wait, should_stop

    # -------------------------------------------------------------------------------------- studies

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """See `BaseStorage`."""
        # a unique name, by which a retry recognises the study
        name = f"no-name-{uuid.uuid4()}" if study_name is None else study_name

        def again() -> int:
            try:
                return self.inner.create_new_study(directions, name)
            except DuplicatedStudyError:
                study_id = self.inner.get_study_id_from_name(name)
                same = list(self.inner.get_study_directions(study_id)) == list(directions)
                if not same or self.inner.get_study_user_attrs(study_id):
                    raise
                if self.inner.get_all_trials(study_id, deepcopy=False):
                    raise
                return study_id

        return self._patience.call(lambda: self.inner.create_new_study(directions, name), again)

    def delete_study(self, study_id: int) -> None:
        """See `BaseStorage`."""

        def again() -> None:
            try:
                self.inner.delete_study(study_id)
            except KeyError:
                return

        self._patience.call(lambda: self.inner.delete_study(study_id), again)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._patience.call(lambda: self.inner.set_study_user_attr(study_id, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._patience.call(lambda: self.inner.set_study_system_attr(study_id, key, value))

    def get_study_id_from_name(self, study_name: str) -> int:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_study_id_from_name(study_name))

    def get_study_name_from_id(self, study_id: int) -> str:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_study_name_from_id(study_id))

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_study_directions(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_study_user_attrs(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_study_system_attrs(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `BaseStorage`."""
        return self._patience.call(self.inner.get_all_studies)

    # --------------------------------------------------------------------------------------- trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See `BaseStorage`."""
        if template_trial is None:  # as Optuna does for None, with a start time to recognise it by
            template = optuna.trial.create_trial(state=TrialState.RUNNING)
        else:
            template = template_trial

        def again() -> int:
            ours = self._twins(study_id, template)
            return ours[0] if ours else self.inner.create_new_trial(study_id, template)

        before = self._failures() if self._failures else 0
        trial_id = self._patience.call(
            lambda: self.inner.create_new_trial(study_id, template), again
        )
        if self._failures and self._failures() != before and template.state in OPEN_STATES:
            # Optuna itself retries a database's failed attempts, without this check
            for stray in self._twins(study_id, template):
                if stray != trial_id:
                    self.set_trial_state_values(stray, TrialState.FAIL)
        return trial_id

    def _twins(self, study_id: int, template: FrozenTrial) -> list[int]:
        """Ids of the trials that are ours: with the template's start, state and parameters."""
        trials = self._patience.call(lambda: self.inner.get_all_trials(study_id, deepcopy=False))
        return [
            trial_id(trial)
            for trial in trials
            if trial.datetime_start == template.datetime_start
            and trial.state == template.state
            and trial.params == template.params
        ]

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """See `BaseStorage`; also for a trial that began before a restart of the server."""
        given = (trial_id, param_name, param_value_internal, distribution)
        inner = self.inner
        # Optuna's cache raises KeyError for a trial that it has neither created nor read
        if isinstance(behind(inner), RDBStorage) and number_in_cache(inner, trial_id) is None:
            inner = behind(inner)
        self._patience.call(lambda: inner.set_trial_param(*given))

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """See `BaseStorage`."""
        find = self.inner.get_trial_id_from_study_id_trial_number
        return self._patience.call(lambda: find(study_id, trial_number))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """See `BaseStorage`; succeeds if an earlier attempt was carried out."""

        def again() -> bool:
            try:
                return self.inner.set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                trial = self.inner.get_trial(trial_id)
                ours = None if values is None else [float(value) for value in values]
                theirs = None if trial.values is None else [float(value) for value in trial.values]
                # compared as text, in which nan equals nan
                if trial.state == state and (ours is None or repr(ours) == repr(theirs)):
                    return True
                raise

        return self._patience.call(
            lambda: self.inner.set_trial_state_values(trial_id, state, values), again
        )

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """See `BaseStorage`."""
        given = (trial_id, step, intermediate_value)
        self._patience.call(lambda: self.inner.set_trial_intermediate_value(*given))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._patience.call(lambda: self.inner.set_trial_user_attr(trial_id, key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See `BaseStorage`."""
        self._patience.call(lambda: self.inner.set_trial_system_attr(trial_id, key, value))

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """See `BaseStorage`; from Optuna's cache where it is known, as it never changes."""
        known = number_in_cache(self.inner, trial_id)
        return self.get_trial(trial_id).number if known is None else known

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `BaseStorage`; open trials alone are read past Optuna's cache."""
        inner = self.inner
        # the cache would also read all trials that finished since its last read
        if states in ONE_OPEN and isinstance(behind(inner), RDBStorage):
            inner = behind(inner)
        return self._patience.call(lambda: inner.get_all_trials(study_id, deepcopy, states))

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """See `BaseStorage`."""
        return self._patience.call(lambda: self.inner.get_best_trial(study_id))

    def remove_session(self) -> None:
        """See `BaseStorage`."""
        self.inner.remove_session()

    # ----------------------------------------------------------------------------------- heartbeats

    def record_heartbeat(self, trial_id: int) -> None:
        """See Optuna's heartbeats; without effect unless the database was opened with them."""
        beats = self.inner
        if isinstance(beats, BaseHeartbeat):
            self._patience.call(lambda: beats.record_heartbeat(trial_id))

    def stale_trial_ids(self, study_id: int) -> list[int]:
        """See Optuna's heartbeats."""
        beats = self.inner
        if not isinstance(beats, BaseHeartbeat):
            return []
        return self._patience.call(lambda: stale_trial_ids(beats, study_id))

    def get_heartbeat_interval(self) -> int | None:
        """See Optuna's heartbeats."""
        beats = self.inner
        return beats.get_heartbeat_interval() if isinstance(beats, BaseHeartbeat) else None

    def get_heartbeat_stale_trial_callback(
        self,
    ) -> Callable[[optuna.Study, FrozenTrial], None] | None:
        """See Optuna's heartbeats."""
        beats = self.inner
        if not isinstance(beats, BaseHeartbeat):
            return None
        return beats.get_heartbeat_stale_trial_callback()
