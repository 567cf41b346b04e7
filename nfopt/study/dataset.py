"""Data that knows where it came from, so that a study can be taken up from its storage alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nfopt import attributes as names
from nfopt.data import NAMED, Prepared, SplitKind, Table, load, prepare, split
from nfopt.errors import StudyError
from nfopt.study.kept import is_kept, read_kept

OPTIONS = (
    "columns",
    "context",
    "header",
    "drop_rows",
    "strict",
    "bounds",
    "log",
    "weights",
    "groups",
    "dequantise",
)


@dataclass(frozen=True, eq=False)
class Source:
    """Prepared data, and how to prepare it again.

    Attributes:
        data: Split and preprocessed.
        described: Plain data for the study's attribute `nfopt:data`: name, source (a path, a named
            data set, or None for what was given in memory), options, split, seed, shape, columns,
            fingerprint.
    """

    data: Prepared
    described: dict[str, Any]

    @property
    def name(self) -> str:
        """What a study of this data is called where the user does not say."""
        if self.described["source"] is None:
            return f"{self.data.name}-{self.data.fingerprint[:8]}"
        return self.data.name


def read(
    source: Any,
    *,
    split_kind: SplitKind | None = None,
    seed: int = 0,
    on_warning: Callable[[str], None] | None = None,
    **options: Any,
) -> Source:
    """Load, split and prepare data.

    Args:
        source: Whatever `nfopt.data.load` takes, or a `Prepared`, which is taken as it is.
        split_kind: As in `nfopt.data.split`.
        seed: Of the split and of dequantising.
        on_warning: As in `nfopt.data.load`.
        options: Others of `nfopt.data.load`; None stands for its default.

    Raises:
        DataError: If the data can't be used.
        TypeError: If an option is not known.
    """
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise TypeError(f"`{unknown[0]}` is no option of the data; known: {', '.join(OPTIONS)}.")
    given = {key: value for key, value in options.items() if value is not None}
    place: str | None = None
    if isinstance(source, Prepared):
        data = source
    else:
        table = source
        if not isinstance(source, Table):
            place = _place(source)
            table = load(source, on_warning=on_warning, **given)
        data = prepare(table, split(table, kind=split_kind, seed=seed), seed)
    plain = _plain(given)
    described = {
        "name": data.name,
        # with an array among the options, the file alone would not be the same data
        "source": place if plain is not None else None,
        "options": plain or {},
        "split": split_kind,
        "seed": seed,
        "rows": [len(part) for part in data.parts],
        "columns": list(data.columns),
        "context_columns": list(data.context_columns),
        "fingerprint": data.fingerprint,
    }
    return Source(data, described)


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
        found = source
    else:
        place = before.get("source") if source is None else source
        if place is None:
            place = known.get(names.KEPT)
        if is_kept(place):
            data = read_kept(place)
            found = Source(data, {**before, "rows": [len(part) for part in data.parts]})
        elif place is None or (source is None and known.get(names.KEPT) == place):
            raise StudyError(
                f"`data` must be given: the study was made with data in memory"
                f" ({before.get('name', 'data')!r}), "
                + (f"and {place!r} is not there." if place else "which was not kept.")
            )
        else:
            found = read(
                place,
                split_kind=before.get("split"),
                seed=int(before.get("seed", 0)),
                on_warning=lambda text: None,  # said when the study was made
                **before.get("options", {}),
            )
    if found.data.fingerprint != before.get("fingerprint"):
        raise StudyError(
            f"`data` {found.data.name!r} is not what the study was made with (rows"
            f" {found.described['rows']}, then {before.get('rows')}; fingerprint"
            f" {found.data.fingerprint[:12]}, then {str(before.get('fingerprint'))[:12]})."
        )
    return found


def _place(source: Any) -> str | None:
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
