"""How a text file is written: its separator, its quotes, its decimal sign.

CleverCSV finds the separator from the first lines (van den Burg et al. 2019, "Wrangling messy CSV
files by detecting row and type patterns"): it weighs how alike the lines are against how many
fields are numbers or dates. The standard library's Sniffer counts characters, and takes the comma
of `1,5;2,5` for the separator. What CleverCSV lacks is a table of one column: that is told here.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nfopt.errors import DataError

SPACES = r"\s+"  # any run of white space, as pandas takes it
NONE = "\x1f"  # of a table of one column: stands in no text
_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_WORDS |= {"space": SPACES, "whitespace": SPACES, " ": SPACES, SPACES: SPACES}
_CANDIDATES = (",", ";", "\t", "|", " ")
_ROWS, _CHARACTERS = 200, 32_768  # what is sniffed
_LONG = 8_192  # characters of a line
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")


@dataclass(frozen=True)
class TextOptions:
    """What a reader says of a text file; None: found from its first lines.

    Attributes:
        header: The first line holds the columns' names.
        separator: One character, or "tab", "space" (any white space), "comma", "semicolon", "pipe".
        decimal: "." or ",".

    Raises:
        ValueError: If one is none of these, or both are the same sign.
    """

    header: bool | None = None
    separator: str | None = None
    decimal: str | None = None

    def __post_init__(self) -> None:
        given: object = self.header
        if given is not None and not isinstance(given, bool):
            raise ValueError(f"`header` must be True, False or None, got {given!r}")
        given = self.separator
        if given is not None:
            known = isinstance(given, str) and (given in _WORDS or len(given) == 1)
            if not known or re.fullmatch(r"[\w.+\-\"'\r\n\x00]", str(given)):
                raise ValueError(
                    "`separator` must be one sign between fields, or tab, space, comma, semicolon "
                    f"or pipe, got {given!r}"
                )
            object.__setattr__(self, "separator", _WORDS.get(str(given), given))
        given = self.decimal
        if given is not None and given not in (".", ","):
            raise ValueError(f"`decimal` must be '.' or ',', got {given!r}")
        if given is not None and given == self.separator:
            raise ValueError(f"`separator` and `decimal` must differ, got {given!r} for both")


PLAIN = TextOptions()


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        separator: One character, `SPACES`, or `NONE` for a table of one column.
        quote: The sign around a field that holds the separator.
        decimal: "." or ",".
    """

    separator: str
    quote: str = '"'
    decimal: str = "."

    def fields(self, lines: Sequence[str]) -> list[list[str]]:
        """Cut lines into fields, without the white space around them."""
        if self.separator == SPACES:
            lines = [" ".join(line.split()) + "\n" for line in lines]
        reader = csv.reader(
            lines,
            delimiter=" " if self.separator == SPACES else self.separator,
            quotechar=self.quote,
            skipinitialspace=True,
        )
        return [[field.strip() for field in row] for row in reader if row]


def dialect_of(lines: Sequence[str], options: TextOptions) -> Dialect:
    """Find how a file is written.

    Args:
        lines: Its first ones with their ends, without blank ones and comments; the first may hold
            names.
        options: What is said of it.

    Raises:
        DataError: If commas within numbers may be decimal signs as well as between thousands.
    """
    sample: list[str] = []
    for line in lines[:_ROWS]:
        sample.append(line)
        if len(sample) > 5 and sum(map(len, sample)) > _CHARACTERS:
            break
    quote = _quote(sample[0])
    separator = options.separator or _separator(sample, quote, options.decimal)
    dialect = Dialect(separator, quote)
    if quote == "'" and len(sample) > 1:
        names, first = dialect.fields(sample[:1]), dialect.fields(sample[1:2])
        if len(names[0]) != len(first[0]):  # names that begin with a ', for spreadsheets
            separator = options.separator or _separator(sample, '"', options.decimal)
            dialect = Dialect(separator)
    return Dialect(
        separator,
        dialect.quote,
        options.decimal or _decimal(dialect.fields(sample[1:] or sample), separator),
    )


def _quote(first: str) -> str:
    text = first.strip()
    return "'" if len(text) > 2 and text[0] == text[-1] == "'" else '"'


def _separator(sample: Sequence[str], quote: str, decimal: str | None) -> str:
    candidates = [one for one in _CANDIDATES if one != decimal]
    fit = [
        one for one in candidates if _cuts(Dialect(SPACES if one == " " else one, quote), sample)
    ]
    # many columns: the sign that stands most often in the first line, since CleverCSV's time
    # grows with the square of a line's length
    most = max(fit, key=sample[0].count, default=NONE)
    if len(fit) > 1 and max(map(len, sample)) <= _LONG:
        found = _sniffed("".join(sample), candidates)
        most = found if found in fit else fit[0] if found else most
    if fit:
        return SPACES if most == " " else most
    if decimal == "," and _cuts(Dialect(",", quote), sample):
        return ","  # "1,5","2,5": quotes tell the two commas apart
    return NONE


def _sniffed(text: str, candidates: Sequence[str]) -> str:
    from clevercsv import Sniffer

    try:
        return getattr(Sniffer().sniff(text, delimiters=list(candidates)), "delimiter", "") or ""
    except Exception:  # noqa: BLE001 - it raises anything at a text that it makes nothing of
        return ""


def _cuts(dialect: Dialect, sample: Sequence[str]) -> bool:
    """Tell whether a separator cuts the lines into a table of several columns."""
    try:
        rows = dialect.fields(sample)
    except csv.Error:
        return False
    names, body = len(rows[0]), rows[1:] or rows[:1]
    width = Counter(map(len, body)).most_common(1)[0][0]
    if width < 2:
        return False
    if dialect.separator == ",":
        # a lone column of numbers such as 1,5 below a name: the comma is its decimal sign
        lone = all(_COMMA.fullmatch(line.strip()) for line in sample[1:])
        if names == 1 and len(sample) > 1 and lone:
            return [row[0] for row in body] == [str(at) for at in range(1, len(body) + 1)]
    if dialect.separator == SPACES:  # words stand in names and texts, too
        return names in (width, width - 1)
    return True


def row_names(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first fields of rows are their numbers, as R writes them without a name."""
    first = [row[0] for row in rows]
    return all(re.fullmatch(r"\d+", one) for one in first) and len(set(first)) == len(first)


def _decimal(rows: Sequence[Sequence[str]], separator: str) -> str:
    fields = [field for row in rows for field in row]
    commas = [field for field in fields if _COMMA.fullmatch(field) or _GROUPED.fullmatch(field)]
    if not commas or any(_POINT.fullmatch(field) for field in fields):
        return "."
    # a semicolon stands between fields because the comma is in the numbers
    if separator != ";" and all(_GROUPED.fullmatch(field) for field in commas):
        raise DataError(
            f'{commas[0]!r} may be a number with decimals or thousands: say `decimal=","` '
            "(--decimal ,) for decimals, or write it without the comma"
        )
    return ","


def is_number(text: str, decimal: str = ".") -> bool:
    """Tell whether a field is a number."""
    try:
        float(text.replace(",", ".", 1) if decimal == "," else text)
    except ValueError:
        return False
    return True
