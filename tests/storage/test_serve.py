"""A storage served over gRPC; a server that is killed is waited for."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from distributed.filled import one_goes_and_the_other_stays
from optuna.samplers import RandomSampler
from optuna.trial import TrialState

from nfopt.errors import StudyError
from nfopt.storage.open import clear_errors, open_storage
from nfopt.storage.serve import serve

pytest.importorskip("grpc")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('served')}/s.db"
    said: list[str] = []
    over = threading.Event()
    port = free_port()
    arguments = {"port": port, "say": said.append, "should_stop": over.is_set}
    thread = threading.Thread(target=serve, args=(url,), kwargs=arguments)
    thread.start()
    yield f"grpc://127.0.0.1:{port}", said
    over.set()
    thread.join(20)
    assert said[-1] == "the server has ended"


def test_it_says_where_it_listens_and_serves(served: tuple[str, list[str]]) -> None:
    url, said = served
    study = optuna.create_study(study_name="over the wire", storage=open_storage(url))
    study.enqueue_trial({"x": 0.25})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    again = optuna.load_study(study_name="over the wire", storage=open_storage(url))
    assert again.trials[0].value == 0.25
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE] * 2
    assert len(said) == 1
    assert said[0].startswith("serving sqlite:///")
    assert said[0].endswith(f"at {url} (Ctrl-C ends)")


def test_a_port_that_is_in_use_is_one_line(served: tuple[str, list[str]], tmp_path: Path) -> None:
    port = int(served[0].rpartition(":")[2])
    with pytest.raises(StudyError, match=rf"`port` {port} on 127.0.0.1 can't be opened: Address"):
        serve(f"sqlite:///{tmp_path}/s.db", port=port)


@pytest.mark.parametrize("url", ["journal:///s.log", "grpc://127.0.0.1:13000"])
def test_what_can_not_be_served(url: str) -> None:
    with pytest.raises(ValueError, match="can't be served"):
        serve(url)


def test_no_server_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nfopt.storage.open.CONNECT_TIMEOUT", 0.5)
    with pytest.raises(StudyError, match=r"no server answers there. Start one: nfopt serve"):
        open_storage(f"grpc://127.0.0.1:{free_port()}")


def start(url: str, port: int) -> subprocess.Popen[str]:
    """Run `nfopt serve` and wait until it listens."""
    server = subprocess.Popen(
        [sys.executable, "-m", "nfopt", "serve", "--port", str(port)],
        env=os.environ | {"NFOPT_STORAGE": url, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    assert "serving sqlite" in server.stderr.readline()
    return server


@pytest.mark.slow
@pytest.mark.parametrize("when", ["at any time", "a trial has begun"])
def test_a_server_that_is_killed_is_waited_for(tmp_path: Path, when: str) -> None:
    url, port, said = f"sqlite:///{tmp_path}/s.db", free_port(), list[str]()
    killed = threading.Event()
    server = start(url, port)
    try:
        remote = open_storage(f"grpc://127.0.0.1:{port}", patience=120, on_wait=said.append)
        sampler = RandomSampler(seed=0)  # reads no trials before it writes a parameter
        study = optuna.create_study(study_name="s", storage=remote, sampler=sampler)

        def objective(trial: optuna.Trial) -> float:
            if when == "a trial has begun" and trial.number == 11:
                killed.wait(60)  # the new server must take parameters of a trial it has not read
            return trial.suggest_float("x", 0, 1)

        def work() -> None:
            study.optimize(objective, n_trials=30)

        worker = threading.Thread(target=work)
        worker.start()
        local = open_storage(url)
        while len(local.get_all_trials(1)) < (12 if when == "a trial has begun" else 10):
            time.sleep(0.1)
        server.kill()
        server.wait()
        killed.set()
        time.sleep(2)
        assert worker.is_alive()
        server = start(url, port)
        worker.join(60)
        assert not worker.is_alive()
        trials = optuna.load_study(study_name="s", storage=open_storage(url)).trials
        assert [trial.number for trial in trials] == list(range(len(trials)))
        states = [trial.state for trial in trials]
        assert states.count(TrialState.COMPLETE) == 30
        assert states.count(TrialState.RUNNING) == 0
        assert [text.split(" is ")[1].split(" ")[0].strip(",") for text in said] == ["away", "back"]
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=30)
        assert server.returncode == 0
        assert errors.splitlines() == ["the server has ended"]
    finally:
        server.kill()
        server.wait()
    patient = open_storage(url)
    with clear_errors(url):
        assert len(patient.get_all_studies()) == 1


def test_a_study_is_deleted_through_it(served: tuple[str, list[str]], tmp_path: Path) -> None:
    url, _ = served
    for name in optuna.get_all_study_names(open_storage(url)):
        optuna.delete_study(study_name=name, storage=open_storage(url))
    one_goes_and_the_other_stays(url, tmp_path / "artifacts")
