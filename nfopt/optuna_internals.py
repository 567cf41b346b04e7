"""What nfopt needs of Optuna beyond its public interface, in one place, for Optuna 5.0.

Nothing else in nfopt touches a name of Optuna that begins with an underscore, nor an attribute that
it writes for itself; `tests/test_house.py` checks it. The next Optuna is tried with
`pytest tests/test_optuna_internals.py`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import _filter_study
from optuna.samplers._base import _process_constraints_after_trial
from optuna.storages import BaseStorage, GrpcStorageProxy, RDBStorage
from optuna.storages._heartbeat import BaseHeartbeat as BaseHeartbeat
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study._frozen import FrozenStudy as FrozenStudy
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:  # the artifacts' package brings boto3
    import grpc
    from optuna.artifacts import FileSystemArtifactStore
    from optuna.artifacts._protocol import ArtifactStore as ArtifactStore

    AnyTrial = optuna.Trial | FrozenTrial

FIXED, CONSTRAINTS = "fixed_params", "constraints"


# ----------------------------------------------------------------------------------------- studies


def storage_of(study: optuna.Study) -> BaseStorage:
    """Give the storage that a study is in."""
    return study._storage


def study_id(study: optuna.Study) -> int:
    """Give a study's number in its storage."""
    return study._study_id


def attributes_of(study: optuna.Study) -> dict[str, Any]:
    """Read a study's attributes, without a copy of what is read already."""
    return study._storage.get_study_user_attrs(study._study_id)


def system_attributes_of(study: optuna.Study) -> dict[str, Any]:
    """Read a study's system attributes, which Optuna and its dashboard write."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: optuna.Study, name: str, value: int | str) -> None:
    """Write a study's system attribute."""
    study._storage.set_study_system_attr(study._study_id, name, value)


