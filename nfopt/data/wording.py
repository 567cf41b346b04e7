"""How messages about data name columns and rows: one line, the first few, and the count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

_SHOWN = 5
_CHOSEN = 12


def rows_text(rows: NDArray[np.intp]) -> str:
    """Name the first few of some row numbers, which count from 0 (a header is not a row)."""
    shown = ", ".join(str(int(row)) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more} (counted from 0)"


def names_text(names: Sequence[str]) -> str:
    """Name the first few of some columns."""
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"column{'s' if len(names) > 1 else ''} {shown}{more}"


def not_finite_text(
    rows: Mapping[str, NDArray[np.intp]],
    of: int,
    stay: int,
    *,
    enough: int = 1,
    others: Sequence[str] = (),
) -> str:
    """Say which columns are not finite, in how many rows, and what to do about it.

    Args:
        rows: By column, those in which it is not.
        of: Rows of the table.
        stay: Rows in which all are finite.
        enough: Rows that would be.
        others: The other columns, if the caller may choose columns.
    """
    if len(rows) == 1:
        (name, places), *_ = rows.items()
        said, it = f"column {name!r} is NaN, missing or infinite in {rows_text(places)}", "it"
    else:
        shown = [f"{name!r} ({len(places):,})" for name, places in rows.items()][:_SHOWN]
        more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
        first = min(int(places[0]) for places in rows.values())
        it = "them"
        said = (
            f"{of - stay:,} of {of:,} rows have NaN, missing or infinite values, in columns"
            f" {', '.join(shown)}{more}; the first is row {first} (counted from 0)"
        )
    advice = [f"correct {it}"]
    if stay >= enough:
        advice.append(
            "leave such rows out with `drop_rows=True` (--drop-rows), which leaves"
            f" {stay:,} of {of:,}"
        )
    if others:
        advice.append(f"choose other columns{choice_text(others)}")
    return f"{said}: {', or '.join(filter(None, (', '.join(advice[:-1]), advice[-1])))}"


def choice_text(names: Sequence[str]) -> str:
    """Say how to choose some columns, as `--columns` takes them; the names only if they are few."""
    if not 0 < len(names) <= _CHOSEN:
        return " with `columns`"
    quoted = [f'"{name}"' if "," in name or " " in name else name for name in names]
    return f" with `columns` ({','.join(quoted)})"


def nearest_text(name: str, known: Iterable[str]) -> str:
    """Offer the nearest of the known names, or the first few of them when none is near."""
    names = list(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(one) for one in near) + "?"
    shown = ", ".join(repr(one) for one in names[:12])
    return f"there are {shown}" + (f" and {len(names) - 12:,} more" if len(names) > 12 else "")


def short(value: object, limit: int = 40) -> str:
    """Show a value in one line of at most `limit` characters."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= limit else text[: limit - 3] + "..."


def escaped_name(name: str) -> str:
    """Write a column's name so that no spreadsheet takes it for a formula: `=a` becomes `'=a`.

    A name that looks escaped gets one more sign, so that no two names become one.
    """
    begins = name.lstrip("'")[:1]
    return f"'{name}" if begins and begins in "=+-@\t\r" else name
