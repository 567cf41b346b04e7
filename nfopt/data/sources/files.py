"""Files: CSV, Parquet, NPY and NPZ. Nothing is ever unpickled.

What a file is follows from its ending; its first bytes are compared with it, so that a Parquet
file named .csv is reported as such and not as gibberish.
"""

from __future__ import annotations

from pathlib import Path

from nfopt.data.raw import RawTable
from nfopt.data.sources.dialect import PLAIN, TextOptions
from nfopt.data.sources.limits import check_width, refusing, regular_size
from nfopt.data.wording import short
from nfopt.errors import DataError

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
_MAGIC |= {b"PARE": "encrypted Parquet", b"ARROW1": "Arrow", b"PK\x05\x06": "NPZ or ZIP"}
_MAGIC |= {b"\xff\xfe": "UTF-16 text", b"\xfe\xff": "UTF-16 text", b"%PDF": "PDF"}


def file_kind(path: Path) -> str | None:
    """Say what a file should hold by its ending ("CSV", "Parquet", "NPY", "NPZ"), or None."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        inner = suffixes[-2] if len(suffixes) > 1 else ""
        return "CSV" if _KINDS.get(inner) == "CSV" else None
    return _KINDS.get(suffixes[-1]) if suffixes else None


def read_file(path: Path, text: TextOptions = PLAIN) -> RawTable:
    """Read a data file.

    Args:
        path: Ends in .csv, .tsv, .txt, .dat (each also with .gz), .parquet, .pq, .npy or .npz.
        text: How a text file is written, where its reader knows.

    Raises:
        DataError: If it is missing, no regular file, unreadable, not what its ending says, or
            larger or more compressed than the limits of `limits.py`.
    """
    path = path.expanduser()
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{short(str(path))} cannot be read: {reason}") from error
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
    with refusing(path):
        size = regular_size(path)
        with path.open("rb") as file:
            first = file.read(8)
    if not first:
        raise DataError(f"{str(path)!r} is empty (0 bytes)")
    holds = next((what for magic, what in _MAGIC.items() if first.startswith(magic)), None)
    expected = "gzip" if path.suffix.lower() == ".gz" else kind
    if holds != expected and not (kind == "NPZ" and holds == "NPZ or ZIP"):
        if holds is not None:
            raise DataError(f"{path.name!r} is not {kind} as its ending says: it holds {holds}")
        if expected != "CSV":
            raise DataError(f"{path.name!r} is not {expected} as its ending says")
    name = path.name.removesuffix(".gz").rsplit(".", 1)[0]
    if kind == "CSV":
        from nfopt.data.sources.text import read_text

        raw = read_text(path, size, name, text)
    elif kind == "Parquet":
        from nfopt.data.sources.parquet import read_parquet

        raw = read_parquet(path, size, name)
    elif kind == "NPY":
        from nfopt.data.sources.numpy_files import read_npy

        raw = read_npy(path, size, name)
    else:
        from nfopt.data.sources.numpy_files import read_npz

        raw = read_npz(path, size, name)
    check_width(path, len(raw.columns))
    return raw