def trials_of(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """Read the trials of some states, or all, by number: never those of a cache, and no copies.

    A study that a pruner filters (Hyperband) is read whole.
    """
    return study._storage.get_all_trials(study._study_id, deepcopy=False, states=states or None)


# ------------------------------------------------------------------------------------------ trials


def trial_id(trial: AnyTrial) -> int:
    """Give a trial's number in its storage; `trial.number` counts within its study."""
    return trial._trial_id


def read_trial(study: optuna.Study, trial: AnyTrial) -> FrozenTrial:
    """Read a trial again: what others wrote, the trial at hand does not know."""
    return study._storage.get_trial(trial._trial_id)


def fixed_parameters(trial: FrozenTrial) -> dict[str, Any]:
    """Read the parameters that a trial was put into the queue with."""
    fixed: dict[str, Any] = trial.system_attrs.get(FIXED, {})
    return fixed


def recode_fixed(trial: optuna.Trial, recode: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a trial was put into the queue with, as far as it was not yet asked for."""
    trial._fixed_params = dict(recode(trial._fixed_params))


def set_attribute(study: optuna.Study, trial: AnyTrial | int, name: str, value: Any) -> None:
    """Write an attribute of a trial, given itself or by its id.

    Raises:
        UpdateFinishedTrialError: If it has ended.
    """
    key = trial if isinstance(trial, int) else trial._trial_id
    study._storage.set_trial_user_attr(key, name, value)


def set_state(study: optuna.Study, trial: AnyTrial, state: TrialState) -> bool:
    """Turn a trial to another state; False if it was someone else who turned it to RUNNING.

    Raises:
        UpdateFinishedTrialError: If it has ended.
    """
    return study._storage.set_trial_state_values(trial._trial_id, state)


def take_waiting(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial | None:
    """Turn a waiting trial to a running one; None if someone else has."""
    try:
        if not set_state(study, trial, TrialState.RUNNING):
            return None
    except UpdateFinishedTrialError:
        return None
    forget_cached(study)
    return optuna.Trial(study, trial._trial_id)


def create_from(study: optuna.Study, template: FrozenTrial) -> None:
    """Make a trial, and note in its template what id and number it has."""
    template._trial_id = study._storage.create_new_trial(study._study_id, template)
    template.number = study._storage.get_trial_number_from_id(template._trial_id)


def start_created(study: optuna.Study, trial: FrozenTrial) -> optuna.Trial:
    """Give a trial that was just made, to be asked; `Study.ask` would take whatever waits."""
    forget_cached(study)
    return KnownTrial(study, trial)


class KnownTrial(optuna.Trial):
    """A running trial of which all is known, so that the storage is not asked for it.

    Args:
        study: The study.
        trial: As the storage has it.
    """

    def __init__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        # as the parent does, which begins with a read
        self.study, self.storage, self._trial_id = study, study._storage, trial._trial_id
        self._cached_frozen_trial = trial
        study.sampler.before_trial(_filter_study(study, trial), trial)
        self.relative_search_space: dict[str, BaseDistribution] | None = None
        self._relative_params: dict[str, Any] | None = None
        self._fixed_params = fixed_parameters(trial)


def finish_trial(
    study: optuna.Study, trial: optuna.Trial, state: TrialState, values: list[float] | None
) -> None:
    """End a trial as `Study.tell` does, without reading it first.

    Raises:
        UpdateFinishedTrialError: If it has ended.
    """
    forget_cached(study)
    known = trial._cached_frozen_trial
    try:
        study.sampler.after_trial(_filter_study(study, known), known, state, values)
    finally:
        written = study._storage.set_trial_state_values(trial._trial_id, state, values)
    if not written:  # two have written its values at one time
        raise UpdateFinishedTrialError(f"Trial {trial.number} has ended.")


def forget_cached(study: optuna.Study) -> None:
    """Let a study read its trials anew when they are next needed, as `Study.ask` does."""
    study._thread_local.cached_all_trials = None


def set_constraints(trial: FrozenTrial, values: Sequence[float]) -> None:
    """Put a trial's constraints where optuna-dashboard reads them, not into the storage."""
    trial._system_attrs = trial.system_attrs | {CONSTRAINTS: list(values)}


def keep_constraints(
    function: Callable[[FrozenTrial], Sequence[float]],
    study: optuna.Study,
    trial: FrozenTrial,
    state: TrialState,
) -> None:
    """Store what a sampler's `constraints_func` says of a trial that is about to end."""
    _process_constraints_after_trial(function, study, trial, state)


def in_distribution(distribution: BaseDistribution, value: Any) -> bool:
    """Say whether a distribution has a value.

    Raises:
        TypeError, ValueError: If it is of another kind.
    """
    return distribution._contains(distribution.to_internal_repr(value))


# ---------------------------------------------------------------------------------------- storages


def behind(storage: object) -> Any:
    """Give what Optuna's cache or journal stands before; else the storage itself."""
    return getattr(storage, "_backend", storage)


def number_in_cache(storage: BaseStorage, trial: int) -> int | None:
    """Say which number the trial of an id has, if Optuna's cache knows it."""
    known = getattr(storage, "_trial_id_to_study_id_and_number", {}).get(trial)
    return None if known is None else int(known[1])


def grpc_address(storage: BaseStorage) -> tuple[str, int] | None:
    """Give host and port of a gRPC proxy's server; None if it is no such proxy."""
    return (storage._host, storage._port) if isinstance(storage, GrpcStorageProxy) else None


def journal_path(backend: object) -> str | None:
    """Give the path of a journal file's backend; None if it is no such thing."""
    path: str | None = getattr(backend, "_file_path", None)
    return path


def path_in_store(store: FileSystemArtifactStore, key: str) -> Path:
    """Give the path of an artifact.

    Raises:
        ValueError: If it would lie outside the store's folder.
    """
    return store._get_filepath(key)


class BulkStorage(RDBStorage):
    """Optuna's RDBStorage, which reads all trials at once in a sixth of the time.

    It reads rows, not objects of the ORM, and each distribution once: trials share them.
    """

    def _get_trials(
        self, study_id: int, states: Any, included_trial_ids: set[int], trial_id_greater_than: int
    ) -> list[FrozenTrial]:
        if any(trial <= trial_id_greater_than for trial in included_trial_ids):
            return super()._get_trials(study_id, states, included_trial_ids, trial_id_greater_than)
        trials = models.TrialModel.__table__
        trial = trials.c
        wanted = [trial.study_id == study_id, trial.trial_id > trial_id_greater_than]
        wanted += [] if states is None else [trial.state.in_(list(states))]

        def by_trial(of: Any, *names: str) -> dict[int, list[Any]]:
            """Read columns of a table as {trial: its rows}."""
            table = of.__table__
            columns = [table.c[name] for name in ("trial_id", *names)]
            rows = table.join(trials).select().with_only_columns(*columns).where(*wanted)
            rows = rows.order_by(trial.trial_id, *table.primary_key)
            found = defaultdict[int, list[Any]](list)
            for key, *row in session.execute(rows).all():
                found[key].append(row)
            return found

        kind = cache(json_to_distribution)
        with _create_scoped_session(self.scoped_session) as session:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            found = session.execute(trials.select().where(*wanted).order_by(trial.trial_id)).all()
            end, rung = models.TrialValueModel, models.TrialIntermediateValueModel
            kinds = "param_name", "param_value", "distribution_json"
            params = by_trial(models.TrialParamModel, *kinds)
            own = by_trial(models.TrialUserAttributeModel, "key", "value_json")
            optunas = by_trial(models.TrialSystemAttributeModel, "key", "value_json")
            values = by_trial(end, "objective", "value", "value_type")
            steps = by_trial(rung, "step", "intermediate_value", "intermediate_value_type")
        value_of, rung_of = end.stored_repr_to_value, rung.stored_repr_to_intermediate_value
        return [
            FrozenTrial(
                *(number, state, None, _local(start), _local(complete)),
                params={n: kind(text).to_external_repr(value) for n, value, text in params[key]},
                distributions={name: kind(text) for name, _, text in params[key]},
                user_attrs={name: _from_json(text) for name, text in own[key]},
                system_attrs={name: _from_json(text) for name, text in optunas[key]},
                intermediate_values={step: rung_of(*stored) for step, *stored in steps[key]},
                trial_id=key,
                values=[value_of(*stored) for _, *stored in sorted(values[key])] or None,
            )
            for key, number, _, state, start, complete in found
        ]


def _from_json(text: str) -> Any:
    """Read JSON, by msgspec where it can: it knows neither NaN nor numbers beyond a float."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return json.loads(text)


def _local(utc: datetime | None) -> datetime | None:
    return None if utc is None else utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


class Heartbeats(BaseHeartbeat):
    """Optuna's heartbeats, with a public name for the method that it asks for stale trials."""

    @abstractmethod
    def stale_trial_ids(self, study_id: int) -> list[int]:
        """List the ids of running trials whose heart stood still for too long."""

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return self.stale_trial_ids(study_id)


def stale_trial_ids(storage: BaseHeartbeat, study_id: int) -> list[int]:
    """Ask a storage of Optuna for its stale trials."""
    return storage._get_stale_trial_ids(study_id)


class GrpcProxy(GrpcStorageProxy):
    """Optuna's gRPC proxy, whose channel has options."""

    options: ClassVar[Sequence[tuple[str, int]]] = ()

    def _setup(self) -> None:
        import grpc

        super()._setup()
        self._channel.close()
        self._channel = grpc.insecure_channel(f"{self._host}:{self._port}", options=self.options)
        self._stub = type(self._stub)(self._channel)
        self._cache.grpc_client = self._stub


def grpc_server(storage: BaseStorage, host: str, port: int) -> grpc.Server:
    """Make a server of a storage, not yet started.

    Raises:
        ImportError, AttributeError: If gRPC is not installed, at once or from lazy imports in it.
        RuntimeError: If the port can't be opened.
    """
    from optuna.storages._grpc.server import make_server

    return make_server(storage, host, port)
