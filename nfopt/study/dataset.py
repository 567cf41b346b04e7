"""Data that knows where it came from, so that a study can be taken up from its storage alone."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import msgspec
import numpy as np

from nfopt import attributes as names
from nfopt.data import (
    NAMED,
    LinePart,
    Lines,
    Origin,
    Part,
    Prepared,
    Preprocessing,
    Table,
    load,
    prepare,
    split,
)
from nfopt.errors import StudyError
from nfopt.files import replacing
from nfopt.study.data_options import OPTIONS, DataOptions


@dataclass(frozen=True, eq=False)
class Source:
    """Prepared data, and how to prepare it again.

    Attributes:
        data: Split and preprocessed.
        described: Plain data for the study's attribute `nfopt:data`: name, source (a path, a named
            data set, or None for what was given in memory), options, split, seed, shape, columns,
            fingerprint.
        at_random: The rows were split at random here, so that they can be divided anew.
    """

    data: Prepared
    described: dict[str, Any]
    at_random: bool = False

    @property
    def name(self) -> str:
        """What a study of this data is called where the user does not say."""
        if self.described["source"] is None:
            return f"{self.data.name}-{self.data.fingerprint[:8]}"
        return self.data.name


def read(
    source: Any,
    *,
    seed: int = 0,
    on_warning: Callable[[str], None] | None = None,
    **options: Unpack[DataOptions],
) -> Source:
    """Load, split and prepare data.

    Args:
        source: Whatever `nfopt.data.load` takes; a `Prepared` or `Source` is taken as it is.
        seed: Of the split and of dequantising.
        on_warning: As in `nfopt.data.load`.
        options: Others of `nfopt.data.load`, and `split` as the `kind` of `nfopt.data.split`; None
            stands for the default.

    Raises:
        DataError: If the data can't be used.
        TypeError: If an option is not known.
    """
    unknown = sorted(options.keys() - DataOptions.__annotations__.keys())
    if unknown:
        known = ", ".join(DataOptions.__annotations__)
        raise TypeError(f"`{unknown[0]}` is no option of the data; known: {known}.")
    if isinstance(source, Source):
        return source
    split_kind = options.get("split")
    given = {key: options[key] for key in OPTIONS if options.get(key) is not None}  # type: ignore[literal-required]
    location: str | None = None
    at_random = False
    if isinstance(source, Prepared):
        data = source
    else:
        table = source
        if not isinstance(source, Table):
            location = _location(source)
            table = load(source, on_warning=on_warning, **given)
        parts = split(table, kind=split_kind, seed=seed)
        own = table.parts is not None or table.groups is not None
        at_random = split_kind == "random" or (split_kind is None and not own)
        data = prepare(table, parts, seed, on_warning=on_warning)
    plain = _plain(given)
    described = {
        "name": data.name,
        # with an array among the options, the file alone would not be the same data
        "source": location if plain is not None else None,
        "options": plain or {},
        "split": split_kind,
        "seed": seed,
        "rows": list(data.sizes),
        "columns": list(data.columns),
        "context_columns": list(data.context_columns),
        "table": msgspec.json.decode(msgspec.json.encode(data.origin)),
        "fingerprint": data.fingerprint,
    }
    return Source(data, described, at_random)


def read_again(known: Mapping[str, Any], source: Any = None) -> Source:
    """Read the data of a study again.

    Args:
        known: The study's attributes.
        source: The data, where it is no longer at the place that the study knows; None looks there.

    Raises:
        StudyError: If the study does not know its place, or the data has changed.
        DataError: If the data can't be used.
    """
    before = known.get(names.DATA, {})
    if isinstance(source, Source):
        loaded = source
    else:
        location = before.get("source") if source is None else source
        if location is None:
            location = known.get(names.KEPT)
        if source is None and location is not None:
            _check_location(str(location))
        if is_kept(location):
            data = read_kept(location)
            loaded = Source(data, {**before, "rows": list(data.sizes)})
        elif location is None or (source is None and known.get(names.KEPT) == location):
            raise StudyError(
                f"`data` must be given: the study was made with data in memory"
                f" ({before.get('name', 'data')!r}), "
                + (f"and {location!r} is not there." if location else "which was not kept.")
            )
        else:
            loaded = read(
                location,
                seed=int(before.get("seed", 0)),
                on_warning=lambda text: None,  # said when the study was made
                **_options(before) | {"split": before.get("split")},
            )
    if loaded.data.fingerprint != before.get("fingerprint"):
        raise StudyError(
            f"`data` {loaded.data.name!r} is not what the study was made with (rows"
            f" {loaded.described['rows']}, then {before.get('rows')}; fingerprint"
            f" {loaded.data.fingerprint[:12]}, then {str(before.get('fingerprint'))[:12]})."
        )
    return loaded


def _check_location(location: str) -> None:
    """Refuse a path that a study names, unless it is below the working folder.

    Raises:
        StudyError: If it is anywhere else; whoever can write to the storage may have chosen it.
    """
    if location.partition(":")[0] in NAMED and not Path(location).exists():
        return
    try:
        below = Path(location).expanduser().resolve().is_relative_to(Path.cwd())
    except (OSError, ValueError, RuntimeError):
        below = False
    if not below:
        raise StudyError(
            f"`data` must be given: the study says {location[:200]!r}, which is not below the"
            " working folder."
        )


def _options(before: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options that a study's data was read with.

    A study that knows nothing of its table was made when a table's row numbers were features: its
    columns are named, so that they are features again.
    """
    options = dict(before.get("options", {}))
    if before.get("table") is None and options.get("columns") is None and before.get("columns"):
        options["columns"] = list(before["columns"])
    return options


