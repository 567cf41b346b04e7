"""``nfopt worker``: mistakes are one line; a study's budget is met."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nfopt.cli import run
from nfopt.cli.failures import CtrlC
from nfopt.signals import listening


def test_a_study_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["worker", "none", "--storage", f"sqlite:///{tmp_path}/none.db"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: `--study` 'none' is not in `--storage`")


def test_wrong_values_name_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        (["search", "moons", "--workers", "0"], "--workers"),
        (["search", "moons", "--lease", "0.1"], "`--lease` must be at least 1 second"),
        (
            ["search", "moons", "--artifacts", "s3://"],
            "`--artifacts` must be a folder or s3://BUCKET",
        ),
    ):
        assert run(arguments) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_second_signal_ends_the_process_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    before = signal.signal(signal.SIGINT, CtrlC())
    try:
        with listening() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.reason == "SIGINT"
            with pytest.raises(KeyboardInterrupt):  # where `_exit` does not end it
                os.kill(os.getpid(), signal.SIGINT)
        assert ended == [130]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
