"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

DATA, SEARCH, RUN = "Data", "Search", "Run"

Selector = str | int
SAMPLERS = ("tpe", "nsga2", "random")


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


def limits(texts: Sequence[str] | None) -> dict[str, tuple[float | None, float | None]] | None:
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
    if text is None or text in ("random", "blocked", "given"):
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


def _minutes(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise wrong("minutes", f"must be a number of minutes above 0, got {str(text)!r}")
    return number


DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        help="A table: a CSV, Parquet, NPY or NPZ file, or a named data set (magic, penbased, "
        "digits, breast_cancer, wine, moons, rings, sparse_graph:D=8).",
    ),
]
ModelArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A folder that nfopt search, fit or retrain has written.",
    ),
]

# ------------------------------------------------------------------------------------------- data

Columns = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B,...",
        help="The features, by name or position (from 0). Without it: all columns that no other "
        "option names.",
        rich_help_panel=DATA,
    ),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B,...",
        help="Columns to condition on: the flow is p(features | context).",
        rich_help_panel=DATA,
    ),
]
Bounds = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COL=LOW:HIGH",
        help="A column's values lie strictly between these; leave an end out if it is open. "
        "May be given several times.",
        rich_help_panel=DATA,
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B,...",
        help="Columns of positive values, to be taken by their logarithm.",
        rich_help_panel=DATA,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="COL", help="The column of the rows' weights (not negative).", rich_help_panel=DATA
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="random|blocked|group:COL",
        help="How rows are split 80/10/10 into training, validation and test: at random, in blocks "
        "(time series), or with the rows of a group together. An NPZ with parts of its own keeps "
        "them.",
        rich_help_panel=DATA,
    ),
]
NoHeader = Annotated[
    bool,
    typer.Option(
        "--no-header", help="The first line of a CSV file is data too.", rich_help_panel=DATA
    ),
]
DropRows = Annotated[
    bool,
    typer.Option(
        "--drop-rows", help="Leave out rows with NaN or infinite values.", rich_help_panel=DATA
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Refuse a column with one value in over 2% of the rows, instead of warning.",
        rich_help_panel=DATA,
    ),
]

# ------------------------------------------------------------------------------------------ search

Storage = Annotated[
    str | None,
    typer.Option(
        envvar="NFOPT_STORAGE",
        metavar="URL",
        help="Where studies are kept: any URL that Optuna takes. Without it: a SQLite file in "
        "nfopt-runs.",
        show_default=False,
        rich_help_panel=SEARCH,
    ),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        parser=one_of("sampler", *SAMPLERS),
        metavar="|".join(SAMPLERS),
        help="Without it: tpe while masks have up to 64 bits, else random.",
        rich_help_panel=SEARCH,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        parser=one_of("encoding", "bits", "packed"),
        metavar="bits|packed",
        help="Masks as one parameter a bit, or packed into whole numbers. Without it: bits while "
        "there are up to 64.",
        rich_help_panel=SEARCH,
    ),
]
Space = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND|FILE.toml|KEY=VALUE",
        help="What is searched: coupling, layers, adjacency or full (all of them; the default); a "
        "TOML file of limits; or a limit such as depth=[1,4]. May be given several times.",
        rich_help_panel=SEARCH,
    ),
]
Objectives = Annotated[
    str | None,
    typer.Option(
        metavar="nll,parameters,inverse_cost",
        help="What is minimised; without it nll alone. With several there is no pruning, and the "
        "lowest validation NLL decides in the end.",
        rich_help_panel=SEARCH,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        parser=whole("trials", 1),
        metavar="N",
        help="Trials that the study shall have in all, those of earlier calls included.",
        rich_help_panel=SEARCH,
    ),
]
Initial = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="SPEC.json",
        help="A flow to try among the first trials: a FlowSpec as JSON, or a saved flow's "
        "flow.json. May be given several times.",
        rich_help_panel=SEARCH,
    ),
]

# --------------------------------------------------------------------------------------------- run

Minutes = Annotated[
    float | None,
    typer.Option(
        metavar="X",
        parser=_minutes,
        help="Wall-clock time of the whole command.",
        rich_help_panel=RUN,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        parser=whole("threads", 1),
        metavar="N",
        help="CPU threads. Without it: as PyTorch chooses.",
        rich_help_panel=RUN,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda",
        help="Where to train. Without it: a GPU if there is one, else the CPU.",
        rich_help_panel=RUN,
    ),
]
Seed = Annotated[
    int,
    typer.Option(
        parser=whole("seed", 0), metavar="N", help="Of everything random.", rich_help_panel=RUN
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", show_default=False, help="Where the flow is saved.", rich_help_panel=RUN
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON object on standard output.",
        rich_help_panel=RUN,
    ),
]


def data_options(
    *,
    columns: Sequence[str] | None,
    context: Sequence[str] | None,
    bounds: Sequence[str] | None,
    log: Sequence[str] | None,
    weights: str | None,
    split: str | None,
    no_header: bool,
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
        "bounds": limits(bounds),
        "log": names(log, "log"),
        "weights": one[0] if one else None,
        "groups": groups,
        "split": kind,
        "header": not no_header,
        "drop_rows": drop_rows,
        "strict": strict,
    }
