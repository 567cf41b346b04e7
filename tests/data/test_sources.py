"""One contract over a table of sources: each gives the same Table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from nfopt.data import NAMED, Table, load, load_rows, split
from nfopt.errors import DataError, DataWarning

ROWS, NAMES = 120, ("a", "b", "c")
# Short decimals: exact in text, in float64 and (being multiples of 1/8) in float32.
VALUES = np.round(np.random.default_rng(0).normal(size=(ROWS, 3)) * 8.0, 0) / 8.0
VALUES += np.arange(ROWS)[:, None] * 8.0
FRAME = pd.DataFrame(VALUES, columns=list(NAMES))
Make = Callable[[Path], object]


class Subclass(pd.DataFrame):
    """A DataFrame of somebody else's module."""


class ArrowStream:
    """A frame that speaks the Arrow PyCapsule interface and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


class ArrowBatch:
    """One batch of rows in the Arrow PyCapsule interface."""

    def __init__(self, table: pa.Table) -> None:
        (self.batch,) = table.combine_chunks().to_batches()

    def __arrow_c_array__(self, requested_schema: object = None) -> object:
        return self.batch.__arrow_c_array__(requested_schema)


class Interchange:
    """A frame that speaks the dataframe interchange protocol and nothing else."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:
        return self.table.__dataframe__(nan_as_null, allow_copy)


def _write(name: str, action: Callable[[Path], object]) -> Make:
    def make(folder: Path) -> Path:
        path = folder / name
        action(path)
        return path

    return make


NAMED_SOURCES: dict[str, Make] = {
    "csv": _write("t.csv", lambda p: FRAME.to_csv(p, index=False)),
    "csv as text": lambda folder: str(SOURCES["csv"](folder)),
    "csv.gz": _write("t.csv.gz", lambda p: FRAME.to_csv(p, index=False)),
    "csv with an index": _write("t.csv", lambda p: FRAME.to_csv(p)),
    "csv with a byte order mark": _write(
        "t.csv", lambda p: FRAME.to_csv(p, index=False, encoding="utf-8-sig")
    ),
    "csv with semicolons": _write("t.csv", lambda p: FRAME.to_csv(p, index=False, sep=";")),
    "csv with spaces": _write(
        "t.csv", lambda p: p.write_text(FRAME.to_csv(index=False).replace(",", ", "))
    ),
    "tsv": _write("t.tsv", lambda p: FRAME.to_csv(p, index=False, sep="\t")),
    "white space": _write("t.txt", lambda p: FRAME.to_csv(p, index=False, sep=" ")),
    "parquet": _write("t.parquet", lambda p: FRAME.to_parquet(p)),
    "npy, structured": _write("t.npy", lambda p: np.save(p, FRAME.to_records(index=False))),
    "npz with names": _write("t.npz", lambda p: np.savez(p, rows=VALUES, columns=np.array(NAMES))),
    "npz in parts": _write(
        "t.npz",
        lambda p: np.savez_compressed(
            p,
            train=VALUES[:90],
            val=VALUES[90:105],
            test=VALUES[105:],
            columns=np.array(NAMES),
            mean=np.zeros(3),
        ),
    ),
    "frame": lambda folder: FRAME,
    "frame, float32": lambda folder: FRAME.astype(np.float32),
    "frame, nullable": lambda folder: FRAME.convert_dtypes(),
    "frame, numbers as text": lambda folder: FRAME.astype(str),
    "frame, own index": lambda folder: FRAME.set_index(np.arange(ROWS) * 7),
    "frame of a subclass": lambda folder: Subclass(FRAME),
    "frame of another library, Arrow": lambda folder: ArrowStream(pa.table(dict(FRAME))),
    "batch of another library, Arrow": lambda folder: ArrowBatch(pa.table(dict(FRAME))),
    "frame of another library, interchange": lambda folder: Interchange(pa.table(dict(FRAME))),
    "pyarrow": lambda folder: pa.Table.from_pandas(FRAME.set_index(np.arange(ROWS) * 0.5)),
    "record array": lambda folder: FRAME.to_records(index=False),
    "masked structured array": lambda folder: np.ma.array(FRAME.to_records(index=False)),
    "dict": lambda folder: {name: list(FRAME[name]) for name in NAMES},
    "dict of tensors": lambda folder: {name: torch.tensor(FRAME[name].array) for name in NAMES},
    "list of dicts": lambda folder: FRAME.to_dict("records"),
    "list of named tuples": lambda folder: list(FRAME.itertuples(index=False)),
    "list of rows with names": lambda folder: [row for _, row in FRAME.iterrows()],
}
PLAIN_SOURCES: dict[str, Make] = {
    "npy": _write("t.npy", lambda p: np.save(p, VALUES)),
    "npy, float32": _write("t.npy", lambda p: np.save(p, VALUES.astype(np.float32))),
    "npz, one array": _write("t.npz", lambda p: np.savez(p, anything=VALUES)),
    "array": lambda folder: VALUES,
    "array, column-major": lambda folder: np.asfortranarray(VALUES),
    "masked array": lambda folder: np.ma.masked_invalid(VALUES),
    "frame without names": lambda folder: pd.DataFrame(VALUES),
    "list of masked rows": lambda folder: [np.ma.array(row) for row in VALUES],
    "list of tensors": lambda folder: list(torch.tensor(VALUES, requires_grad=True)),
    "sparse tensor": lambda folder: torch.tensor(VALUES).to_sparse(),
    "tensor": lambda folder: torch.tensor(VALUES, requires_grad=True),
    "list": lambda folder: VALUES.tolist(),
    "tuple of arrays": lambda folder: tuple(VALUES),
}
SOURCES = NAMED_SOURCES | PLAIN_SOURCES


