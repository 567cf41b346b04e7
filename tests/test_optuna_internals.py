"""Does Optuna still have what `nfopt.optuna_internals` takes of it? A test for each thing taken."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from nfopt import optuna_internals as internals

STORAGES: dict[str, Callable[[Path], BaseStorage]] = {
    "memory": lambda path: InMemoryStorage(),
    "sqlite": lambda path: get_storage(f"sqlite:///{path}/study.db"),
    "journal": lambda path: JournalStorage(JournalFileBackend(f"{path}/study.log")),
}


@pytest.fixture(params=STORAGES)
def study(request: pytest.FixtureRequest, tmp_path: Path) -> optuna.Study:
    return optuna.create_study(storage=STORAGES[request.param](tmp_path))


def test_a_study_is_known_by_its_storage_and_id(study: optuna.Study) -> None:
    storage, number = internals.storage_of(study), internals.study_id(study)
    assert storage.get_study_name_from_id(number) == study.study_name


def test_attributes_of_a_study(study: optuna.Study) -> None:
    study.set_user_attr("mine", [1])
    internals.set_system_attribute(study, "theirs", "2")
    assert internals.attributes_of(study) == study.user_attrs == {"mine": [1]}
    assert internals.system_attributes_of(study)["theirs"] == "2"


def test_trials_by_state(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 1.0})
    study.enqueue_trial({"x": 2.0})
    study.ask()
    assert [t.number for t in internals.trials_of(study)] == [0, 1]
    assert [t.number for t in internals.trials_of(study, TrialState.WAITING)] == [1]
    assert internals.fixed_parameters(internals.trials_of(study)[1]) == {"x": 2.0}


def test_what_a_trial_was_queued_with_is_changed(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 1.0})
    trial = study.ask()
    internals.recode_fixed(trial, lambda fixed: fixed | {"y": fixed["x"] + 1})
    assert (trial.suggest_float("x", 0, 9), trial.suggest_float("y", 0, 9)) == (1.0, 2.0)


def test_attributes_of_a_trial_by_itself_and_by_id(study: optuna.Study) -> None:
    trial = study.ask()
    internals.set_attribute(study, trial, "a", 1)
    internals.set_attribute(study, internals.trial_id(trial), "b", 2)
    assert internals.read_trial(study, trial).user_attrs == {"a": 1, "b": 2}
    study.tell(trial, 0.0)
    with pytest.raises(UpdateFinishedTrialError):
        internals.set_attribute(study, trial, "a", 3)


def test_one_takes_what_waits(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 0.5})
    (waiting,) = internals.trials_of(study)
    trial = internals.take_waiting(study, waiting)
    assert trial is not None
    assert trial.suggest_float("x", 0, 1) == 0.5
    assert internals.take_waiting(study, waiting) is None


def test_a_trial_that_was_made_is_as_one_that_was_read(study: optuna.Study) -> None:
    made = create_trial(state=TrialState.RUNNING, user_attrs={"a": 1})
    internals.create_from(study, made)
    ours = internals.start_created(study, made)
    theirs = optuna.Trial(study, internals.trial_id(made))
    assert vars(ours).keys() == vars(theirs).keys()
    assert vars(ours)["_cached_frozen_trial"] == vars(theirs)["_cached_frozen_trial"]
    assert ours.suggest_float("x", 0, 1) == internals.read_trial(study, ours).params["x"]


@pytest.mark.parametrize(
    ("state", "values"),
    [(TrialState.COMPLETE, [1.5]), (TrialState.PRUNED, [2.5]), (TrialState.FAIL, None)],
)
def test_a_trial_ends_as_by_tell(
    study: optuna.Study, state: TrialState, values: list[float] | None
) -> None:
    ours, theirs = study.ask(), study.ask()
    if state is TrialState.PRUNED:
        ours.report(2.5, 1)
        theirs.report(2.5, 1)
    internals.finish_trial(study, ours, state, values)
    study.tell(theirs, values if state is TrialState.COMPLETE else None, state)
    first, second = study.trials
    assert (first.state, first.values) == (second.state, second.values) == (state, values)
    with pytest.raises(UpdateFinishedTrialError):
        internals.finish_trial(study, ours, state, values)
    with pytest.raises(UpdateFinishedTrialError):
        internals.set_state(study, ours, TrialState.FAIL)


def test_a_sampler_hears_of_a_trials_begin_and_end() -> None:
    heard = []

    class Sampler(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            heard.append(("before", trial.number))

        def after_trial(self, study, trial, state, values):  # type: ignore[no-untyped-def]
            heard.append(("after", trial.number, state, values))

    study = optuna.create_study(sampler=Sampler())
    made = create_trial(state=TrialState.RUNNING)
    internals.create_from(study, made)
    trial = internals.start_created(study, made)
    internals.finish_trial(study, trial, TrialState.COMPLETE, [1.0])
    assert heard == [("before", 0), ("after", 0, TrialState.COMPLETE, [1.0])]


def test_constraints_of_a_function_are_read_back() -> None:
    class Sampler(optuna.samplers.RandomSampler):
        def after_trial(self, study, trial, state, values):  # type: ignore[no-untyped-def]
            internals.keep_constraints(lambda trial: [0.25], study, trial, state)

    study = optuna.create_study(sampler=Sampler())
    study.tell(study.ask(), 1.0)
    assert sum(study.trials[0].constraints.values()) == 0.25


def test_constraints_stand_where_the_dashboard_looks() -> None:
    trial = create_trial(value=1.0)
    internals.set_constraints(trial, [0.5, -1.0])
    assert trial.system_attrs["constraints"] == [0.5, -1.0]


@pytest.mark.parametrize(
    ("distribution", "inside", "outside"),
    [
        (FloatDistribution(0, 1), 0.5, 1.5),
        (IntDistribution(1, 3), 3, 4),
        (CategoricalDistribution(["a"]), "a", "b"),
    ],
)
def test_what_a_distribution_has(
    distribution: optuna.distributions.BaseDistribution, inside: object, outside: object
) -> None:
    assert internals.in_distribution(distribution, inside)
    try:
        assert not internals.in_distribution(distribution, outside)
    except ValueError:
        assert isinstance(distribution, CategoricalDistribution)


def test_what_stands_behind_a_storage(tmp_path: Path) -> None:
    memory, sqlite, journal = (make(tmp_path) for make in STORAGES.values())
    assert internals.behind(memory) is memory
    assert isinstance(internals.behind(sqlite), RDBStorage)
    assert internals.journal_path(internals.behind(journal)) == f"{tmp_path}/study.log"
    assert internals.journal_path(memory) is None
    assert internals.grpc_address(memory) is None


def test_the_cache_knows_the_number_of_what_it_made(tmp_path: Path) -> None:
    study = optuna.create_study(storage=STORAGES["sqlite"](tmp_path))
    study.ask()
    trial = study.ask()
    key, storage = internals.trial_id(trial), internals.storage_of(study)
    assert internals.number_in_cache(storage, key) == 1
    assert internals.number_in_cache(storage, key + 1) is None
    assert internals.number_in_cache(internals.behind(storage), key) is None


def test_an_artifact_lies_in_its_folder(tmp_path: Path) -> None:
    store = FileSystemArtifactStore(tmp_path)
    assert internals.path_in_store(store, "a") == tmp_path / "a"
    with pytest.raises(ValueError, match="artifact_id"):
        internals.path_in_store(store, "../a")


def test_stale_trials_by_their_public_name(tmp_path: Path) -> None:
    class Storage(internals.Heartbeats):
        def stale_trial_ids(self, study_id: int) -> list[int]:
            return [study_id]

        def record_heartbeat(self, trial_id: int) -> None: ...
        def get_heartbeat_interval(self) -> int | None:
            return 1

        def get_heartbeat_stale_trial_callback(self):  # type: ignore[no-untyped-def]
            return None

    assert internals.stale_trial_ids(Storage(), 7) == [7]
    storage = RDBStorage(f"sqlite:///{tmp_path}/study.db", heartbeat_interval=60)
    study = optuna.create_study(storage=storage)
    assert internals.stale_trial_ids(storage, internals.study_id(study)) == []


def test_a_proxy_with_options_of_its_own() -> None:
    pytest.importorskip("grpc")

    class Proxy(internals.GrpcProxy):
        options = (("grpc.max_reconnect_backoff_ms", 100),)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        server = internals.grpc_server(InMemoryStorage(), "127.0.0.1", port)
        server.start()
        try:
            proxy = Proxy(host="127.0.0.1", port=port)
            assert internals.grpc_address(proxy) == ("127.0.0.1", port)
            study = optuna.create_study(storage=proxy)
            study.tell(study.ask(), 2.0)
            assert study.best_value == 2.0
            proxy.close()
        finally:
            server.stop(0).wait()


def test_all_trials_at_once_are_those_that_optuna_reads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bulk.db"
    bulk, plain = internals.BulkStorage(url), RDBStorage(url)
    study = optuna.create_study(storage=get_storage(bulk), directions=["minimize", "maximize"])
    study.enqueue_trial({"x": 0.5, "kind": "b"})
    for values in ((1.0, 2.0), (float("inf"), float("-inf")), None):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("kind", ["a", "b", None])
        trial.suggest_int("n", 1, 9, log=True)
        trial.set_user_attr("mine", {"a": [1, None]})
        for step, value in enumerate((1.5, float("nan"), float("inf"), float("-inf"))):
            internals.storage_of(study).set_trial_intermediate_value(
                internals.trial_id(trial), step, value
            )
        if values is not None:
            study.tell(trial, values)
    study.ask()
    other = optuna.create_study(storage=get_storage(bulk))
    other.ask()
    number = internals.study_id(study)
    for states in (None, (TrialState.COMPLETE,), (TrialState.RUNNING, TrialState.WAITING), ()):
        told = [repr(trial) for trial in plain.get_all_trials(number, states=states)]
        assert [repr(trial) for trial in bulk.get_all_trials(number, states=states)] == told
    with pytest.raises(KeyError):
        bulk.get_all_trials(99)
