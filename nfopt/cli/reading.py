"""How the texts of options are read: each mistake is one line that names the option."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from typing import Any

import typer

Selector = str | int


def names(texts: Sequence[str] | None, option: str) -> list[Selector] | None:
    """Read columns: names or positions with commas between, in one option or several.

    A name with a comma in it stands in double quotes: `--columns 'a,"b, in mm"'`.

    Raises:
        typer.BadParameter: If one is empty.
    """
    if not texts:
        return None
    found: list[Selector] = []
    for text in texts:
        parts = [
            part.strip() for line in csv.reader([text], skipinitialspace=True) for part in line
        ]
        if not all(parts) or not parts:
            raise wrong(option, f"names an empty column in {text!r}: write A,B,C")
        # of these, `find_column` looks for the name first and then takes it as a position
        found += [int(part) if part.isascii() and part.isdigit() else part for part in parts]
    return found


def bounds_of(texts: Sequence[str] | None) -> dict[str, tuple[float | None, float | None]] | None:
    """Read `COL=LOW:HIGH`; an end that is left out is open.

    Raises:
        typer.BadParameter: If it is written in another way.
    """
    if not texts:
        return None
    found: dict[str, tuple[float | None, float | None]] = {}
    for text in texts:
        name, equals, ends = (part.strip() for part in text.rpartition("="))
        low, colon, high = ends.partition(":")
        try:
            pair = tuple(float(end) if end.strip() else None for end in (low, high))
        except ValueError:
            pair = ()
        if not (name and equals and colon and pair) or any(
            e is not None and math.isnan(e) for e in pair
        ):
            raise wrong(
                "bounds", f"must be COL=LOW:HIGH, such as energy=0:10 or mass=0:, got {text!r}"
            )
        if name in found:
            raise wrong("bounds", f"names column {name!r} twice")
        found[name] = (pair[0], pair[1])
    return found


def dequantise_of(
    texts: Sequence[str] | None,
) -> bool | list[Selector] | dict[str, float | None] | None:
    """Read `none`, `all`, or columns with or without a step: `A,COL=STEP`.

    Raises:
        typer.BadParameter: If a step is no number, or words and columns are mixed.
    """
    found = names(texts, "dequantise")
    if found is None:
        return None
    if found in (["none"], ["all"]):
        return found == ["all"]
    steps: dict[str, float | None] = {}
    for one in found:
        name, equals, step = str(one).rpartition("=")
        try:
            steps[name if equals else str(one)] = float(step) if equals else None
        except ValueError:
            raise wrong("dequantise", f"must be none, all, or COL=STEP, got {str(one)!r}") from None
    return found if all(step is None for step in steps.values()) else steps


def words(text: str, option: str) -> list[str]:
    """Read words with commas between.

    Raises:
        typer.BadParameter: If one is empty.
    """
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise wrong(option, f"has an empty word in {text!r}: write a,b")
    return found


def split_of(text: str | None) -> tuple[str | None, Selector | None]:
    """Read `random`, `blocked` or `group:COLUMN`: the kind of split, and the column of groups.

    Raises:
        typer.BadParameter: If it is none of them.
    """
    if text is None or text in ("random", "blocked"):
        return text, None
    kind, colon, column = (part.strip() for part in text.partition(":"))
    if kind != "group" or not colon or not column:
        raise wrong("split", f"must be random, blocked or group:COLUMN, got {text!r}")
    return kind, int(column) if column.isascii() and column.isdigit() else column


def wrong(option: str, message: str) -> typer.BadParameter:
    """Make the error of an option's value."""
    return typer.BadParameter(f"`--{option}` {message}", param_hint=f"--{option}")


def whole(option: str, least: int) -> Callable[[str], int]:
    """Give the reader of a whole number."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise wrong(option, f"must be a whole number of at least {least}, got {str(text)!r}")
        return number

    return read


def one_of(option: str, *known: str) -> Callable[[str], str]:
    """Give the reader of one of some words."""

    def read(text: str) -> str:
        if text not in known:
            raise wrong(option, f"must be {' or '.join(known)}, got {text!r}")
        return text

    return read


def minutes(text: str) -> float:
    """Read a number of minutes."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise wrong("minutes", f"must be a number of minutes above 0, got {str(text)!r}")
    return number


def data_options(
    *,
    columns: Sequence[str] | None,
    context: Sequence[str] | None,
    bounds: Sequence[str] | None,
    log: Sequence[str] | None,
    weights: str | None,
    split: str | None,
    dequantise: Sequence[str] | None,
    header: bool | None,
    separator: str | None,
    decimal: str | None,
    drop_rows: bool,
    strict: bool,
) -> dict[str, Any]:
    """Read the data options into the arguments of `nfopt.search` and `nfopt.fit`.

    Raises:
        typer.BadParameter: If one is not written as it should be.
    """
    kind, groups = split_of(split)
    one = names([weights], "weights") if weights else None
    if weights is not None and (one is None or len(one) != 1):
        raise wrong("weights", f"must name one column, got {weights!r}")
    return {
        "columns": names(columns, "columns"),
        "context": names(context, "context"),
        "bounds": bounds_of(bounds),
        "log": names(log, "log"),
        "weights": one[0] if one else None,
        "groups": groups,
        "split": kind,
        "dequantise": dequantise_of(dequantise),
        "header": header,
        "separator": separator,
        "decimal": decimal,
        "drop_rows": drop_rows,
        "strict": strict,
    }
