"""Text files as people's programs write them: separator, quotes, decimal sign, names."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nfopt.data import Table, load, load_rows
from nfopt.errors import DataError

ROWS = 60
VALUES = np.round(np.random.default_rng(3).normal(size=(ROWS, 3)) * 10.0, 3)
TWO, ONE = VALUES[:, :2], VALUES[:, :1]


def _lines(values: Any, separator: str, decimal: str = ".", quote: str = "") -> str:
    return "".join(
        separator.join(quote + f"{one:.3f}".replace(".", decimal) + quote for one in row) + "\n"
        for row in values
    )


ABC = ("a", "b", "c")
# text, options of load, names, values
WRITTEN: dict[str, tuple[str, dict[str, Any], tuple[str, ...], Any]] = {
    "commas": ("a,b,c\n" + _lines(VALUES, ","), {}, ABC, VALUES),
    "names with commas, semicolons": (
        "Length, mm;Mass, kg;T\n" + _lines(VALUES, ";"),
        {},
        ("Length, mm", "Mass, kg", "T"),
        VALUES,
    ),
    "two columns, names with commas": (
        "Length, mm;Mass, kg\n" + _lines(TWO, ";"),
        {},
        ("Length, mm", "Mass, kg"),
        TWO,
    ),
    "quoted names": (
        '"Length, mm","T; K","c"\n' + _lines(VALUES, ","),
        {},
        ("Length, mm", "T; K", "c"),
        VALUES,
    ),
    "a name over two lines": (
        '"Length\n(mm)",b,c\n' + _lines(VALUES, ","),
        {},
        ("Length\n(mm)", "b", "c"),
        VALUES,
    ),
    "decimal commas, semicolons": ("a;b;c\n" + _lines(VALUES, ";", ","), {}, ABC, VALUES),
    "decimal commas, tabs": ("a\tb\tc\n" + _lines(VALUES, "\t", ","), {}, ABC, VALUES),
    "decimal commas, spaces": ("a b c\n" + _lines(VALUES, " ", ","), {}, ABC, VALUES),
    "decimal commas, quoted": ('"a","b","c"\n' + _lines(VALUES, ",", ",", '"'), {}, ABC, VALUES),
    "decimal commas, no names": (
        _lines(VALUES, ";", ","),
        {"header": False},
        ("x0", "x1", "x2"),
        VALUES,
    ),
    "pipes": ("a|b|c\n" + _lines(VALUES, "|"), {}, ABC, VALUES),
    "single quotes": ("'a, 1','b','c'\n" + _lines(VALUES, ","), {}, ("a, 1", "b", "c"), VALUES),
    "aligned": (
        "  a     b     c\n" + "".join("".join(f"{x:9.3f}" for x in row) + "\n" for row in VALUES),
        {},
        ABC,
        VALUES,
    ),
    "one column": ("value\n" + _lines(ONE, ","), {}, ("value",), ONE),
    "one column, a space in its name": ("fuel rate\n" + _lines(ONE, ","), {}, ("fuel rate",), ONE),
    "one column, a comma in its name": (
        "Length, mm\n" + _lines(ONE, ";"),
        {},
        ("Length, mm",),
        ONE,
    ),
    "one column, decimal commas": ("wert\n" + _lines(ONE, ";", ","), {}, ("wert",), ONE),
    "one column, quoted decimal commas": (
        '"wert"\n' + _lines(ONE, ";", ",", '"'),
        {},
        ("wert",),
        ONE,
    ),
    "one column, no name": (_lines(ONE, ";"), {"header": False}, ("x0",), ONE),
    "a separator that is said": (
        "a:b:c\n" + _lines(VALUES, ":"),
        {"separator": ":"},
        ABC,
        VALUES,
    ),
    "a decimal sign that is said": (
        "a;b;c\n" + _lines(VALUES, ";", ","),
        {"decimal": ","},
        ABC,
        VALUES,
    ),
    "tab, as a word": ("a\tb\tc\n" + _lines(VALUES, "\t"), {"separator": "tab"}, ABC, VALUES),
    "names of numbers": (
        "2019,2020,2021\n" + _lines(VALUES, ","),
        {"header": True},
        ("2019", "2020", "2021"),
        VALUES,
    ),
    "names behind a sign": ("# a,b,c\n" + _lines(VALUES, ","), {}, ABC, VALUES),
    "names behind a sign, spaces": ("#a b c\n" + _lines(VALUES, " "), {}, ABC, VALUES),
    "comments before the names": (
        "# made by hand\n#, twice\na,b,c\n" + _lines(VALUES, ","),
        {},
        ABC,
        VALUES,
    ),
    "comments before names behind a sign": (
        "# made by hand\n# a,b,c\n" + _lines(VALUES, ","),
        {},
        ABC,
        VALUES,
    ),
    "comments before rows": (
        "# made by hand\n" + _lines(VALUES, ","),
        {"header": False},
        ("x0", "x1", "x2"),
        VALUES,
    ),
    "trailing commas": (
        "a,b,c,\n" + _lines(VALUES, ",").replace("\n", ",\n"),
        {},
        ABC,
        VALUES,
    ),
    "trailing commas, two": (
        "a,b,c,,\n" + _lines(VALUES, ",").replace("\n", ",,\n"),
        {},
        ABC,
        VALUES,
    ),
    "trailing commas in the rows": (
        "a,b,c\n" + _lines(VALUES, ",").replace("\n", ",\n"),
        {},
        ABC,
        VALUES,
    ),
    "a trailing comma in the names": ("a,b,c,\n" + _lines(VALUES, ","), {}, ABC, VALUES),
    "trailing semicolons, no names": (
        _lines(VALUES, ";").replace("\n", ";\n"),
        {"header": False},
        ("x0", "x1", "x2"),
        VALUES,
    ),
    "old line ends": (("a,b,c\n" + _lines(VALUES, ",")).replace("\n", "\r"), {}, ABC, VALUES),
    "two equal names that are not used": (
        "a,b,c,n,n\n" + _lines(VALUES, ",").replace("\n", ",x,y\n"),
        {"columns": ["a", "b", "c"]},
        ABC,
        VALUES,
    ),
    "text with other separators": (
        "a,b,c,note\n" + _lines(VALUES, ",").replace("\n", ',"x; y; z"\n'),
        {"columns": ["a", "b", "c"]},
        ABC,
        VALUES,
    ),
    "R's write.csv": (
        '"","a","b","c"\n'
        + "".join(f'"{i + 1}",{line}\n' for i, line in enumerate(_lines(VALUES, ",").split())),
        {},
        ABC,
        VALUES,
    ),
    "R's write.table": (
        '"a" "b" "c"\n'
        + "".join(
            f'"{i + 1}" {line}\n' for i, line in enumerate(_lines(VALUES, " ").split("\n")[:-1])
        ),
        {},
        ABC,
        VALUES,
    ),
}


def _load(path: Path, **options: Any) -> Table:
    return load(path, dequantise=False, on_warning=lambda text: None, **options)


@pytest.mark.parametrize("case", list(WRITTEN))
@pytest.mark.parametrize("ending", [".csv", ".txt.gz"])
def test_text_is_read_as_it_was_meant(case: str, ending: str, tmp_path: Path) -> None:
    text, options, names, values = WRITTEN[case]
    path = tmp_path / f"t{ending}"
    path.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    table = _load(path, **options)
    assert table.columns == names
    np.testing.assert_array_equal(table.values, values)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_few_rows_are_sniffed_too(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for separator, decimal in ((",", "."), (";", ","), ("\t", "."), (" ", ".")):
        path.write_text(separator.join(ABC) + "\n" + _lines(VALUES[:rows], separator, decimal))
        values, _ = load_rows(path, columns=ABC)
        np.testing.assert_array_equal(values, VALUES[:rows])
    path.write_text(_lines(VALUES[:rows], ","))
    values, _ = load_rows(path, columns=ABC, header=False)
    np.testing.assert_array_equal(values, VALUES[:rows])


GROUPED = "a\tb\n" + "".join(
    f"{1 + i % 9},{i % 10}00\t{2 + i % 7},5{i % 10}0\n" for i in range(ROWS)
)
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "names or data": (
        "2019,2020,2021\n" + _lines(VALUES, ","),
        {},
        r"numbers \(2019, 2020, 2021\).*--no-header.*--header",
    ),
    "decimals or thousands": (GROUPED, {}, r"'1,000' may be .* decimals or thousands.*--decimal ,"),
    "a point among decimal commas": (
        "a;b\n" + "".join(f"1.{100 + i};{i},5\n" for i in range(ROWS)),
        {"decimal": ","},
        r"'a' is not numeric in rows 0",
    ),
    "two equal names": ("a,b,a\n" + _lines(VALUES, ","), {}, "duplicate column name: column 'a'"),
    "a separator of two": ("a,b\n", {"separator": "ab"}, "`separator` must be one sign.*'ab'"),
    "a separator in numbers": ("a,b\n", {"separator": "1"}, "`separator` must be one sign.*'1'"),
    "another decimal sign": ("a,b\n", {"decimal": "·"}, "`decimal` must be '.' or ','"),
    "one sign for both": ("a", {"separator": ",", "decimal": ","}, "must differ"),
    "header of another type": ("a", {"header": "yes"}, "`header` must be True, False or None"),
    "a short line behind trailing commas": (
        "a,b,c,\n" + _lines(VALUES, ",").replace("\n", ",\n") + "1,2\n",
        {},
        "ragged: row 60",
    ),
    "rows of another width": ("a,b\n" + "x,2,3\n" * ROWS, {}, "ragged.*more fields than the 2"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_cannot_be_told_is_refused(case: str, tmp_path: Path) -> None:
    text, options, message = WRONG[case]
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        _load(path, **options)
    assert "\n" not in str(caught.value)


def test_a_sign_for_decimals_settles_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(GROUPED)
    assert _load(path, decimal=",").values[0].tolist() == [1.0, 2.5]


def test_numbers_of_lines_count_from_the_top(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# one\n# two\na,b,c\n" + _lines(VALUES, ",") + "1,2,3,4\n")
    with pytest.raises(DataError) as caught:
        _load(path)
    assert re.search(r"line 64, saw 4", str(caught.value))
