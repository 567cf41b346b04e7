"""``nfopt autonf`` on a small table, and its mistakes in one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nfopt.cli import run

from .house import furnish, snapshot

WORDS = ("autonf", "data.csv", "--threads", "1", "--layers", "2")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    furnish(tmp_path, study=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NFOPT_STORAGE", raising=False)
    return tmp_path


@pytest.mark.slow
def test_a_flow_is_found_and_saved(home: Path, capfd: Any) -> None:
    words = [*WORDS, "--minutes", "0.1", "--cost", "inverse", "--price", "0,0.1", "--json"]
    assert run(words) == 0
    out, _ = capfd.readouterr()
    told = json.loads(out)
    assert told["study"] == "data-autonf"
    assert told["trials"] == 2
    assert 1 <= len(told["front"]) <= 2
    assert (home / "nfopt-runs" / "data-autonf" / "flow.json").is_file()
    costs = json.loads((home / "cache" / "nfopt" / "costs.json").read_text())
    assert {entry["direction"] for entry in costs["entries"]} == {"inverse"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--options", ""], "`--options` must name at least two"),
        (["--options", "planar"], "`--options` has one option, 'planar'"),
        (["--options", "planar,plane"], "'plane'"),
        (["--columns", "a"], "needs at least 2 features"),
        (["--price", "0.1"], "`--cost` must be given with `--price`"),
        (["--price", "-1", "--cost", "train"], "`--price` must be a number of at least 0"),
        (["--price", "1", "--target-cost", "2", "--cost", "train"], "must not both be given"),
        (["--target-cost", "0", "--cost", "train"], "`--target-cost` must be positive"),
        (["--cost", "money"], "`--cost` must be train"),
        (["--method", "magic"], "`--method` must be gradient or halving"),
        (["--layers", "0"], "`--layers` must be a whole number"),
        (["--layers", "65"], "`--layers` must be from 1 to 64"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    home: Path, capfd: Any, words: list[str], said: str
) -> None:
    before = snapshot(home)
    assert run([*WORDS, *words]) == 2
    _, error = capfd.readouterr()
    assert said in error
    assert error.strip().splitlines()[-1].startswith("Error: ")
    assert snapshot(home) == before
