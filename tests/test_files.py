"""A file is there whole, or as it was, and every file that nfopt saves can be read by the same."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

import nfopt
from nfopt.cli.output import write_rows
from nfopt.distributed import checkpoints
from nfopt.distributed.artifacts import artifact_store, put
from nfopt.files import TemporaryFolder, remove_abandoned, remove_unfinished, replacing
from nfopt.training import checkpoint

PACKAGE = Path(nfopt.__file__).parent


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    for text in ("old", "new"):
        with replacing(path) as beside:
            beside.write_text(text)
            assert not path.exists() or path.read_text() == "old"
        assert path.read_text() == text
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_an_error_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as beside:
            beside.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_files_neither_is_put_in_place_if_one_fails(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"

    def write() -> None:
        with replacing(first) as one, replacing(second) as two:
            one.write_text("1")
            two.write_text("2")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with replacing(tmp_path / "link") as beside:
        beside.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_what_is_no_file_is_written_to_itself(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with replacing(tmp_path / "pipe") as given:
        assert given == tmp_path / "pipe"
    with pytest.raises(IsADirectoryError), replacing(tmp_path) as given:
        given.write_text("new")


def _checkpoint(folder: Path) -> None:
    state = checkpoint.RunState(identity="", elapsed=0.0, records=[], parts=[])
    checkpoint.save(folder / "one", state, {"x": torch.zeros(2)})


SAVED: dict[str, Callable[[Path], object]] = {
    "checkpoint": _checkpoint,
    "rows": lambda folder: write_rows(np.zeros((2, 1)), ["x"], folder / "rows.csv"),
    "artifact": lambda folder: put(artifact_store(folder), "one", b"1"),
}


@pytest.mark.parametrize("kind", SAVED)
def test_who_may_read_a_saved_file_follows_the_umask(kind: str, umask: int, tmp_path: Path) -> None:
    SAVED[kind](tmp_path)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    assert modes
    assert set(modes.values()) == {0o666 & ~umask}


def test_there_is_one_way_to_put_a_file_in_place() -> None:
    others = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        if any("getpid" in ast.unparse(text) for text in texts) and path.name != "files.py":
            others.append(str(path.relative_to(PACKAGE)))
    assert others == ["runner/engines/local_workers.py"]  # which tells a worker who its parent is


# -------------------------------------------------------------------------- what is left behind

KILLED = """
import os, signal
from nfopt.files import TemporaryFolder
folder = TemporaryFolder()
open(folder.name + "/weights", "w").write("x")
print(folder.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_run_removes_the_folders_of_one_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    ended = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    left = Path(ended.stdout.strip())
    assert left.parent == tmp_path
    assert (left / "weights").exists()
    (tmp_path / "nfopt-mine").mkdir()  # a user's own: nothing in it says that a run made it
    (tmp_path / "nfopt-link").symlink_to(tmp_path / "nfopt-mine")
    with TemporaryFolder() as lives:
        remove_abandoned()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            ["nfopt-mine", "nfopt-link", Path(lives).name]
        )
    remove_abandoned()
    assert not Path(lives).exists()


def test_a_worker_removes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = list[bool]()
    monkeypatch.setattr(checkpoints, "remove_abandoned", lambda: called.append(True))
    study = optuna.create_study()
    checkpoints.Checkpoints(study, None, print).close()  # type: ignore[arg-type]
    assert called


def test_what_was_being_written_is_removed_once_its_process_is_gone(tmp_path: Path) -> None:
    gone, recent, mine = (tmp_path / f".flow.json.{end}" for end in ("4194305", "4194306", "x"))
    lives, other = tmp_path / f".flow.json.{os.getpid()}", tmp_path / "flow.json.4194305"
    for path in (gone, recent, mine, lives, other):
        path.write_text("part")
        if path is not recent:
            os.utime(path, (0, 0))
    remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([recent, mine, lives, other])


def test_only_this_module_makes_temporary_folders() -> None:
    allowed = {"files.py", "cli/output.py"}
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() not in allowed:
            assert "TemporaryDirectory(" not in path.read_text(), path
