"""`nfopt delete`, `nfopt clean` and the sizes in `nfopt status`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest
from distributed.filled import age, files, filled

from nfopt import attributes as names
from nfopt.cli import run
from nfopt.distributed.process import Worker
from nfopt.storage.open import open_storage

URL = "journal:///nfopt-runs/nfopt.log"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two studies; the root of their artifacts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NFOPT_STORAGE", URL)
    for name in ("one", "two"):
        filled(URL, name).set_user_attr(names.AUTONF, {})
    return tmp_path / "nfopt-runs" / "artifacts"


def answered(patch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    """Let a terminal answer, and keep what it was asked."""
    asked: list[str] = []

    def confirm(text: str, **more: Any) -> bool:
        asked.append(text)
        return answer

    patch.setattr("sys.stdin.isatty", lambda: True)
    patch.setattr("typer.confirm", confirm)
    return asked


def test_status_shows_sizes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == 0
    sizes = [one["artifacts"] for one in json.loads(capsys.readouterr().out)["studies"]]
    assert [(one["weights_mb"], one["pictures_mb"]) for one in sizes] == [(0.002, 0.001)] * 2
    assert sizes[0]["place"] == str(root)
    assert run(["status", "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["artifacts"] == sizes[0]
    weights = next(root.glob("study-*/weights-*"))
    weights.write_bytes(b"0" * 3_400_000)
    assert run(["status"]) == 0
    assert "3.4 MB" in capsys.readouterr().out
    assert run(["status", "two", "--artifacts", "far"]) == 2
    assert "`--artifacts`" in capsys.readouterr().err


def test_a_study_is_deleted_when_the_answer_is_yes(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(root)
    assert run(["delete", "one"]) == 2
    assert "`--yes` is needed where nobody can be asked" in capsys.readouterr().err
    asked = answered(monkeypatch, False)
    assert run(["delete", "one"]) == 0
    told = capsys.readouterr()
    assert "weights      2 files, 2.0 kB" in told.out
    assert "Nothing was removed." in told.err
    assert files(root) == before
    assert asked == ["Delete study 'one'?"]
    answered(monkeypatch, True)
    assert run(["delete", "one"]) == 0
    assert len(files(root)) == len(before) // 2
    assert run(["delete", "one", "--yes"]) == 2
    assert "`--study` 'one' is not in" in capsys.readouterr().err
    assert run(["delete", "two", "--yes", "--json"]) == 0
    told_json = json.loads(capsys.readouterr().out)
    assert (told_json["study"], told_json["trials"], told_json["left"]) == ("two", 2, [])
    assert files(root) == set()
    assert optuna.get_all_study_names(open_storage(URL)) == []


def test_a_study_that_is_worked_on_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, before = optuna.load_study(study_name="one", storage=open_storage(URL)), files(root)
    trial = study.ask()
    trial.set_user_attr(names.LEASE, {"beat": 1})
    trial.set_user_attr(names.WORKER, msgspec.to_builtins(Worker.here()))
    assert run(["delete", "one", "--yes"]) == 2
    assert "is being worked on" in capsys.readouterr().err
    assert files(root) == before
    assert len(optuna.get_all_study_names(open_storage(URL))) == 2


def test_clean_removes_what_a_deleted_study_left(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(root)
    optuna.delete_study(study_name="one", storage=open_storage(URL))
    assert run(["clean", "--yes"]) == 0
    assert "Nothing to remove" in capsys.readouterr().err
    age(root)
    answered(monkeypatch, False)
    assert run(["clean"]) == 0
    assert "8 files, 3.1 kB (deleted)" in capsys.readouterr().out
    assert files(root) == before
    assert run(["clean", "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["left"]) == (8, [])
    assert [(one["study"], one["deleted"]) for one in told["studies"]] == [("one", True)]
    assert len(files(root)) == 8
    assert run(["clean", "--storage", "sqlite:///none.db"]) == 2
    assert "has no studies: there" in capsys.readouterr().err
    assert not Path("none.db").exists()
