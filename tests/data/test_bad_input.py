"""Bad input, tried as a new user would: one line that names what is wrong."""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nfopt.data import Preprocessing, Split, load, prepare, split
from nfopt.errors import DataError, DataWarning, NfoptError

X = np.random.default_rng(1).normal(size=(200, 3))
GOOD = pd.DataFrame(X, columns=["a", "b", "c"])


def _with(column: str, rows: list[int], value: object) -> pd.DataFrame:
    frame = GOOD.astype(object) if isinstance(value, str | complex) else GOOD.copy()
    for row in rows:
        frame.loc[row, column] = value
    return frame


def _set(row: int, column: int, value: float) -> Any:
    changed = X.copy()
    changed[row, column] = value
    return changed


def _text(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def _lines(rows: int = 60) -> str:
    return "a,b,c\n" + "".join(f"{i},{i * i},{(7 * i) % 60}.5\n" for i in range(rows))


def _file(name: str, action: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        action(folder / name)
        return folder / name

    return make


def _npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


OBJECTS = np.array([[1, "a"], [None, 2.0]] * 40, dtype=object)

# What is given (a value, or a function of a folder), options of load, what the message says.
CASES: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "missing file": ("nowhere/t.csv", {}, ["no file 'nowhere/t.csv'"]),
    "missing file, bare": ("nowhere.csv", {}, ["no file 'nowhere.csv'"]),
    "unknown data set": ("magik", {}, ["'magik'", "did you mean 'magic'?"]),
    "parameter of a set": ("moons:radius=2", {}, ["no parameter 'radius'", "n, seed, noise"]),
    "parameter, no number": ("sparse_graph:D=many", {}, ["'D'", "an integer", "'many'"]),
    "parameter out of range": ("sparse_graph:D=2000", {}, ["'D'", "from 1 to 1024"]),
    "set without parameters": ("magic:n=5", {}, ["takes no parameters"]),
    "much too long a name": ("x" * 5000 + ".csv", {}, ["cannot be read"]),
    "open quote": (_text("t.csv", 'a,b\n"1,2\n' + "3,4\n" * 99), {}, ["t.csv", "cannot be read"]),
    "one endless line": (_text("t.csv", '"' + "a" * 200_000), {}, ["cannot be read"]),
    "directory": (lambda folder: folder, {}, ["is a directory"]),
    "unknown ending": (_text("t.xlsx", "x"), {}, ["'t.xlsx'", ".parquet"]),
    "no bytes": (_text("t.csv", ""), {}, ["is empty"]),
    "blank lines": (_text("t.csv", "\n\n\n"), {}, ["is empty"]),
    "only a header": (_text("t.csv", "a,b\n"), {}, ["is empty", "header without rows"]),
    "no header": (
        _text("t.csv", _lines().partition("\n")[2]),
        {},
        ["first line of 't.csv' holds numbers (0, 0, 0.5)", "--no-header"],
    ),
    "header taken for data": (
        _text("t.csv", _lines()),
        {"header": False},
        ["'x0' is not numeric in row 0", "'a'"],
    ),
    "too long a line": (
        _text("t.csv", _lines() + "1,2,3,4\n"),
        {},
        ["ragged", "line 62", "saw 4"],
    ),
    "all lines too long": (
        _text("t.csv", "a,b\n" + "1,2,3\n" * 60),
        {},
        ["ragged", "more fields than the 2"],
    ),
    "too short a line": (
        _text("t.csv", _lines() + "1,2\n" + "4,5,6\n"),
        {},
        ["ragged", "row 60", "2 fields"],
    ),
    "duplicate name": (_text("t.csv", "a,b,a\n1,2,3\n"), {}, ["duplicate column name", "'a'"]),
    "duplicate name, frame": (
        GOOD.set_axis(["a", "b", "a"], axis=1),
        {},
        ["duplicate column name", "'a'"],
    ),
    "duplicate content": (GOOD.assign(d=GOOD["b"]), {}, ["'d' is a duplicate column", "'b'"]),
    "parquet named csv": (
        _file("t.csv", lambda p: GOOD.to_parquet(p)),
        {},
        ["'t.csv' is not CSV", "holds Parquet"],
    ),
    "csv named parquet": (_text("t.parquet", _lines()), {}, ["'t.parquet' is not Parquet"]),
    "csv named npy": (_text("t.npy", _lines()), {}, ["'t.npy' is not NPY"]),
    "npy named npz": (_file("t.npz", _npy), {}, ["'t.npz' is not NPZ", "holds NPY"]),
    "csv named gz": (_text("t.csv.gz", _lines()), {}, ["'t.csv.gz' is not gzip"]),
    "gzip cut off": (
        _text("t.csv.gz", gzip.compress(_lines(3000).encode())[:-900]),
        {},
        ["t.csv.gz", "cannot be read"],
    ),
    "not text": (_text("t.csv", bytes(range(128, 256)) * 9), {}, ["not CSV", "not UTF-8"]),
    "binary": (_text("t.csv", b"a\x00b\x01\n" * 99), {}, ["not CSV", "binary"]),
    "parquet cut off": (_text("t.parquet", b"PAR1" + b"\x00" * 90), {}, ["cannot be read"]),
    "npz cut off": (_text("t.npz", b"PK\x03\x04" + b"\x00" * 90), {}, ["cannot be read"]),
    "npy cut off": (_text("t.npy", b"\x93NUMPY\x01\x00"), {}, ["cannot be read"]),
    "pickled objects": (
        _file("t.npy", lambda p: np.save(p, OBJECTS, allow_pickle=True)),
        {},
        ["t.npy", "pickled", "never loaded"],
    ),
    "pickled objects, npz": (
        _file("t.npz", lambda p: np.savez(p, allow_pickle=True, rows=OBJECTS)),
        {},
        ["t.npz", "rows", "pickled"],
    ),
    "a pickle": (_text("t.npy", b"\x80\x04\x95rest of it"), {}, ["not NPY", "holds pickle"]),
    "npz of several": (
        _file("t.npz", lambda p: np.savez(p, x=X, y=X)),
        {},
        ["holds 2 arrays (x, y)", "train, val and test"],
    ),
    "npz of unequal parts": (
        _file("t.npz", lambda p: np.savez(p, train=X, val=X[:, :2], test=X)),
        {},
        ["differ in their columns", "val (200, 2)"],
    ),
    "text column": (_with("b", [3, 5], "red"), {}, ["'b'", "not numeric", "rows 3, 5", "'red'"]),
    "text columns": (
        GOOD.assign(kind="x", city=["Bonn", "Ulm"] * 100),
        {},
        ["columns 'kind', 'city' are not numeric", "'city' holds 200 values", "`columns` (a,b,c)"],
    ),
    "text columns of Parquet": (
        _file("t.parquet", lambda p: GOOD.assign(kind="x", city="Ulm").to_parquet(p)),
        {},
        ["columns 'kind', 'city' are not numeric", "`columns` (a,b,c)"],
    ),
    "a mark for what is missing": (
        _text("t.csv", "a,b\n?,1\n" + "".join(f"{i}.5,{i * i}\n" for i in range(90))),
        {},
        ["'a'", "row 0", "'?'", "if that stands for a missing value", "--drop-rows"],
    ),
    "thousands separators": (_with("c", [0], "1,234"), {}, ["'c'", "row 0", "'1,234'"]),
    "dates": (GOOD.assign(t=pd.date_range("2020", periods=200)), {}, ["'t'", "holds times"]),
    "text array": (X.astype("U8").astype(object) + "x", {}, ["'x0'", "not numeric"]),
    "complex": (X + 1j, {}, ["'x0' is complex"]),
    "complex in objects": (_with("a", [9], 1j), {}, ["'a' is complex in row 9"]),
    "nan": (_with("b", [7, 11], np.nan), {}, ["'b'", "NaN", "rows 7, 11", "--drop-rows"]),
    "nan in two columns": (
        _with("b", [7, 11], np.nan).assign(c=lambda t: t.c.where(t.index != 3)),
        {},
        ["3 of 200 rows", "columns 'b' (2), 'c' (1)", "row 3", "leaves 197 of 200", "(a)"],
    ),
    "infinite": (_set(4, 2, -np.inf), {}, ["'x2'", "infinite", "row 4"]),
    "a whole column of nan": (
        GOOD.assign(d=np.nan),
        {"drop_rows": True},
        ["'d'", "every row"],
    ),
    "dropped below 50": (
        _with("a", list(range(160)), np.nan),
        {"drop_rows": True},
        ["40 rows left", "at least 50"],
    ),
    "constant": (GOOD.assign(d=3.0), {}, ["'d' is constant", "3"]),
    "constant context": (GOOD.assign(d=3.0), {"context": "d"}, ["'d' is constant"]),
    "huge values": (_set(8, 1, 1e200), {}, ["'x1'", "1e150", "row 8"]),
    "few rows": (X[:49], {}, ["49 rows", "at least 50"]),
    "no rows": (np.empty((0, 3)), {}, ["empty", "(0, 3)"]),
    "no rows, list": ([], {}, ["empty"]),
    "no rows, frame": (GOOD[:0], {}, ["empty", "0 rows"]),
    "ragged list": ([[1.0, 2.0]] * 60 + [[1.0]], {}, ["ragged", "row 60"]),
    "ragged dict": ({"a": [1.0, 2.0], "b": [1.0]}, {}, ["dict"]),
    "3-D array": (X[None], {}, ["(1, 200, 3)", "2 axes"]),
    "0-D array": (np.array(3.0), {}, ["()", "2 axes"]),
    "wide": (np.random.default_rng(0).normal(size=(50, 1025)), {}, ["1,025", "1,024"]),
    "unknown column": (GOOD, {"columns": ["a", "bb"]}, ["`columns`", "'bb'", "mean 'b'"]),
    "unknown position": (X, {"columns": [0, 3]}, ["`columns`", "3", "does not exist"]),
    "column twice": (GOOD, {"columns": ["a", 0]}, ["'a' twice"]),
    "unknown context": (GOOD, {"context": "q"}, ["`context`", "'q'"]),
    "unknown weights": (GOOD, {"weights": "q"}, ["`weights`", "'q'"]),
    "unknown groups": (GOOD, {"groups": "q"}, ["`groups`", "'q'"]),
    "unknown bounds": (GOOD, {"bounds": {"q": (0, 1)}}, ["`bounds`", "'q'"]),
    "unknown log": (GOOD, {"log": ["q"]}, ["`log`", "'q'"]),
    "unknown tied": (GOOD, {"dequantise": ["q"]}, ["`dequantise`", "'q'"]),
    "log of context": (GOOD, {"log": "a", "context": "a"}, ["`log`", "not a feature"]),
    "two parts": (GOOD, {"columns": ["a"], "context": ["a"]}, ["`columns` and `context`"]),
    "no feature": (GOOD, {"context": ["a", "b", "c"]}, ["no feature column left"]),
    "outside bounds": (GOOD, {"bounds": {"a": (-1, 9)}}, ["'a'", "inside its bounds (-1, 9)"]),
    "log of negative": (GOOD, {"log": ["b"]}, ["'b'", "(0, inf)", "rows "]),
    "bounds fall": (GOOD, {"bounds": {"a": (2, 1)}}, ["`bounds`", "must rise"]),
    "bounds of three": (GOOD, {"bounds": {"a": (1, 2, 3)}}, ["`bounds`", "two numbers"]),
    "bounds open": (GOOD, {"bounds": {"a": (None, None)}}, ["bound nothing"]),
    "bounds and log": (GOOD, {"bounds": {"a": (-9, 9)}, "log": "a"}, ["`bounds` and `log`"]),
    "no grid": (GOOD, {"dequantise": ["a"]}, ["'a'", "no regular grid"]),
    "step of 0": (GOOD, {"dequantise": {"a": 0.0}}, ["'a'", "positive"]),
    "negative weight": (GOOD.assign(w=[-1.0] + [1.0] * 199), {"weights": "w"}, ["-1.0", "row 0"]),
    "weights of 0": (GOOD, {"weights": np.zeros(200)}, ["`weights` are all 0"]),
    "nan weight": (_with("c", [5], np.nan), {"weights": "c"}, ["'c'", "row 5"]),
    "weights too short": (GOOD, {"weights": np.ones(9)}, ["`weights`", "200 rows", "(9,)"]),
    "no label": (GOOD.assign(g=[None] + ["x"] * 199), {"groups": "g"}, ["'g'", "row 0"]),
    "atom, strict": (
        np.where(np.arange(200)[:, None] < 9, [0.25, 9.0, 9.0], X)[:, :2],
        {"strict": True},
        ["'x0' (0.25 in 4.5%", "`strict`"],
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_bad_input_is_one_clear_line(case: str, tmp_path: Path) -> None:
    given, options, expected = CASES[case]
    source = given(tmp_path) if callable(given) else given
    with pytest.raises(DataError) as caught:
        load(source, **options, on_warning=lambda text: None)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300
    for part in expected:
        assert part in message
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, NfoptError)


def test_a_wrong_type() -> None:
    for wrong in (3, None, {1, 2}, object()):
        with pytest.raises(TypeError, match=r"`source` must be a path"):
            load(wrong)


def test_bad_splits() -> None:
    table = load(X)
    for kind in ("group", "given"):
        with pytest.raises(DataError, match=r"groups|no parts"):
            split(table, kind=kind)
    with pytest.raises(ValueError, match=r"`kind` must be one of random, group"):
        split(table, kind="half")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"at least 3 groups, the table has 2"):
        split(load(X, groups=np.arange(200) % 2))


def test_constant_in_training_rows_only() -> None:
    values = X.copy()
    values[:160, 1] = 0.5
    table = load(values, on_warning=lambda text: None)
    rows = np.arange(200)
    with pytest.raises(DataError, match=r"'x1' is constant in the training rows"):
        prepare(table, Split(rows[:160], rows[160:180], rows[180:]))


def test_weights_of_0_in_one_part() -> None:
    rows = np.arange(200)
    parts = Split(rows[:160], rows[160:180], rows[180:])
    for name, part in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        weights = np.ones(200)
        weights[part] = 0.0
        with pytest.raises(DataError, match=rf"`weights` are all 0 in the {name} rows"):
            prepare(load(X, weights=weights), parts)


def test_stored_preprocessing_of_another_kind() -> None:
    text = Preprocessing.fit(X, ["a", "b", "c"]).to_json()
    for wrong in ("{", text.replace('"version":2', '"version":9'), text.replace("mean", "meen")):
        with pytest.raises(DataError, match=r"stored preprocessing cannot be read"):
            Preprocessing.from_json(wrong)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.where(X > 1.5, 0.25, X), r"one value in over 2% .* 'x0' \(0\.25 in \d+\.\d% of"),
        (np.concatenate([X, X[:7]]), r"^7 of 207 rows are duplicate rows"),
        (np.tile(X[:60], (1, 2)) * np.repeat([1.0, 2.0], 3), r"depend on each other linearly"),
        (np.random.default_rng(0).normal(size=(99, 5)), r"^99 rows are few for 5 features: .* 100"),
        (np.round(X), r"'x0' \(step 1\).*`dequantise=False`"),
        (np.round(X * 8) / 4, r"'x0' \(step 0\.25\)"),
        (np.hstack([X, X.sum(axis=1, keepdims=True)]), r"'x0', 'x1', 'x2', 'x3' depend"),
    ],
)
def test_warnings(values: np.ndarray, expected: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = load(values)
    assert all(one.category is DataWarning and one.filename == __file__ for one in caught)
    texts = [str(one.message) for one in caught]
    assert any(re.search(expected, text) for text in texts)
    assert tuple(texts) == table.warnings
    assert not any("\n" in text or len(text) > 300 for text in texts)


def test_ordinary_data_warns_of_nothing() -> None:
    assert load(X).warnings == ()
    assert load(X.astype(np.float32)).warnings == ()
    assert load(np.round(X, 3)).warnings == ()


def test_a_dequantised_column_is_no_atom_unless_its_grid_is_fine() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(3.0, size=(2000, 1)) + np.array([[0.0]])
    found: list[str] = []
    load(counts, on_warning=found.append)
    assert len(found) == 1
    assert "step 1" in found[0]
    load(counts, dequantise=False, on_warning=found.append)
    assert "2% of the rows" in found[1]
    found.clear()
    fine = np.round(rng.normal(size=(20_000, 1)), 3)
    fine[:9000] = 0.0
    load(fine, on_warning=found.append)
    assert any("2% of the rows" in text for text in found)
