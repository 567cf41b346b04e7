"""Every argument of the public functions, given what it can't be: one line that names it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nfopt
from nfopt import api
from nfopt.errors import NfoptError
from nfopt.study.calls import checked, written

X = np.random.default_rng(0).normal(size=(80, 3))
WRONG = (-1, 1.5, float("nan"), b"x", [1, "a"], {"q": 1}, object(), {1, 2})


class Begun(Exception):
    """The work would have begun."""


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(*args: object, **options: object) -> None:
        raise Begun

    for name in ("run_fit", "run_search"):
        monkeypatch.setattr(api, name, begin)


ARGUMENTS = [
    (function, name)
    for function in ("fit", "search")
    for name in inspect.signature(getattr(nfopt, function)).parameters
    if name not in ("data", "study", "storage")  # looked at where the study is made
]


@pytest.mark.parametrize(("function", "name"), ARGUMENTS)
def test_a_wrong_argument_is_named(function: str, name: str, idle: None) -> None:
    said: list[str] = []
    for value in WRONG:
        try:
            getattr(nfopt, function)(X, **{name: value})
        except Begun:
            continue
        except (ValueError, TypeError, NfoptError) as error:
            said.append(str(error))
    assert [text for text in said if "`" not in text or "\n" in text] == []
    assert len(said) >= 4


def test_what_fits_passes() -> None:
    @checked
    def call(**given: Any) -> dict[str, Any]:
        return given

    for given in (
        {"columns": ["a", 1], "context": "b", "log": np.array(["a", "b"])},
        {"columns": 0, "dequantise": {"a": 1.0}, "bounds": {"a": (0, None)}},
        {"dequantise": False, "lease": 3, "workers": np.int64(2), "out": "x", "flow": "x.json"},
        {"space": ["coupling", "depth=[1,2]"], "objectives": ["nll"], "pictures": None},
    ):
        assert call(**given) == given
    with pytest.raises(TypeError, match=r"`columns` must be a column's name .* got \{'a'\}"):
        call(columns={"a"})  # a set has no order, so a flow's columns would differ between runs


@pytest.mark.parametrize("pair", [(float("nan"), 1), (0, float("nan")), ("0", 1), "01", 3])
def test_bounds_that_are_no_numbers(pair: Any, idle: None) -> None:
    with pytest.raises(ValueError, match="`bounds` of column 'x0' must be two numbers"):
        nfopt.fit(X, bounds={"x0": pair})


def test_a_call_is_written_down_as_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(data: Any, *, trials: int | None = None, out: Path | None = None, **more: Any) -> str:
        return written(nfopt.search, {"data": data, "trials": trials, "out": out, **more})

    assert made("a.csv", trials=3, out=Path("x y")) == "nfopt.search('a.csv', trials=3, out='x y')"
    assert made(np.ones((3, 2)), report=True) == "nfopt.search(data)"
    options = {"columns": ["a", "b"], "bounds": {"a": (0, 1)}}
    assert made("a.csv", data_options=options) == (
        "nfopt.search('a.csv', columns=['a', 'b'], bounds=bounds)"
    )
    url = "postgresql://me:secret@host/db"
    assert made("a.csv", storage=url) == (
        "nfopt.search('a.csv', storage='postgresql://me:***@host/db')"
    )
    argv = ["/usr/bin/nfopt", "search", "my data.csv", f"--storage={url}"]
    monkeypatch.setattr("sys.argv", argv)
    assert made("my data.csv", storage=url) == (
        "nfopt search 'my data.csv' --storage=postgresql://me:***@host/db"
    )
    monkeypatch.setattr("sys.argv", ["/lib/nfopt/__main__.py", "fit", "magic"])
    assert made("magic") == "nfopt fit magic"
