"""Row numbers are no feature: left out without a name or with an index's, else kept and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nfopt.data import Table, load, load_rows
from nfopt.errors import DataError

ROWS = 80
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 2))
FRAME = pd.DataFrame(X, columns=["a", "b"])
UP, DOWN, MIXED = np.arange(ROWS), np.arange(ROWS, 0, -1), RNG.permutation(ROWS) + 1000
SOME = np.sort(RNG.choice(10 * ROWS, ROWS, replace=False))


def _load(source: Any, **options: Any) -> tuple[Table, list[str]]:
    found: list[str] = []
    return load(source, on_warning=found.append, dequantise=False, **options), found


@pytest.mark.parametrize("numbers", [UP, UP + 1, DOWN, MIXED], ids=["up", "R", "down", "shuffled"])
@pytest.mark.parametrize(
    "name",
    ["", "Unnamed: 0", "Unnamed: 0.1", "index", "id", "ID", "rownames", "row_id", "level_0", "X"],
)
def test_an_index_is_left_out_and_said(name: str, numbers: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    frame = FRAME.copy()
    frame.insert(1, name, numbers)
    frame.to_csv(path, index=False)
    table, found = _load(path)
    assert table.columns == ("a", "b")
    np.testing.assert_array_equal(table.values, X)
    assert table.origin is not None
    assert table.origin.left_out == (name or "unnamed",)
    assert len(found) == 1
    assert f"{name or 'unnamed'!r} only counts the rows, and was left out" in found[0]
    assert "`columns`" in found[0]
    asked, found = _load(path, columns=["a", name or "unnamed"])
    assert asked.columns == ("a", name or "unnamed")
    assert "learned all the same" in found[0]


def test_part_of_a_saved_index_has_gaps(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME.set_index(SOME).to_csv(path)
    assert _load(path)[0].columns == ("a", "b")
    FRAME.assign(id=SOME).to_csv(path, index=False)  # a name that may be something else
    assert _load(path)[0].columns == ("a", "b", "id")


def test_another_name_is_kept_and_said() -> None:
    table, found = _load(FRAME.assign(day=MIXED))
    assert table.columns == ("a", "b", "day")
    assert len(found) == 1
    assert "'day' only counts the rows (consecutive whole numbers)" in found[0]
    _, found = _load(FRAME.assign(day=MIXED), context="day")
    assert found == ["context column 'day' only counts the rows"]
    for values in (UP * 2, UP + 0.5, np.where(UP == 3, 4, UP)):
        assert _load(FRAME.assign(id=values))[1] == []


def test_what_is_named_for_something_stays() -> None:
    frame = FRAME.assign(id=UP + 1)
    assert _load(frame, log="id")[0].columns == ("a", "b", "id")
    assert _load(frame, bounds={"id": (0, None)})[0].columns == ("a", "b", "id")
    assert load(frame, dequantise={"id": 1.0}, on_warning=lambda text: None).features == 3
    assert _load(UP[:, None])[0].features == 1  # something must be learned


@pytest.mark.parametrize("at", [0, 1, 2])
def test_rows_to_score_come_with_it_or_without(at: int, tmp_path: Path) -> None:
    whole = np.insert(X, at, UP, axis=1)
    table, _ = _load(whole)
    assert table.columns == tuple(f"x{k}" for k in range(3) if k != at)
    for rows in (whole[5:7], X[5:7]):
        values, _ = load_rows(rows, columns=table.columns, origin=table.origin)
        np.testing.assert_array_equal(values, X[5:7])
    names = ["a", "b"]
    names.insert(at, "id")
    named = pd.DataFrame(whole, columns=names)
    table, _ = _load(named)
    path = tmp_path / "t.csv"
    for frame in (named[5:7], FRAME[5:7]):
        for header in (True, False):
            frame.to_csv(path, index=False, header=header)
            values, _ = load_rows(path, columns=("a", "b"), origin=table.origin, header=header)
            np.testing.assert_array_equal(values, X[5:7])
    with pytest.raises(DataError, match=r"must have 2 columns, got 1"):
        load_rows(X[:3, :1], columns=("a", "b"), origin=table.origin)


def test_rows_that_are_dropped_do_not_hide_it() -> None:
    frame = FRAME.assign(id=UP)
    frame.loc[3, "a"] = np.nan
    table, found = _load(frame, drop_rows=True)
    assert table.columns == ("a", "b")
    assert table.rows == ROWS - 1
    assert len(found) == 2
