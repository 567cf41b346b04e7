"""CSV and its like: any separator, with names in the first line or without."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from nfopt.data.raw import RawTable, from_frame
from nfopt.data.sources.dialect import (
    SPACES,
    Dialect,
    TextOptions,
    dialect_of,
    is_number,
    row_names,
)
from nfopt.data.sources.limits import MIB, check_unpacked, check_width, refusing
from nfopt.data.wording import short
from nfopt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_BEGINNING = 4 * MIB  # within which the first lines lie
_ROWS = 1_000  # that are looked at before the file is read
_NO_NAME = "unnamed"


@dataclass(frozen=True)
class _Layout:
    """What the first lines tell.

    Attributes:
        dialect: Separator, quotes and decimal sign.
        skipped: Lines before the first row.
        names: One a field, "" for none; None where the file has no names.
        width: Fields of a row.
    """

    dialect: Dialect
    skipped: int
    names: list[str] | None
    width: int


def read_text(path: Path, size: int, name: str, options: TextOptions) -> RawTable:
    """Read a text file of so many bytes, compressed or not."""
    import pandas as pd

    try:
        if path.suffix.lower() == ".gz":
            _check_gzip(path, size)
        layout = _look(path, options)
        frame = _frame(path, layout)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(_ragged_text(path, str(error), layout)) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} is not CSV as its ending says: not UTF-8 text at byte {error.start}"
        ) from error
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{str(path)!r} is empty: a header without rows") from error
    if len(frame) == 0:
        raise DataError(f"{str(path)!r} is empty: a header without rows")
    return _named(path, frame, layout, name)


def _check_gzip(path: Path, size: int) -> None:
    """Unpack once, keeping nothing, to know how much there is."""
    unpacked = 0
    with refusing(path), gzip.open(path, "rb") as file:
        while block := file.read(MIB):
            unpacked += len(block)
            check_unpacked(path, size, unpacked)


def _open(path: Path, mode: str, **options: Any) -> IO[Any]:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    file: IO[Any] = opener(path, mode, **options)
    return file


def _open_text(path: Path) -> IO[str]:
    return _open(path, "rt", encoding="utf-8-sig", newline="")


def _first_lines(path: Path) -> list[str]:
    """Read whole lines from the beginning of a file, with their ends."""
    with refusing(path), _open(path, "rb") as file:
        start = file.read(_BEGINNING)
    if b"\x00" in start:
        raise DataError(f"{path.name!r} is not CSV as its ending says: it holds binary data")
    cut = len(start) == _BEGINNING
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    lines = _joined(decoder.decode(start, final=not cut).splitlines(keepends=True))
    if cut and len(lines) < 2:
        raise DataError(
            f"{path.name!r} is not CSV as its ending says: its first line is longer than "
            f"{_BEGINNING // MIB} MiB"
        )
    return lines[:-1] if cut else lines


def _joined(lines: list[str]) -> list[str]:
    """Join what `str.splitlines` cut at signs that end no line of a file."""
    joined: list[str] = []
    for line in lines:
        if joined and not joined[-1].endswith(("\n", "\r")):
            joined[-1] += line
        else:
            joined.append(line)
    return joined


def _look(path: Path, options: TextOptions) -> _Layout:
    """Find out how a file is written, from its first lines."""
    lines = _first_lines(path)
    at = next((number for number, line in enumerate(lines) if line.strip()), None)
    if at is None:
        raise DataError(f"{str(path)!r} is empty: it holds only blank lines")
    marked = at
    while at < len(lines) and (lines[at].lstrip().startswith("#") or not lines[at].strip()):
        at += 1
    comment = next((line for line in reversed(lines[marked:at]) if line.strip()), None)
    body = [line for line in lines[at:] if line.strip()][:_ROWS]
    if not body:  # names alone, behind a `#`
        raise DataError(f"{str(path)!r} is empty: a header without rows")
    with refusing(path):
        if comment is not None:
            stripped = comment.lstrip().lstrip("#").lstrip()
            if layout := _named_by_comment(path, stripped, body, at, options):
                return layout
        return _from_lines(path, body, _blank(lines, at), options)


def _blank(lines: Sequence[str], at: int) -> int:
    """Go to the first line that is not blank."""
    return next(number for number in range(at, len(lines)) if lines[number].strip())


def _named_by_comment(
    path: Path, names: str, body: Sequence[str], at: int, options: TextOptions
) -> _Layout | None:
    """Take names that stand behind a `#`, if they are as many as the first row's numbers."""
    if options.header is False or not names.strip():
        return None
    dialect = dialect_of([names, *body], options)
    header, first = dialect.fields([names])[0], dialect.fields(body[:1])[0]
    numbers = all(is_number(field, dialect.decimal) or not field for field in first)
    if not numbers or len(header) != len(first):
        return None
    return _laid_out(path, dialect, header, dialect.fields(body), at)


def _from_lines(path: Path, body: Sequence[str], at: int, options: TextOptions) -> _Layout:
    dialect = dialect_of(body, options)
    rows = dialect.fields(body)
    if options.header is False:
        return _laid_out(path, dialect, None, rows, at)
    names = rows[0]
    if options.header is None:
        _check_header(path, names, dialect)
    return _laid_out(path, dialect, names, rows[1:], at + _height(body, dialect))


