"""A journal file that a writer left torn, or that has no room, is read and written on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

from nfopt.errors import StudyError, StudyWarning
from nfopt.storage import journal as journal_module
from nfopt.storage.journal import Journal
from nfopt.storage.open import clear_errors, open_storage


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    storage = open_storage(f"journal:///{tmp_path}/s.log")
    return optuna.create_study(study_name="s", storage=storage)


@pytest.mark.parametrize("length", [1, 5000])
def test_a_torn_line_is_taken_away(study: optuna.Study, tmp_path: Path, length: int) -> None:
    path = tmp_path / "s.log"
    before = path.read_bytes()
    path.write_bytes(before + b'{"op_code": 4, "x": "' + b"a" * length)
    study.set_user_attr("after", 1)
    lines = path.read_bytes()
    assert lines.startswith(before)
    assert b"aaaa" not in lines
    plain = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    assert plain.user_attrs == {"after": 1}


def test_nothing_of_a_line_without_room_stays(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = tmp_path / "s.log", os.fsync
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(StudyError, match=r"failed: No space left on device$"),
        clear_errors(f"journal:///{path}"),
    ):
        study.set_user_attr("lost", 1)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.lock"))
    monkeypatch.setattr(os, "fsync", real)
    study.set_user_attr("kept", 2)
    assert study.user_attrs == {"kept": 2}


def test_a_line_that_is_no_json_is_one_line(study: optuna.Study, tmp_path: Path) -> None:
    path = tmp_path / "s.log"
    path.write_bytes(path.read_bytes() + b"{broken\n{}\n")
    with pytest.raises(StudyError, match=r"can't be opened: a line of it can't be read"):
        open_storage(f"journal:///{path}")


def test_a_lock_that_was_taken_from_us_does_no_harm(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, real = Journal(tmp_path / "s.log"), os.fsync

    def taken(descriptor: int) -> None:
        real(descriptor)
        (tmp_path / "s.log.lock").unlink()

    monkeypatch.setattr(os, "fsync", taken)
    journal.append_logs([{"op_code": 2, "worker_id": "w", "study_id": 0, "user_attr": {"k": 1}}])
    monkeypatch.setattr(os, "fsync", real)
    assert study.user_attrs == {"k": 1}


def line(name: str, value: str) -> dict[str, object]:
    return {"op_code": 2, "worker_id": name, "study_id": 0, "user_attr": {name: value}}


@pytest.mark.parametrize("torn", [False, True])
def test_a_writer_that_was_stopped_overwrites_nothing(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    """Between its look for the end and its write another one takes its lock, and writes."""
    path = tmp_path / "s.log"
    slow, other, real = Journal(path), Journal(path), journal_module._whole_lines
    if torn:
        path.write_bytes(path.read_bytes() + b'{"op_code": 4, "x": "')

    def stopped(descriptor: int) -> tuple[int, int]:
        found = real(descriptor)
        monkeypatch.setattr(journal_module, "_whole_lines", real)
        (tmp_path / "s.log.lock").unlink()
        other.append_logs([line("other", "x" * 10)])
        return found

    monkeypatch.setattr(journal_module, "_whole_lines", stopped)
    slow.append_logs([line("slow", "y")])
    assert study.user_attrs == {"other": "x" * 10, "slow": "y"}


def test_a_writer_that_was_stopped_and_meets_a_full_disk_takes_nothing_of_others(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real, looked = tmp_path / "s.log", os.fsync, journal_module._whole_lines
    slow, other = Journal(path), Journal(path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def stopped(descriptor: int) -> tuple[int, int]:
        found = looked(descriptor)
        monkeypatch.setattr(journal_module, "_whole_lines", looked)
        (tmp_path / "s.log.lock").unlink()
        other.append_logs([line("other", "x")])
        monkeypatch.setattr(os, "fsync", full)
        return found

    monkeypatch.setattr(journal_module, "_whole_lines", stopped)
    with pytest.raises(OSError, match="No space left"):
        slow.append_logs([line("slow", "y")])
    monkeypatch.setattr(os, "fsync", real)
    assert study.user_attrs["other"] == "x"


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[1,2]",
        "null",
        '"x"',
        "{}",
        '{"op_code":8}',
        '{"op_code":77,"worker_id":"w"}',
        '{"op_code":"x"}',
        '{"op_code":8,"worker_id":"w","trial_id":"no","user_attr":{"k":1}}',
        '{"op_code":8,"worker_id":"w","trial_id":0,"user_attr":{}}',
        '{"op_code":0,"worker_id":"w","study_name":"t","directions":[9]}',
        '{"op_code":4,"worker_id":"w","study_id":0,"datetime_start":"yesterday"}',
        '{"op_code":5,"worker_id":"w","trial_id":0,"param_name":"x","param_value_internal":9,'
        '"distribution":"{}"}',
        '{"op_code":6,"worker_id":"w","trial_id":0,"state":7,"values":null}',
        '{"op_code":2,"worker_id":"w","study_id":0,"user_attr":{"k":'
        + "[" * 300
        + "]" * 300
        + "}}",
        "[" * 100_000 + "]" * 100_000,
    ],
)
def test_a_line_that_is_no_operation_is_set_aside_with_one_warning(
    study: optuna.Study, tmp_path: Path, line: str
) -> None:
    path = tmp_path / "s.log"
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with path.open("a") as file:
        file.write(f"{line}\n" * 2)
    study.set_user_attr("after", 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        again = optuna.load_study(study_name="s", storage=open_storage(f"journal:///{path}"))
        assert again.user_attrs == {"after": 1}
        again.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    (said,) = [str(w.message) for w in seen if w.category is StudyWarning]
    assert said.startswith("line 5 of the journal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StudyWarning)
        assert len(again.trials) == len(study.trials) == 2
