"""The dashboard's server: where it listens, and what it leaves out of many trials."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState, create_trial

from nfopt.errors import NfoptError
from nfopt.report import dashboard as served
from nfopt.report.dashboard import Dashboard, without_curves
from nfopt.space import SearchSpace
from nfopt.suggest import suggest_flow

from .toys import published


@contextmanager
def running(page: Dashboard) -> Iterator[str]:
    """Serve in another thread; gives the address without the path."""
    thread = threading.Thread(target=page.serve)
    thread.start()
    try:
        yield page.url.partition("/dashboard")[0]
    finally:
        page.stop()
        thread.join()


def read(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=20) as answer:
        return bytes(answer.read())


def test_it_serves_a_studys_pictures_to_this_machine_alone(tmp_path: Path) -> None:
    found = published(tmp_path, [[2.0]])
    page = Dashboard(found._storage, FileSystemArtifactStore(tmp_path), found._study_id, port=0)
    page.warm()
    assert page.url == f"http://127.0.0.1:{page.port}/dashboard/studies/{found._study_id}"
    trial = found.trials[0]
    (key, *_) = (meta.artifact_id for meta in get_all_artifact_meta(trial, storage=found._storage))
    with running(page) as address:
        picture = read(f"{address}/artifacts/{found._study_id}/{trial._trial_id}/{key}")
        assert picture.startswith(b"\x89PNG")
        assert b"NLL" in read(f"{address}/api/studies/{found._study_id}")
        with socket.socket() as outside:
            outside.settimeout(5)
            others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
            for other in others - {"127.0.0.1", "::1"}:
                if ":" not in str(other) and not str(other).startswith("127."):
                    assert outside.connect_ex((str(other), page.port)) != 0


def test_a_taken_port_leads_to_a_free_one() -> None:
    storage = InMemoryStorage()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        page = Dashboard(storage, None, port=port)
        assert page.port not in (0, port)
        assert page.url.endswith("/dashboard")
        with running(page) as address:
            assert b"study_summaries" in read(f"{address}/api/studies")


@pytest.mark.parametrize(
    ("host", "port", "error"),
    [("127.0.0.1", 70_000, ValueError), ("203.0.113.7", 0, NfoptError)],
)
def test_a_place_that_can_not_be_served_is_named(
    host: str, port: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"`host`|`port`"):
        Dashboard(InMemoryStorage(), None, host=host, port=port)


def test_of_many_trials_the_best_and_the_latest_keep_their_curves() -> None:
    def trial(number: int) -> optuna.trial.FrozenTrial:
        found = create_trial(
            state=TrialState.COMPLETE, value=float(number), intermediate_values={25: 1.0}
        )
        found.number = number
        return found

    few = [trial(number) for number in range(2 * served.CURVES)]
    assert without_curves(few) is few
    many = [trial(number) for number in range(5 * served.CURVES)]
    light = without_curves(many)
    kept = [t.number for t in light if t.intermediate_values]
    last = range(4 * served.CURVES, 5 * served.CURVES)
    assert kept == [*range(served.CURVES), *last]
    assert all(t.intermediate_values for t in many)
    assert [t.number for t in light] == [t.number for t in many]


def test_what_flows_do_not_use_is_no_parameter(tmp_path: Path) -> None:
    """Importances and pages of the dashboard are of what a flow uses, in whichever study."""
    space = SearchSpace.create(4, 240, kind="coupling", limits={"depth": [1, 4]})
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        suggest_flow(trial, space)
        study.tell(trial, abs(trial.params["depth"] - 1) + 0.1 * trial.params["width"])
    page = Dashboard(storage, None, study._study_id, port=0)
    api = f"api/studies/{study._study_id}"
    with running(page) as address:
        for _ in range(2):  # the second time from what is known
            trials = json.loads(read(f"{address}/{api}"))["trials"]
            for shown, whole in zip(trials, study.trials, strict=True):
                names = {parameter["name"] for parameter in shown["params"]}
                assert names == whole.params.keys() - space.idle(whole.params)
        found = json.loads(read(f"{address}/{api}/param_importances"))
    shares = {row["name"]: row["importance"] for row in found["param_importances"][0]}
    assert shares["depth"] > shares["layer_3.mask.1"]
    assert shares["layer_3.mask.1"] < 0.01
