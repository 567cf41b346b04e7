"""Parquet, through pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nfopt.data.raw import RawTable, from_frame
from nfopt.data.sources.limits import check_unpacked, check_width, refusing
from nfopt.data.sources.objects import arrow_frame
from nfopt.errors import DataError


def read_parquet(path: Path, size: int, name: str) -> RawTable:
    """Read a Parquet file of so many bytes; what pandas noted in it on an index is left out."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(
            f"reading {path.name!r} needs pyarrow: pip install 'nfopt[parquet]'"
        ) from error
    with refusing(path), path.open("rb") as handle:
        # text is read as numbers of a dictionary, so that one long word counts once
        file = pyarrow.parquet.ParquetFile(handle)
        texts = [column.path for column in file.schema if column.physical_type == "BYTE_ARRAY"]
        _check_claims(path, size, file.metadata)
        if texts:
            handle.seek(0)
            file = pyarrow.parquet.ParquetFile(handle, read_dictionary=texts)
        frame = arrow_frame(file.read())
    return from_frame(frame, name=name)


def _check_claims(path: Path, size: int, claims: Any) -> None:
    """Refuse more bytes than the file may unpack to, by what its footer says."""
    check_width(path, claims.num_columns)
    groups = [claims.row_group(at) for at in range(claims.num_row_groups)]
    pages = sum(max(0, group.total_byte_size) for group in groups)
    check_unpacked(path, size, max(pages, 8 * claims.num_rows * claims.num_columns))
