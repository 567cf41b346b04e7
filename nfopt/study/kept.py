"""Data that was given in memory, kept as NPZ beside the flow, so that other processes have it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nfopt.data import Part, Prepared, Preprocessing
from nfopt.errors import StudyError
from nfopt.files import replacing

NAME = "data.npz"
_PLAIN = "nfopt"  # the array that holds what is no array, as JSON
_ARRAYS = ("z", "logdet", "context", "weights")


def keep(data: Prepared, folder: Path) -> Path:
    """Write prepared data, unless the folder has it already.

    Args:
        data: Split and preprocessed.
        folder: Of the study's results.

    Returns:
        The file, as an absolute path.

    Raises:
        OSError: If it can't be written.
    """
    path = (folder / NAME).resolve()
    if path.exists() and _fingerprint(path) == data.fingerprint:
        return path
    plain = {
        "name": data.name,
        "columns": data.columns,
        "context_columns": data.context_columns,
        "preprocessing": msgspec.json.decode(data.preprocessing.to_json()),
        "fingerprint": data.fingerprint,
        "warnings": data.warnings,
    }
    arrays = {
        f"{number}.{name}": values
        for number, part in enumerate(data.parts)
        for name in _ARRAYS
        if (values := getattr(part, name)) is not None
    }
    arrays[_PLAIN] = np.frombuffer(msgspec.json.encode(plain), dtype=np.uint8)
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path


def is_kept(path: object) -> bool:
    """Say whether a path is of a file that `keep` wrote."""
    if not isinstance(path, str | os.PathLike) or not str(path).endswith(".npz"):
        return False
    try:
        with np.load(path, allow_pickle=False) as file:
            return _PLAIN in file
    except (OSError, ValueError):
        return False


def read_kept(path: str | os.PathLike[str]) -> Prepared:
    """Read what `keep` wrote.

    Raises:
        StudyError: If the file can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            plain = _plain(file)
            parts = [
                Part(**{name: file[f"{k}.{name}"] for name in _ARRAYS if f"{k}.{name}" in file})
                for k in range(3)
            ]
        fitted = msgspec.json.encode(plain["preprocessing"]).decode()
        return Prepared(
            name=plain["name"],
            columns=tuple(plain["columns"]),
            context_columns=tuple(plain["context_columns"]),
            preprocessing=Preprocessing.from_json(fitted),
            parts=(parts[0], parts[1], parts[2]),
            fingerprint=plain["fingerprint"],
            warnings=tuple(plain["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StudyError(f"`data` {os.fspath(path)!r} can't be read: {reason}.") from None


def _plain(file: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(file[_PLAIN].tobytes())
    return plain


def _fingerprint(path: Path) -> str:
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(_plain(file)["fingerprint"])
    except (OSError, ValueError, KeyError):
        return ""
