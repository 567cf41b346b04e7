"""Files: CSV, Parquet, NPY and NPZ. Nothing is ever unpickled.

What a file is follows from its ending; its first bytes are compared with it, so that a Parquet
file named .csv is reported as such and not as gibberish.
"""

from __future__ import annotations

import csv
import gzip
import warnings
import zipfile
import zlib
from itertools import islice, pairwise
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nfopt.data.raw import RawTable, check_names, from_array, from_frame
from nfopt.data.wording import short
from nfopt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {
    ".csv": "CSV",
    ".tsv": "CSV",
    ".txt": "CSV",
    ".dat": "CSV",
    ".parquet": "Parquet",
    ".pq": "Parquet",
    ".npy": "NPY",
    ".npz": "NPZ",
}
_MAGIC = {b"PAR1": "Parquet", b"\x93NUMPY": "NPY", b"PK\x03\x04": "NPZ or ZIP", b"\x1f\x8b": "gzip"}
_MAGIC |= {b"\x89HDF": "HDF5", b"SQLite": "SQLite", b"\x80\x04": "pickle", b"\x80\x05": "pickle"}
_PART_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def file_kind(path: Path) -> str | None:
    """Say what a file should hold by its ending ("CSV", "Parquet", "NPY", "NPZ"), or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        inner = suffixes[-2] if len(suffixes) > 1 else ""
        return "CSV" if _KINDS.get(inner) == "CSV" else None
    return _KINDS.get(suffixes[-1]) if suffixes else None


def read_file(path: Path, *, header: bool = True) -> RawTable:
    """Read a data file.

    Args:
        path: Ends in .csv, .tsv, .txt, .dat (each also with .gz), .parquet, .pq, .npy or .npz.
        header: The first line of a text file holds the columns' names.

    Raises:
        DataError: If it is missing, a directory, unreadable, or not what its ending says.
    """
    path = path.expanduser()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except OSError as error:
        raise DataError(f"{short(str(path))} cannot be read: {error.strerror}") from error
    if is_folder:
        raise DataError(f"{str(path)!r} is a directory: name one data file")
    if not exists:
        raise DataError(f"there is no file {str(path)!r}")
    kind = file_kind(path)
    if kind is None:
        raise DataError(
            f"the ending of {path.name!r} is not known: "
            "give .csv, .csv.gz, .tsv, .parquet, .npy or .npz"
        )
    try:
        with path.open("rb") as file:
            first = file.read(8)
    except OSError as error:
        raise DataError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if not first:
        raise DataError(f"{str(path)!r} is empty (0 bytes)")
    found = next((what for magic, what in _MAGIC.items() if first.startswith(magic)), None)
    expected = "gzip" if path.suffix.lower() == ".gz" else kind
    if found != expected and not (kind == "NPZ" and found == "NPZ or ZIP"):
        if found is not None:
            raise DataError(f"{path.name!r} is not {kind} as its ending says: it holds {found}")
        if expected != "CSV":
            raise DataError(f"{path.name!r} is not {expected} as its ending says")
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    if kind == "CSV":
        return _read_csv(path, name, header)
    if kind == "Parquet":
        return _read_parquet(path, name)
    return _read_npy(path, name) if kind == "NPY" else _read_npz(path, name)


def _open_text(path: Path) -> IO[str]:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    file: IO[str] = opener(path, "rt", encoding="utf-8-sig", newline="")
    return file


def _first_fields(path: Path) -> tuple[str, list[str]]:
    """Find the separator (comma, semicolon, tab, or white space) and the first line's fields."""
    with _open_text(path) as file:
        filled = (line.rstrip("\r\n") for line in islice(file, 1000) if line.strip())
        line, second = next(filled, ""), next(filled, "")
    if not line:
        raise DataError(f"{str(path)!r} is empty: it holds only blank lines")
    if "\x00" in line:
        raise DataError(f"{path.name!r} is not CSV as its ending says: it holds binary data")
    separator = next((one for one in ",;\t" if one in line), None)
    if separator is None and len(line.split()) == len(second.split()) > 1:
        return r"\s+", line.split()
    separator = separator or ","
    return separator, [field.strip() for field in next(csv.reader([line], delimiter=separator))]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_csv(path: Path, name: str, header: bool) -> RawTable:
    import pandas as pd

    try:
        separator, fields = _first_fields(path)
        names = _csv_names(path, fields) if header else [f"x{i}" for i in range(len(fields))]
        with warnings.catch_warnings():
            # A line too long for the header: pandas drops its end with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            warnings.simplefilter("ignore", pd.errors.DtypeWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                header=0 if header else None,
                names=names,
                index_col=False,
                skipinitialspace=True,
                encoding="utf-8",
                **_exact_floats(pd.__version__),
            )
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{str(path)!r} is empty") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = str(error).removeprefix("Error tokenizing data. C error: ").strip()
        if "Length of header" in reason:
            reason = f"lines have more fields than the {len(names)} of the first line"
        what = "is ragged" if "xpected" in reason or "lines have" in reason else "cannot be read"
        raise DataError(f"{path.name!r} {what}: {short(reason, 90)[1:-1]}") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} is not CSV as its ending says: not UTF-8 text at byte {error.start}"
        ) from error
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read: {short(str(error), 80)}") from error
    if len(frame) == 0:
        raise DataError(f"{str(path)!r} is empty: a header without rows")
    _check_short_lines(path, frame, separator, header)
    first = names[0]
    if first == "" and len(names) > 1:
        # What DataFrame.to_csv writes for the index: row numbers are no feature.
        if np.array_equal(frame.iloc[:, 0].to_numpy(), np.arange(len(frame))):
            frame = frame.iloc[:, 1:]
        else:
            frame = frame.rename(columns={"": "unnamed"})
    return from_frame(frame, name=name)