@pytest.mark.parametrize("source", list(SOURCES))
def test_every_source_gives_the_same_table(source: str, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = load(SOURCES[source](tmp_path), dequantise=False)
    assert len(caught) == (source == "csv with an index")
    assert table.origin is not None
    assert table.origin.named == (source in NAMED_SOURCES)
    np.testing.assert_array_equal(table.values, VALUES)
    assert table.values.dtype == np.float64
    assert table.values.flags.c_contiguous
    unnamed = ("0", "1", "2") if source == "frame without names" else ("x0", "x1", "x2")
    assert table.columns == (NAMES if source in NAMED_SOURCES else unnamed)
    assert (table.parts is not None) == (source == "npz in parts")
    assert not np.shares_memory(table.values, VALUES)


def test_headerless_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME.to_csv(path, index=False, header=False)
    table = load(path, header=False, dequantise=False)
    np.testing.assert_array_equal(table.values, VALUES)
    assert table.columns == ("x0", "x1", "x2")
    FRAME.to_csv(path, index=False, header=["0", "1", "2"])  # what pandas writes without names
    assert load(path, dequantise=False).columns == ("0", "1", "2")


def test_parts_of_a_file_are_kept(tmp_path: Path) -> None:
    broken = VALUES.copy()
    broken[[3, 95]] = np.nan
    path = tmp_path / "t.npz"
    np.savez(path, train=broken[:90], validation=broken[90:105], test=broken[105:])
    table = load(path, drop_rows=True, dequantise=False, on_warning=lambda text: None)
    parts = split(table)
    assert [len(rows) for rows in (parts.train, parts.val, parts.test)] == [89, 14, 15]
    np.testing.assert_array_equal(table.values[parts.test], VALUES[105:])
    np.testing.assert_array_equal(table.values[parts.val], np.delete(VALUES[90:105], 5, axis=0))


def test_columns_have_parts() -> None:
    frame = FRAME.assign(w=np.arange(ROWS) % 3, g=[f"g{i // 10}" for i in range(ROWS)])
    table = load(frame, context="b", weights="w", groups="g", dequantise=False)
    assert (table.columns, table.context_columns) == (("a", "c"), ("b",))
    assert table.context is not None
    np.testing.assert_array_equal(table.context[:, 0], VALUES[:, 1])
    assert table.weights is not None
    np.testing.assert_array_equal(table.weights, frame["w"])
    assert table.groups is not None
    assert len(np.unique(table.groups)) == 12
    same = load(
        frame,
        columns=["a", 2],
        context=[1],
        weights=frame["w"],
        groups=list(frame["g"]),
        dequantise=False,
    )
    np.testing.assert_array_equal(same.values, table.values)
    np.testing.assert_array_equal(same.groups, table.groups)
    assert load(table) is table


def test_dropped_rows_take_weights_and_groups_along() -> None:
    frame = FRAME.assign(w=np.arange(ROWS) * 1.0, g=np.arange(ROWS))
    frame.loc[[4, 7], "a"] = [np.nan, np.inf]
    frame.loc[9, "w"] = np.nan
    with pytest.warns(DataWarning, match=r"dropped 3 of 120 rows .* 'a', 'w'"):
        table = load(frame, weights="w", groups="g", drop_rows=True, dequantise=False)
    kept = np.delete(np.arange(ROWS), [4, 7, 9])
    np.testing.assert_array_equal(table.weights, kept)
    np.testing.assert_array_equal(table.groups, kept)
    np.testing.assert_array_equal(table.values, VALUES[kept])


def test_rows_to_score(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME[:2].to_csv(path, index=False)
    values, context = load_rows(path, columns=["c", "a"], context=["b"])
    np.testing.assert_array_equal(values, VALUES[:2, [2, 0]])
    assert context is not None
    np.testing.assert_array_equal(context, VALUES[:2, [1]])
    values, context = load_rows(VALUES[:1], columns=["c", "a"], context=["b"])
    np.testing.assert_array_equal(values, VALUES[:1, :2])
    np.testing.assert_array_equal(context, VALUES[:1, 2:])
    assert load_rows(VALUES[:1], columns=["x0", "x2"])[1] is None
    with pytest.raises(DataError, match=r"'t' lacks column 'q' of the flow; it has columns 'a',"):
        load_rows(path, columns=["a", "q"])
    with pytest.raises(DataError, match=r"lacks columns 'c', 'a', 'b'"):
        load_rows(VALUES[:, :2], columns=["c", "a", "b"])
    with pytest.raises(DataError, match=r"'a' is NaN, missing or infinite in row 0"):
        load_rows([[np.inf]], columns=["a"])


def test_one_text_column_with_a_space_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    FRAME[["a"]].rename(columns={"a": "fuel rate"}).to_csv(path, index=False)
    assert load(path, dequantise=False).columns == ("fuel rate",)


def test_a_single_column() -> None:
    for source in (VALUES[:, 0], FRAME["a"], VALUES[:, :1]):
        assert load(source, dequantise=False).values.shape == (ROWS, 1)


@pytest.mark.parametrize(
    ("name", "shape", "tied"),
    [
        ("magic", (18_905, 10), 3),
        ("penbased", (10_992, 16), 16),
        ("digits", (1_797, 50), 50),
        ("breast_cancer", (569, 24), 0),
        ("wine", (178, 13), 13),
        ("moons", (10_000, 2), 0),
        ("rings:n=500,noise=0.1,seed=4", (500, 2), 0),
        ("sparse_graph:D=5,seed=1,n=1000", (1_000, 5), 0),
        ("sparse_graph", (20_000, 16), 0),
    ],
)
def test_named_sets(name: str, shape: tuple[int, int], tied: int) -> None:
    found: list[str] = []
    table = load(name, on_warning=found.append, strict=True)
    assert table.values.shape == shape
    assert sum(hint.step is not None for hint in table.hints) == tied
    assert all("few" in text for text in found)
    assert len(found) == (name == "wine")
    np.testing.assert_array_equal(table.values, load(name, on_warning=found.append).values)


def test_every_named_set_is_tested_and_described() -> None:
    assert set(NAMED) == {
        *("magic", "penbased", "digits", "breast_cancer", "wine"),
        *("moons", "rings", "sparse_graph"),
    }
    assert all(one.about for one in NAMED.values())


def test_magic_is_the_published_data() -> None:
    table = load("magic")
    assert table.columns[:2] == ("fLength", "fWidth")
    np.testing.assert_array_equal(
        table.values[0],
        [28.7967, 16.0021, 2.6449, 0.3918, 0.1982, 27.7004, 22.011, -8.2027, 40.092, 81.8828],
    )
    assert load("penbased").values[0, :4].tolist() == [47.0, 100.0, 27.0, 81.0]


def test_shipped_files_are_small_and_attributed() -> None:
    folder = resources.files("nfopt.data") / "shipped"
    sizes = {file.name: len(file.read_bytes()) for file in folder.iterdir()}
    assert sum(sizes.values()) < 2_000_000
    assert set(sizes) == {"magic.npz", "penbased.npz", "ATTRIBUTION.md", "LICENSE-CC-BY-4.0.txt"}
    text = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in text
    assert "magic.npz" in text
    assert "penbased.npz" in text


@pytest.mark.parametrize("module", ["pyarrow", "sklearn"])
def test_a_missing_extra_is_named(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.parquet"
    FRAME.to_parquet(path)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    extra, source = {"pyarrow": ("parquet", path), "sklearn": ("data", "digits")}[module]
    with pytest.raises(DataError, match=rf"pip install 'nfopt\[{extra}\]'"):
        load(source)


def test_repr_is_short() -> None:
    assert repr(load(FRAME, context="a", dequantise=False)) == (
        "Table('data', 120 rows x 2 features, context of 1)"
    )
    assert isinstance(load(FRAME, dequantise=False), Table)
