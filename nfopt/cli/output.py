"""Where a command writes: folders and files looked at before any work, and rows of numbers."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from nfopt.cli.reading import wrong
from nfopt.files import check_free, replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENDINGS = (".csv", ".parquet", ".npy")
_LINES = 10_000  # at a time, so that a reader who has enough is soon noticed


def check_target(path: Path | None, option: str = "out", endings: Sequence[str] = ENDINGS) -> None:
    """Refuse a file that can't be written, before any work.

    Args:
        path: The file, or None.
        option: That names it.
        endings: It may have; the first is the one that is proposed.

    Raises:
        typer.BadParameter: On another ending, a folder, a folder that is missing, or no permission.
    """
    if path is None:
        return
    if path.is_dir():
        raise wrong(
            option,
            f"must be a file, but {str(path)!r} is a folder: add a name such as rows{endings[0]}",
        )
    if path.suffix.lower() not in endings:
        raise wrong(option, f"must end in {', '.join(endings)}, got {str(path)!r}")
    folder = path.parent
    if not folder.is_dir():
        raise wrong(option, f"needs a folder that exists: there is no {str(folder)!r}")
    _try(folder, option)


def _try(folder: Path, option: str = "out") -> None:
    """Make something there; permissions alone don't tell (a read-only disk, an administrator)."""
    try:
        with tempfile.TemporaryDirectory(prefix=".nfopt-", dir=folder):
            pass
    except OSError as error:
        reason = f"folder {str(folder)!r}: {error.strerror}"
        raise wrong(option, f"can't be written: {reason}") from None


def check_folder(path: Path | None) -> None:
    """Refuse a folder that can't be written, before any work.

    Raises:
        typer.BadParameter: If it is a file, stands in one, or there is no permission.
    """
    if path is None:
        return
    if path.exists() and not path.is_dir():
        raise wrong("out", f"must be a folder, but {str(path)!r} is a file")
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise wrong("out", f"can't be made: {str(place)!r} is a file")
    _try(place)


def check_empty(path: Path, option: str = "out") -> None:
    """Refuse a folder that a new one can't take the place of, before any work.

    Raises:
        typer.BadParameter: If it is a file, or has something in it.
    """
    try:
        check_free(path, f"--{option}")
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=f"--{option}") from None


def write_rows(
    values: NDArray[Any], columns: Sequence[str], path: Path | None, *, raw_names: bool = False
) -> None:
    """Write a table; a file appears whole or not at all.

    Args:
        values: Shape (n, D).
        columns: D names; an NPY file has no place for them.
        path: None writes CSV to standard output.
        raw_names: Write names in CSV as they are, also those that look like formulas.
    """
    is_csv = path is None or path.suffix.lower() == ".csv"
    if is_csv and not raw_names:
        from nfopt.data.wording import escaped_name

        columns = [escaped_name(name) for name in columns]
    if path is None:
        _csv(values, columns, sys.stdout.buffer)
        return
    with replacing(path) as beside, beside.open("wb") as file:
        match path.suffix.lower():
            case ".npy":
                import numpy as np

                np.save(file, values, allow_pickle=False)
            case ".parquet":
                _frame(values, columns).to_parquet(file, index=False)
            case _:
                _csv(values, columns, file)


def _frame(values: NDArray[Any], columns: Sequence[str]) -> Any:
    import pandas as pd

    return pd.DataFrame(values, columns=list(columns))


def _csv(values: NDArray[Any], columns: Sequence[str], file: BinaryIO) -> None:
    frame = _frame(values, columns)
    for start in range(0, max(1, len(frame)), _LINES):
        some = frame.iloc[start : start + _LINES]
        some.to_csv(file, index=False, header=start == 0, mode="wb", encoding="utf-8")
    file.flush()