def _exact_floats(version: str) -> dict[str, Any]:
    """Ask pandas for correctly rounded numbers: from 3.1 on they always are."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _csv_names(path: Path, fields: list[str]) -> list[str]:
    numbered = len(fields) > 1 and fields == [str(position) for position in range(len(fields))]
    if all(_is_number(field) for field in fields) and not numbered:
        shown = ", ".join(fields[:3]) + (", ..." if len(fields) > 3 else "")
        raise DataError(
            f"the first line of {path.name!r} holds numbers ({shown}), not column names: "
            "pass `header=False` (--no-header)"
        )
    check_names(fields, path.name)
    return fields


def _check_short_lines(path: Path, frame: pd.DataFrame, separator: str, header: bool) -> None:
    """Refuse a line with too few fields, which pandas fills with NaN."""
    missing = np.flatnonzero(frame.iloc[:, -1].isna().to_numpy())
    if len(missing) == 0 or frame.shape[1] == 1:
        return
    row = int(missing[0])
    with _open_text(path) as file:
        lines = (line for line in file if line.strip())
        line = next(islice(lines, row + int(header), None), "")
    delimiter = separator if len(separator) == 1 else None
    fields = next(csv.reader([line], delimiter=delimiter)) if delimiter else line.split()
    if len(fields) < frame.shape[1]:
        raise DataError(
            f"{path.name!r} is ragged: row {row} (counted from 0) has {len(fields)} fields, "
            f"the first line {frame.shape[1]}"
        )


def _read_parquet(path: Path, name: str) -> RawTable:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"reading {path.name!r} needs pyarrow: pip install 'nfopt[parquet]'"
        ) from error
    try:
        frame = pyarrow.parquet.read_table(path).to_pandas()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {short(str(error), 80)}") from error
    return from_frame(frame, name=name)


def _read_npy(path: Path, name: str) -> RawTable:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(_numpy_text(path, error)) from error
    return from_array(array, name=name, what=repr(path.name))


def _numpy_text(path: Path, error: Exception, key: str = "") -> str:
    where = f"{path.name!r}" + (f" ({key})" if key else "")
    if "ickle" in str(error) or "Object arrays" in str(error):
        return f"{where} holds pickled Python objects, which are never loaded: save it as numbers"
    return f"{where} cannot be read: {short(str(error), 80)}"


def _read_npz(path: Path, name: str) -> RawTable:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    key = ""
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = list(archive.files)
            wanted = _npz_keys(path, keys)
            named = "columns" in keys and "columns" not in wanted
            for key in [*wanted, *(["columns"] if named else [])]:
                arrays[key] = archive[key]
    except DataError:
        raise
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(_numpy_text(path, error, key)) from error
    names = arrays.pop("columns", None)
    tables = [from_array(arrays[key], name=name, what=f"{path.name!r} ({key})") for key in wanted]
    width = len(tables[0].columns)
    if any(len(table.columns) != width for table in tables):
        shapes = ", ".join(f"{key} {arrays[key].shape}" for key in wanted)
        raise DataError(f"the parts of {path.name!r} differ in their columns: {shapes}")
    columns = list(tables[0].columns)
    if names is not None and names.shape == (width,) and names.dtype.kind == "U":
        columns = [str(one) for one in names]
        check_names(columns, path.name)
    if len(tables) == 1:
        return RawTable(name, tuple(columns), tables[0].content)
    ends = np.cumsum([0, *(table.rows for table in tables)])
    train, val, test = (np.arange(a, b) for a, b in pairwise(ends))
    content = np.concatenate([np.asarray(table.content) for table in tables])
    return RawTable(name, tuple(columns), content, parts=(train, val, test))


def _npz_keys(path: Path, keys: list[str]) -> list[str]:
    """Choose what to read: the three parts, or the only array."""
    if not keys:
        raise DataError(f"{path.name!r} is empty: it holds no array")
    found = {
        part: next((key for key in aliases if key in keys), None)
        for part, aliases in _PART_NAMES.items()
    }
    parts = [key for key in found.values() if key is not None]
    if len(parts) == 3:
        return parts
    if len(keys) == 1:
        return keys
    if len(keys) == 2 and "columns" in keys:
        return [key for key in keys if key != "columns"]
    held = ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")
    raise DataError(
        f"{path.name!r} holds {len(keys)} arrays ({held}): it needs one, or train, val and test"
    )