def _height(body: Sequence[str], dialect: Dialect) -> int:
    """Count the lines that the names take: one may hold line ends, in quotes."""
    reader = csv.reader(
        body,
        delimiter=" " if dialect.separator == SPACES else dialect.separator,
        quotechar=dialect.quote,
    )
    next(reader)
    return reader.line_num


def _check_header(path: Path, fields: Sequence[str], dialect: Dialect) -> None:
    filled = [field for field in fields if field]
    numbered = len(fields) > 1 and list(fields) == [str(at) for at in range(len(fields))]
    if filled and not numbered and all(is_number(field, dialect.decimal) for field in filled):
        shown = ", ".join(fields[:3]) + (", ..." if len(fields) > 3 else "")
        raise DataError(
            f"the first line of {path.name!r} holds numbers ({short(shown, 60)[1:-1]}): if they "
            "are data, pass `header=False` (--no-header); if they are names, `header=True` "
            "(--header)"
        )


def _laid_out(
    path: Path,
    dialect: Dialect,
    names: list[str] | None,
    rows: Sequence[Sequence[str]],
    skipped: int,
) -> _Layout:
    """Bring names and fields together: a trailing separator, and R's row numbers without a name."""
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(names or ())
    check_width(path, max(width, len(names or ())))
    if names is not None and len(names) != width:
        more = width - len(names)
        if more > 0 and not any(field for row in rows for field in row[len(names) :]):
            names = names + [""] * more
        elif more < 0 and not any(names[width:]):
            names = names[:width]
        elif more == 1 and row_names([row for row in rows if len(row) == width]):
            names = ["", *names]
        else:
            width = len(names)
    return _Layout(dialect, skipped, names, width)


def _frame(path: Path, layout: _Layout) -> pd.DataFrame:
    import pandas as pd

    passing = (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError)
    with refusing(path, "", passing), _open_text(path) as file, warnings.catch_warnings():
        for _ in range(layout.skipped):
            file.readline()
        # A line too long for the header: pandas drops its end with a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        frame: pd.DataFrame = pd.read_csv(
            file,
            sep=layout.dialect.separator,
            quotechar=layout.dialect.quote,
            decimal=layout.dialect.decimal,
            header=None,
            names=list(range(layout.width)),
            index_col=False,
            skipinitialspace=True,
            **_exact_floats(pd.__version__),
        )
        return frame


def _exact_floats(version: str) -> dict[str, Any]:
    """Ask pandas for correctly rounded numbers: from 3.1 on they always are."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return {} if (major, minor) >= (3, 1) else {"float_precision": "round_trip"}


def _ragged_text(path: Path, said: str, layout: _Layout) -> str:
    reason = said.removeprefix("Error tokenizing data. C error: ").strip()
    if "Length of header" in reason:
        reason = f"lines have more fields than the {layout.width} of the first line"
    reason = re.sub(r"(?<=line )\d+", lambda line: str(int(line[0]) + layout.skipped), reason)
    what = "is ragged" if "xpected" in reason or "lines have" in reason else "cannot be read"
    return f"{path.name!r} {what}: {short(reason, 90)[1:-1]}"


def _named(path: Path, frame: pd.DataFrame, layout: _Layout, name: str) -> RawTable:
    """Give the fields their names, and leave out those that a trailing separator made."""
    filled = frame.notna().any().to_numpy()
    names = layout.names
    last = int(np.flatnonzero(filled)[-1]) if filled.any() else frame.shape[1] - 1
    _check_short_lines(path, frame, layout, last)
    if names is None:
        end = last + 1 if layout.width > 1 else 1
        kept = list(range(end))
        labels = [f"x{position}" for position in kept]
    else:
        kept = [at for at, one in enumerate(names) if one or filled[at]]
        labels = _without_blanks([names[at] for at in kept])
    frame = frame.iloc[:, kept]
    if layout.dialect.decimal == ",":
        frame = _points_marked(frame)
    frame.columns = labels
    raw = from_frame(frame, name=name)
    return replace(raw, named=False) if names is None else raw


def _without_blanks(names: Sequence[str]) -> list[str]:
    """Name what has no name; the first as it always was."""
    blank = [at for at, one in enumerate(names) if not one]
    return [
        one or (_NO_NAME if at == blank[0] else f"{_NO_NAME}_{at}") for at, one in enumerate(names)
    ]


def _points_marked(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep `1.234` from being taken for a number where the decimal sign is a comma."""

    def marked(value: object) -> object:
        point = isinstance(value, str) and "." in value and is_number(value)
        return f"{value} (a point)" if point else value

    frame = frame.copy(deep=False)
    for label in frame.columns:
        if frame[label].dtype.kind not in "biuf":
            frame[label] = frame[label].astype(object).map(marked)
    return frame


def _check_short_lines(path: Path, frame: pd.DataFrame, layout: _Layout, last: int) -> None:
    """Refuse a line with too few fields, which pandas fills with NaN."""
    missing = np.flatnonzero(frame.iloc[:, last].isna().to_numpy())
    if len(missing) == 0 or last == 0:
        return
    row = int(missing[0])
    with _open_text(path) as file:
        lines = (line for line in islice(file, layout.skipped, None) if line.strip())
        line = next(islice(lines, row, None), "")
    cells = layout.dialect.fields([line])
    if cells and len(cells[0]) <= last:
        raise DataError(
            f"{path.name!r} is ragged: row {row} (counted from 0) has {len(cells[0])} fields, "
            f"the first line {last + 1}"
        )
