"""Bad input, tried as a new user would, on the command line and in Python.

Each case ends with exit code 2 (in Python: ValueError, TypeError or NfoptError) and one line that
names what is wrong; nothing is written, and what was stored stays as it was.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nfopt
from nfopt.cli import run
from nfopt.errors import NfoptError
from nfopt.recipes import autoregressive

from .house import furnish, snapshot

X = np.random.default_rng(1).normal(size=(200, 3))


def _files(folder: Path) -> None:
    """What else lies about in a new user's folder."""
    (folder / "empty.csv").write_text("")
    (folder / "words.csv").write_text("a,b\n" + "red,1\n" * 80)
    (folder / "short.csv").write_text("a,b\n" + "1,2\n" * 10)
    rows = "".join(f"{i},{i * i}\n" for i in range(80))
    (folder / "holes.csv").write_text(f"a,b\n{rows},3\n")
    (folder / "table.xlsx").write_text("a")
    (folder / "notes.txt").write_text("no database, but longer than one's head " * 99)
    (folder / "wrong.toml").write_text("deepth = [1, 4]\n")
    (folder / "empty_range.toml").write_text("depth = [4, 1]\n")
    (folder / "no.toml").write_text("depth = = 4\n")
    (folder / "spec.json").write_text('{"features": 4, "layers": [{"kind": "warp"}], "version": 1}')
    (folder / "other.json").write_text(autoregressive(9, depth=1, width=8).to_json())
    (folder / "hollow").mkdir()
    broken = folder / "broken"
    broken.mkdir()
    (broken / "flow.json").write_text("{}")
    (broken / "flow.safetensors").write_bytes(b"no weights")
    one = pd.DataFrame({"a": np.random.default_rng(0).normal(size=80)})
    one.to_csv(folder / "one column.csv", index=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a user's folder")
    furnish(folder, study=True)
    _files(folder)
    return folder


@pytest.fixture
def unchanged(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, which must be the same after the test; nothing may be trained there."""

    def refuse(*args: object, **keywords: object) -> None:
        raise AssertionError("it was not refused before the training")

    monkeypatch.setattr("nfopt.study.stacks.train", refuse)
    monkeypatch.chdir(home)
    monkeypatch.delenv("NFOPT_STORAGE", raising=False)
    before = snapshot(home)
    yield home
    assert snapshot(home) == before


# The words of a command line, and what the line must say.
COMMANDS: dict[str, tuple[str, list[str]]] = {
    # the command line itself
    "command misspelt": ("serch data.csv", ["'serch'", "'search'"]),
    "no data": ("search", ["Missing argument 'DATA'", "nfopt search --help"]),
    "two tables": ("search data.csv more.csv", ["unexpected", "more.csv"]),
    "option misspelt": ("search data.csv --trails 3", ["--trails", "--trials"]),
    "option without value": ("search data.csv --trials", ["--trials"]),
    # budgets and numbers
    "minutes negative": ("search data.csv --minutes -3", ["`--minutes`", "'-3'"]),
    "minutes no number": ("fit data.csv --minutes soon", ["`--minutes`", "'soon'"]),
    "minutes not finite": ("fit data.csv --minutes inf", ["`--minutes`", "'inf'"]),
    "trials 0": ("search data.csv --trials 0", ["`--trials`", "at least 1", "'0'"]),
    "trials no whole number": ("search data.csv --trials 2.5", ["`--trials`", "'2.5'"]),
    "members 0": ("fit data.csv --members 0", ["`--members`", "'0'"]),
    "threads 0": ("fit data.csv --threads 0", ["`--threads`", "'0'"]),
    "seed negative": ("search data.csv --seed -1", ["`--seed`", "'-1'"]),
    "device unknown": ("fit data.csv --device abacus", ["`--device`", "'abacus'"]),
    # what is searched
    "sampler unknown": ("search data.csv --sampler tpo", ["`--sampler`", "tpe", "'tpo'"]),
    "encoding unknown": ("search data.csv --encoding bit", ["`--encoding`", "bits", "'bit'"]),
    "objective unknown": ("search data.csv --objectives nll,size", ["`--objectives`", "size"]),
    "objectives without nll": ("search data.csv --objectives parameters", ["`--objectives`"]),
    "space unknown": ("search data.csv --space cupling", ["`--space`", "'cupling'", "coupling"]),
    "space file missing": ("search data.csv --space no-such.toml", ["`--space`", "no-such.toml"]),
    "space, wrong key": ("search data.csv --space wrong.toml", ["`deepth`", "`depth`"]),
    "space, empty range": ("search data.csv --space empty_range.toml", ["`depth`", "[4, 1]"]),
    "space, no TOML": ("search data.csv --space no.toml", ["`--space`", "'no.toml'"]),
    "coupling of one column": (
        "search one%20column.csv --space coupling",
        ["coupling", "at least 2 features"],
    ),
    "initial, missing": ("search data.csv --initial nix.json", ["`--initial`", "'nix.json'"]),
    "initial, unknown layer": ("search data.csv --initial spec.json", ["`--initial`", "warp"]),
    "initial, other shape": ("search data.csv --initial other.json", ["`--initial`", "9", "4"]),
    # data
    "no such file": ("search nowhere.csv", ["no file 'nowhere.csv'"]),
    "data set misspelt": ("search magik", ["'magik'", "did you mean 'magic'?"]),
    "a folder as data": ("fit hollow", ["'hollow'", "directory"]),
    "empty file": ("fit empty.csv", ["'empty.csv'", "empty"]),
    "ending unknown": ("fit table.xlsx", ["'table.xlsx'", ".csv"]),
    "words in a column": ("fit words.csv", ["'a'", "not numeric", "'red'"]),
    "too few rows": ("fit short.csv", ["10 rows", "50"]),
    "holes": ("fit holes.csv", ["'a'", "row 80", "--drop-rows"]),
    "column misspelt": ("fit data.csv --columns a,b,grösse", ["`--columns`", "'größe'"]),
    "column position": ("fit data.csv --columns 0,9", ["`--columns`", "9"]),
    "column twice": ("fit data.csv --columns a,a,b", ["`--columns`", "'a'", "twice"]),
    "column empty": ("fit data.csv --columns a,,b", ["`--columns`", "'a,,b'"]),
    "context is everything": ("fit data.csv --context a,b,c,größe", ["no feature column left"]),
    "context is a feature": ("fit data.csv --columns a,b --context b", ["'b'", "context"]),
    "bounds without ends": ("fit data.csv --bounds a", ["`--bounds`", "COL=LOW:HIGH", "'a'"]),
    "bounds no numbers": ("fit data.csv --bounds a=low:high", ["`--bounds`", "'a=low:high'"]),
    "bounds fall": ("fit data.csv --bounds a=9:1", ["`--bounds`", "'a'", "rise"]),
    "bounds too narrow": ("fit data.csv --bounds a=0:1", ["'a'", "not strictly inside"]),
    "bounds of a stranger": ("fit data.csv --bounds d=0:1", ["`--bounds`", "'d'"]),
    "log of negatives": ("fit data.csv --log a", ["'a'", "`--log`"]),
    "weights unknown": ("fit data.csv --weights w", ["`--weights`", "'w'"]),
    "weights negative": ("fit data.csv --weights a", ["`--weights`", "negative"]),
    "split unknown": ("fit data.csv --split groups:a", ["`--split`", "group:COLUMN"]),
    "split, no column": ("fit data.csv --split group:d", ["`--split group:COLUMN`", "'d'"]),
    # where it goes
    "out is a file": ("fit data.csv --out data.csv", ["`--out`", "'data.csv'", "is a file"]),
    "out in a file": ("fit data.csv --out data.csv/flow", ["`--out`", "'data.csv'"]),
    "out can't be made": ("fit data.csv --out /proc/none/flow", ["`--out`", "/proc"]),
    "study with a slash": ("search data.csv --study a/b", ["study", "'a/b'", "slash"]),
    "storage no URL": ("search data.csv --storage here.db", ["`--storage`", "sqlite:///"]),
    "storage no database": (
        "search data.csv --storage sqlite:///notes.txt",
        ["`--storage`", "notes.txt", "not a database"],
    ),
    "storage can't be made": (
        "search data.csv --storage sqlite:////proc/none/nfopt.db",
        ["`--storage`", "/proc/none"],
    ),
    "storage unreachable": (
        "search data.csv --storage postgresql+psycopg://me:sEcrEt@127.0.0.1:9/db",
        ["`--storage`", "me:***@127.0.0.1"],
    ),
    "storage unknown": ("status --storage oracel://me:sEcrEt@host/db", ["`--storage`", "***"]),
    # studies
    "other data": ("search data.csv --study toy --columns a,b", ["'toy'", "other data"]),
    "other space": ("search data.csv --study toy --space full", ["'toy'", "`--space`"]),
    "other objectives": (
        "search data.csv --study toy --objectives nll,parameters",
        ["'toy'", "objectives"],
    ),
    "no such study": ("status nix", ["'nix'", "toy"]),
    "no such storage": ("status toy --storage sqlite:///nix.db", ["'toy'", "nix.db"]),
    "no such trial": ("retrain toy --trial 99 --out x", ["`--trial` 99", "'toy'"]),
    "retrain without trial": ("retrain toy", ["--trial"]),
    "retrain on other data": ("retrain toy --trial 0 --data short.csv", ["10 rows"]),
    # saved flows
    "no model there": ("score nix data.csv", ["MODEL 'nix'", "flow.json"]),
    "model is a hollow folder": ("sample hollow", ["'hollow'", "no trained flow"]),
    "model is broken": ("export broken --to zuko", ["'broken'", "can't be read"]),
    "model is a table": ("score data.csv data.csv", ["'data.csv'", "no trained flow"]),
    "rows lack columns": ("score model context.csv", ["'a', 'b'", "'c'"]),
    "score has holes": ("score model holes.csv", ["'a'", "row 80"]),
    "scores to .txt": ("score model data.csv --out s.txt", ["`--out`", ".csv", "'s.txt'"]),
    "rows 0": ("sample model --rows 0", ["`--rows`", "'0'"]),
    "rows to a folder": ("sample model --out hollow", ["`--out`", "'hollow'", "folder"]),
    "rows to nowhere": ("sample model --out nix/new.csv", ["`--out`", "'nix'"]),
    "no context given": ("sample conditional", ["`--context`", "columns c"]),
    "context not wanted": ("sample model --context context.csv", ["`--context`", "without"]),
    "context and rows": (
        "sample conditional --context context.csv --rows 7",
        ["`--rows`", "300", "7"],
    ),
    # comparisons
    "method unknown": ("compare data.csv --methods fit,flowjax", ["`--methods`", "'flowjax'"]),
    "method empty": ("compare data.csv --methods fit,,zuko", ["`--methods`", "'fit,,zuko'"]),
    "minutes of a method": ("compare data.csv --minutes 0", ["`--minutes`", "'0'"]),
    "weights of a comparison": ("compare data.csv --weights a", ["`--weights`", "'a'"]),
    "no table to compare on": ("compare nowhere.csv", ["no file 'nowhere.csv'"]),
    "plot to .pdf": ("compare data.csv --plot x.pdf", ["`--plot`", ".png", "'x.pdf'"]),
    "plot to a folder": ("compare data.csv --plot hollow", ["`--plot`", "'hollow'", "folder"]),
    "plot to nowhere": ("compare data.csv --plot nix/x.png", ["`--plot`", "'nix'"]),
    "export unknown": ("export model --to nflow", ["`--to`", "zuko", "'nflow'"]),
}


@pytest.mark.parametrize(("words", "said"), COMMANDS.values(), ids=COMMANDS.keys())
def test_a_command_says_it_in_one_line(
    words: str, said: list[str], unchanged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run([word.replace("%20", " ") for word in words.split()])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert err.startswith("Error: ")
    assert err.count("\n") == 1, err
    assert [part for part in said if part not in err] == [], err
    assert "sEcrEt" not in err


def _study(**options: Any) -> Callable[[], object]:
    given = {"trials": 1, "storage": "sqlite:///nfopt-runs/nfopt.db", **options}
    return lambda: nfopt.search("data.csv", **given)


CALLS: dict[str, tuple[Callable[[], object], list[str]]] = {
    "list of words": (lambda: nfopt.fit(["a", "b"]), []),
    "nothing": (lambda: nfopt.fit(None), ["NoneType"]),
    "three axes": (lambda: nfopt.fit(np.zeros((60, 2, 2))), ["(60, 2, 2)"]),
    "nan": (lambda: nfopt.fit(np.where(X > 2, np.nan, X)), ["drop_rows"]),
    "complex": (lambda: nfopt.fit(X + 1j), ["complex"]),
    "constant": (lambda: nfopt.fit(np.ones((99, 2))), ["constant"]),
    "members": (lambda: nfopt.fit(X, members=0), ["`members`", "0"]),
    "minutes": (lambda: nfopt.fit(X, minutes=0), ["`minutes`", "0"]),
    "minutes, a word": (lambda: nfopt.fit(X, minutes="2"), ["`minutes`", "'2'"]),  # type: ignore[arg-type]
    "seed": (lambda: nfopt.fit(X, seed=0.5), ["`seed`", "0.5"]),  # type: ignore[arg-type]
    "threads": (lambda: nfopt.fit(X, threads=-1), ["`threads`", "-1"]),
    "device": (lambda: nfopt.fit(X, device="cuda:99"), ["`device`", "cuda:99"]),
    "split": (lambda: nfopt.fit(X, split="thirds"), ["thirds", "random"]),  # type: ignore[arg-type]
    "weights": (lambda: nfopt.fit(X, weights=np.ones(7)), ["`weights`", "200", "(7,)"]),
    "trials": (_study(trials=0), ["`trials`", "0"]),
    "trials, no whole number": (_study(trials=1.5), ["`trials`", "1.5"]),
    "sampler": (_study(sampler="cmaes"), ["`sampler`", "'cmaes'"]),
    "encoding": (_study(encoding="bytes"), ["`encoding`", "bytes"]),
    "objectives": (_study(objectives=["speed"]), ["`objectives`", "speed"]),
    "space": (_study(space="ful"), ["`space`", "'ful'"]),
    "limits": (_study(space={"width": [64, 8]}), ["`width`", "64"]),
    "initial": (_study(initial=[3]), ["`initial`", "int"]),
    "study": (_study(study="toy", columns=["a", "b"]), ["'toy'", "other data"]),
    "storage": (_study(storage="nfopt.db"), ["`storage`", "'nfopt.db'"]),
    "load": (lambda: nfopt.load("nix"), ["'nix'", "flow.json"]),
    "load_study": (lambda: nfopt.load_study("nix"), ["`study` 'nix'", "toy"]),
    "width of rows": (lambda: nfopt.load("model").log_prob(X), ["`x`", "2 columns", "3"]),
    "rows": (lambda: nfopt.load("model").sample(-1), ["`n`", "-1"]),
}


@pytest.mark.parametrize(("call", "said"), CALLS.values(), ids=CALLS.keys())
def test_a_call_says_it_in_one_line(
    call: Callable[[], object], said: list[str], unchanged: Path
) -> None:
    with pytest.raises((ValueError, TypeError, NfoptError)) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert [part for part in said if part not in text] == [], text


# In a process of its own: what the shell sees.
@pytest.mark.parametrize("words", ["fit data.csv --minutes -1", "sample hollow"])
def test_the_shell_sees_it_too(words: str, unchanged: Path) -> None:
    code = "from nfopt.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
