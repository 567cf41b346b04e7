"""Files that lie about their size, never end, or are locked: one line each, and little memory."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nfopt.data import load
from nfopt.data.sources import limits
from nfopt.errors import DataError

X = np.random.default_rng(0).normal(size=(80, 3))
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
MIB = 2**20


def _header(shape: str, descr: str = "'<f8'", version: int = 1, more: str = "") -> bytes:
    said = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}{more}}}\n".encode()
    length = len(said).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + said


def _npz(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _encrypted() -> bytes:
    content = bytearray(_npz({"x.npy": _header("(80, 3)") + X.tobytes()}, zipfile.ZIP_STORED))
    content[6] |= 1  # the flag in the member's own header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def _method() -> bytes:
    content = bytearray(_npz({"x.npy": _header("(80, 3)") + X.tobytes()}, zipfile.ZIP_STORED))
    content[8] = 99
    content[content.index(b"PK\x01\x02") + 10] = 99
    return bytes(content)


def _parquet(metadata: bytes) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(dict(FRAME)).replace_schema_metadata({b"pandas": metadata}), file)
    return file.getvalue()


def _zeros(count: int) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": np.zeros(count), "b": np.zeros(count)}), file)
    return file.getvalue()


# A file's name, what it holds, and what the message says.
FILES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "npy of terabytes": (
        "t.npy",
        lambda: _header("(1000000000000, 3)") + bytes(99),
        "99 are there",
    ),
    "npy of more than an integer": (
        "t.npy",
        lambda: _header("(99999999999999999999, 99999999999999999999)") + bytes(99),
        "99 are there",
    ),
    "npy of less than nothing": ("t.npy", lambda: _header("(-1, 3)"), r"claims \(-1, 3\)"),
    "npy of empty items": ("t.npy", lambda: _header("(1000000000000,)", "'|V0'"), "claims"),
    "npy of a wrong type": ("t.npy", lambda: _header("(9, 9)", "'<q9'"), "cannot be read"),
    "npy of deep nesting": ("t.npy", lambda: _header("(" * 4000), "cannot be read"),
    "npy of a long header": ("t.npy", lambda: _header("(9,)", more=" " * 20_000), "cannot be read"),
    "npy of version 3, lying": ("t.npy", lambda: _header("(10**9,)", version=3), "cannot be read"),
    "npy of version 9": ("t.npy", lambda: _header("(9, 9)", version=9), "cannot be read"),
    "npy that is cut": ("t.npy", lambda: _header("(80, 3)") + X.tobytes()[:-1], "cut off"),
    "npz that is locked": ("t.npz", _encrypted, r"\(x\) is encrypted"),
    "npz of an unknown method": ("t.npz", _method, r"t\.npz' \(x\) cannot be read"),
    "npz of terabytes": (
        "t.npz",
        lambda: _npz({"x.npy": _header("(1000000000000, 3)") + bytes(99)}),
        "99 are there",
    ),
    "npz without arrays": ("t.npz", lambda: _npz({"readme.txt": b"hello"}), "cannot be read"),
    "npz without members": ("t.npz", lambda: _npz({}), "holds no array"),
    "npz bomb": (
        "t.npz",
        lambda: _npz({"x.npy": _header("(40000000,)") + bytes(8 * 40_000_000)}),
        "unpacks to more than 256 MiB",
    ),
    "gzip bomb": (
        "t.csv.gz",
        lambda: gzip.compress(b"a,b\n" + b"0,0\n" * 80_000_000, 1),
        "unpacks to more than 256 MiB",
    ),
    "parquet bomb": ("t.parquet", lambda: _zeros(20_000_000), "unpacks to more than 256 MiB"),
    "parquet that is locked": ("t.parquet", lambda: b"PARE" + bytes(90), "encrypted Parquet"),
}


@pytest.mark.parametrize("case", [name for name in FILES if "bomb" not in name])
def test_a_file_that_lies_is_one_line(case: str, tmp_path: Path) -> None:
    name, content, message = FILES[case]
    (tmp_path / name).write_bytes(content())
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("case", [name for name in FILES if "bomb" in name])
def test_a_bomb_takes_little_memory(case: str, tmp_path: Path) -> None:
    name, content, message = FILES[case]
    path = tmp_path / name
    path.write_bytes(content())
    assert path.stat().st_size < 4 * MIB
    code = (
        "import resource, sys\n"
        "from nfopt.data import load\n"
        "import pandas, pyarrow.parquet, clevercsv, zipfile\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    load(sys.argv[1])\n"
        "except ValueError as error:\n    print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    said, grown = done.stdout.splitlines()
    assert message in said
    assert int(grown) < 100  # MiB


@pytest.mark.parametrize(
    "metadata",
    [
        b"{",
        b"5",
        b"\xff\xfe",
        b'{"index_columns": 5}',
        b'{"index_columns": [{"kind": "range"}], "columns": [5]}',
        b'{"index_columns": ["q"], "columns": [{"name": "q"}], "column_indexes": [{}]}',
        b"[" * 100_000,
    ],
)
def test_odd_notes_in_parquet_change_nothing(metadata: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(_parquet(metadata))
    table = load(tmp_path / "t.parquet")
    assert table.columns == ("a", "b", "c")
    np.testing.assert_array_equal(table.values, X)


def test_an_index_in_parquet_is_ignored_by_its_notes(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    FRAME.set_index(np.arange(80) * 0.37).rename_axis("time").to_parquet(path)
    assert load(path).columns == ("a", "b", "c")
    FRAME.assign(text="x" * 40).to_parquet(path)
    assert load(path, columns=["c", "a"]).columns == ("c", "a")


def test_names_of_fields_in_any_alphabet(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"
    with pytest.warns(UserWarning, match="3.0"):
        np.save(path, FRAME.rename(columns={"a": "größe", "b": "β"}).to_records(index=False))
    assert load(path).columns == ("größe", "β", "c")


@pytest.mark.parametrize("kind", ["device", "pipe", "sparse"])
def test_what_never_ends_is_not_begun(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(2 * limits.MOST)
    with pytest.raises(DataError, match=r"a device or a pipe|has 32.0 GiB: at most 16 are read"):
        load(path)


def test_a_first_line_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a," * 3_000_000)
    with pytest.raises(DataError, match=r"first line is longer than 4 MiB"):
        load(path)
    monkeypatch.setattr(limits, "MAX_COLUMNS", 2)
    path.write_text("a,b,c\n1,2,3\n")
    with pytest.raises(DataError, match=r"3 columns: at most 2"):
        load(path)


def test_a_compressed_table_of_ordinary_numbers_is_read(tmp_path: Path) -> None:
    rows = np.tile(X, (500, 1))
    np.savez_compressed(tmp_path / "t.npz", rows)
    assert load(tmp_path / "t.npz", on_warning=lambda text: None).rows == 40_000
    assert limits.allowance(10) == 256 * MIB
    assert limits.allowance(5 * MIB) == 500 * MIB
    assert limits.allowance(2**40) == limits.MOST