def _location(source: Any) -> str | None:
    if isinstance(source, str) and source.partition(":")[0] in NAMED and not Path(source).exists():
        return source
    if isinstance(source, str | os.PathLike):
        return str(Path(source).resolve())
    return None


def _plain(options: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return options as plain JSON data, or None if they hold arrays."""
    for value in options.values():
        if isinstance(value, np.ndarray) or hasattr(value, "__array__"):
            return None
    try:
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(dict(options)))
    except TypeError:
        return None
    return plain


# ------------------------------------------------------------------- data that was given in memory

KEPT_NAME = "data.npz"
# what NumPy and zipfile raise at a damaged, locked or lying file
_BROKEN: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, TypeError, EOFError)
_BROKEN += (MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error)
_CONTENTS = "nfopt"  # the array that holds what is no array, as JSON
_OF_A_PART = ("line", "logdet", "context", "weights")
_FIRST = ("z", "logdet", "context", "weights")  # of files before marginal maps were a choice


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
    path = (folder / KEPT_NAME).resolve()
    if path.exists() and _fingerprint(path) == data.fingerprint:
        return path
    plain = {
        "name": data.name,
        "columns": data.columns,
        "context_columns": data.context_columns,
        "preprocessing": msgspec.json.decode(data.lines.blank.to_json()),
        "fingerprint": data.fingerprint,
        "warnings": data.warnings,
        "table": msgspec.json.decode(msgspec.json.encode(data.origin)),
    }
    arrays = {
        f"{number}.{name}": values
        for number, part in enumerate(data.lines.parts)
        for name in _OF_A_PART
        if (values := getattr(part, name)) is not None
    }
    arrays[_CONTENTS] = np.frombuffer(msgspec.json.encode(plain), dtype=np.uint8)
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return path


def is_kept(path: object) -> bool:
    """Say whether a path is of a file that `keep` wrote."""
    if not isinstance(path, str | os.PathLike) or not str(path).endswith(".npz"):
        return False
    try:
        with np.load(path, allow_pickle=False) as file:
            return _CONTENTS in file
    except _BROKEN:
        return False


def read_kept(path: str | os.PathLike[str]) -> Prepared:
    """Read what `keep` wrote.

    Raises:
        StudyError: If the file can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            plain = _contents(file)
            fitted = Preprocessing.from_json(msgspec.json.encode(plain["preprocessing"]).decode())
            kind, named = (LinePart, _OF_A_PART) if "0.line" in file else (Part, _FIRST)
            parts = [
                kind(**{name: file[f"{k}.{name}"] for name in named if f"{k}.{name}" in file})
                for k in range(3)
            ]
        return Prepared(
            name=plain["name"],
            columns=tuple(plain["columns"]),
            context_columns=tuple(plain["context_columns"]),
            lines=_lines(fitted, parts),
            fingerprint=plain["fingerprint"],
            warnings=tuple(plain["warnings"]),
            origin=Origin.of(plain.get("table")),
        )
    except _BROKEN as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StudyError(f"`data` {os.fspath(path)!r} can't be read: {reason}.") from None


def _lines(fitted: Preprocessing, parts: list[Any]) -> Lines:
    three = (parts[0], parts[1], parts[2])
    if isinstance(parts[0], LinePart):
        return Lines(fitted, three)
    return Lines.of_mapped(fitted, three, "standardise")


def _contents(file: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(file[_CONTENTS].tobytes())
    return plain


def _fingerprint(path: Path) -> str:
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(_contents(file)["fingerprint"])
    except _BROKEN:
        return ""
