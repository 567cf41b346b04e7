"""``nfopt report``: from the storage alone, and with a flow and a table that have moved."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from nfopt.cli import run

from .house import furnish


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house")
    furnish(folder, study=True)
    return folder


def test_a_report_has_the_flow_or_says_where_it_is(
    house: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house)
    assert run(["report", "toy"]) == 0
    whole = Path("nfopt-runs/toy/report.html").read_text(encoding="utf-8")
    for title in ("Data beside samples", "The fit in base space", "For a paper"):
        assert f"<h2>{title}</h2>" in whole
    assert "can&#x27;t be shown" not in whole
    assert capfd.readouterr().err == "written: nfopt-runs/toy/report.html\n"
    Path("found").rename("moved"), Path("data.csv").rename("elsewhere.csv")
    try:
        assert run(["report", "toy", "--out", "alone.html"]) == 0
        alone = Path("alone.html").read_text(encoding="utf-8")
        assert f"{house / 'found'} (not read here)" in alone
        assert "Data beside samples" not in alone
        assert run(["report", "toy", "--out", "again.html", "--model", "moved"]) == 0
        assert "Not drawn: there is no file" in Path("again.html").read_text(encoding="utf-8")
        assert "without pictures of the flow: there is no file" in capfd.readouterr().err
        moved = ["--model", "moved", "--data", "elsewhere.csv", "--out", "again.html"]
        assert run(["report", "toy", *moved]) == 0
        assert "Data beside samples" in Path("again.html").read_text(encoding="utf-8")
    finally:
        Path("moved").rename("found"), Path("elsewhere.csv").rename("data.csv")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "nowhere"], "`model` 'nowhere' can't be read as a flow"),
        (["--model", "model"], "`model` 'model' is a flow of other data than the study's."),
        (["--data", "context.csv"], "DATA 'context' is not what the study was made with"),
    ],
)
def test_what_is_given_must_be_the_studys(
    house: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch, more: list[str], said: str
) -> None:
    monkeypatch.chdir(house)
    assert run(["report", "toy", "--out", "none.html", *more]) == 2
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not Path("none.html").exists()


def test_the_command_is_kept_with_the_flow(
    house: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    import nfopt

    monkeypatch.chdir(house)
    words = ["fit", "data.csv", "--members", "1", "--out", "own"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/nfopt", *words])
    with pytest.MonkeyPatch.context() as patch:
        from .house import tiny_recipes

        tiny_recipes(patch)
        assert run([*words, "--json"]) == 0
    assert nfopt.load("own").info["command"] == "nfopt fit data.csv --members 1 --out own"
    assert "nfopt fit data.csv --members 1" in Path("own/report.html").read_text(encoding="utf-8")
