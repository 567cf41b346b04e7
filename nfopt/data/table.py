"""`load`: any source to a checked table of float64 numbers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data import checks
from nfopt.data.hints import Bounds, bounds_of, check_bounds, steps_of
from nfopt.data.named import is_named, named_table
from nfopt.data.preprocess import ColumnHint
from nfopt.data.raw import Parts, RawTable, from_object, numbers_of
from nfopt.data.read import file_kind, read_file
from nfopt.data.roles import Roles, array_of, resolve_roles
from nfopt.data.wording import names_text, rows_text, short
from nfopt.errors import DataError, DataWarning

Array = NDArray[np.float64]
Selector = str | int


@dataclass(frozen=True, eq=False)
class Table:
    """A checked table on the data's own scale; n rows, D features, C context columns.

    Attributes:
        name: A file's stem, a data set's name, or "data".
        values: float64, shape (n, D), finite. Tied values are still tied: `prepare` spreads them.
        columns: The features' names.
        hints: What preprocessing does to each feature before it standardises: bounds, step.
        context: float64, shape (n, C), or None.
        context_columns: The context columns' names.
        weights: Non-negative, shape (n,), or None.
        groups: A group number a row, shape (n,), or None.
        parts: Row numbers of the source's own training, validation and test part, or None.
        warnings: What was warned of.
    """

    name: str
    values: Array
    columns: tuple[str, ...]
    hints: tuple[ColumnHint, ...]
    context: Array | None = None
    context_columns: tuple[str, ...] = ()
    weights: Array | None = None
    groups: NDArray[np.int64] | None = None
    parts: Parts | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The number of rows n."""
        return len(self.values)

    @property
    def features(self) -> int:
        """The number of features D."""
        return int(self.values.shape[1])

    def __repr__(self) -> str:
        extra = f", context of {len(self.context_columns)}" if self.context_columns else ""
        return f"Table({self.name!r}, {self.rows:,} rows x {self.features} features{extra})"


def load(
    source: Any,
    *,
    columns: Selector | Sequence[Selector] | None = None,
    context: Selector | Sequence[Selector] | None = None,
    header: bool = True,
    drop_rows: bool = False,
    strict: bool = False,
    bounds: Bounds | None = None,
    log: Selector | Sequence[Selector] | None = None,
    weights: Selector | Sequence[float] | Array | None = None,
    groups: Selector | Sequence[Any] | NDArray[Any] | None = None,
    dequantise: bool | Selector | Sequence[Selector] | Mapping[str, float] | None = None,
    on_warning: Callable[[str], None] | None = None,
) -> Table:
    """Read a table and check it.

    Columns are named by name, or by position where no column has that name.

    Args:
        source: A path (CSV, Parquet, NPY, NPZ), the name of a data set ("magic",
            "sparse_graph:D=16,seed=3"), a DataFrame, an array, a tensor, a list of rows, a dict
            of columns, or a Table (given back as it is).
        columns: The features; None for all that have no other part below.
        context: Columns to condition on.
        header: The first line of a text file holds the columns' names.
        drop_rows: Leave out rows with NaN or infinite values instead of refusing them.
        strict: Refuse an atom (one value in over 2% of the rows) instead of warning.
        bounds: For a column (low, high): its values lie strictly between; None or an infinite
            number for an open end. Two bounds are mapped by a logit, one by a logarithm.
        log: Columns of positive values to map by a logarithm; the same as bounds (0, None).
        weights: A column, or n non-negative numbers: the rows' weights.
        groups: A column, or n labels: rows of one group stay in one part of a split.
        dequantise: Spread tied values uniformly within a step. None: those columns of which most
            values are tied on a regular grid (with a warning). True: also those with 5% of the
            values tied. False: none. Columns: these, the step being found. A mapping from
            column to step: these steps.
        on_warning: Called with each warning, instead of `warnings.warn(..., DataWarning)`.

    Raises:
        DataError: If the data cannot be used; one line that names column and rows.
        TypeError: If `source` is none of the above.
    """
    if isinstance(source, Table):
        return source
    raw = _read(source, header)
    roles = resolve_roles(raw, columns, context, weights, groups)
    if len(roles.features) > checks.MAX_FEATURES:
        raise DataError(
            f"{raw.name!r} has {len(roles.features):,} feature columns, "
            f"more than {checks.MAX_FEATURES:,}: choose some with `columns`"
        )
    limits = bounds_of(raw, roles, bounds, log)
    found: list[str] = []
    values, context_values, weight, group, parts = _numbers(
        raw, roles, weights, groups, drop_rows, found
    )
    if len(values) < checks.MIN_ROWS:
        raise DataError(
            f"{raw.name!r} has {len(values)} rows{' left' if found else ''}: "
            f"at least {checks.MIN_ROWS} are needed"
        )
    for position, name in enumerate(roles.features):
        checks.check_values(name, values[:, position])
    for position, name in enumerate(roles.context):
        checks.check_values(name, context_values[:, position])
    seen = [checks.profile(values[:, position]) for position in range(values.shape[1])]
    checks.check_equal_columns(values, roles.features, seen)
    steps = steps_of(raw, roles, seen, dequantise, found)
    hints = tuple(
        ColumnHint(*limits.get(name, (None, None)), steps.get(name)) for name in roles.features
    )
    check_bounds(values, roles.features, hints)
    atoms = [
        text
        for name, one in zip(roles.features, seen, strict=True)
        if (text := checks.atom_text(name, one, len(values), steps.get(name)))
    ]
    if strict and atoms:
        raise DataError(
            f"one value in over 2% of the rows (refused by `strict`): column {atoms[0]}: leave "
            "it out with `columns`, or spread it with `dequantise`"
        )
    found += checks.general_warnings(values, roles.features, steps, atoms)
    for text in found:
        if on_warning is not None:
            on_warning(text)
        else:
            warnings.warn(text, DataWarning, stacklevel=2)
    return Table(
        name=raw.name,
        values=values,
        columns=roles.features,
        hints=hints,
        context=context_values if roles.context else None,
        context_columns=roles.context,
        weights=weight,
        groups=group,
        parts=parts,
        warnings=tuple(found),
    )


def load_rows(
    source: Any,
    *,
    columns: Sequence[str],
    context: Sequence[str] = (),
    header: bool = True,
    drop_rows: bool = False,
) -> tuple[Array, Array | None]:
    """Read rows to be scored by a flow, or to condition its samples: any number, one suffices.

    Args:
        source: As for `load`.
        columns: The names of the flow's features. A source without names of its own (an array)
            is read by position: features, then context.
        context: The names of its context columns.
        header: As for `load`.
        drop_rows: As for `load`.

    Returns:
        Values, shape (n, D), and context, shape (n, C), or None if `context` is empty.

    Raises:
        DataError: If a column is missing, not numeric, or not finite.
    """
    raw = _read(source, header)
    wanted = (*columns, *context)
    unnamed = tuple(f"x{position}" for position in range(len(wanted)))
    if raw.columns == unnamed and not set(wanted) <= set(raw.columns):
        raw = replace(raw, columns=wanted)
    missing = [name for name in wanted if name not in raw.columns]
    if missing:
        raise DataError(
            f"{raw.name!r} lacks {names_text(missing)} of the flow; it has "
            f"{names_text(raw.columns)}"
        )
    roles = Roles(tuple(columns), tuple(context), None, None)
    values, given, *_ = _numbers(raw, roles, None, None, drop_rows, [])
    return values, given if context else None


def _read(source: Any, header: bool) -> RawTable:
    if isinstance(source, str) and is_named(source):
        return named_table(source)
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        plain = isinstance(source, str) and not os.path.exists(path) and path.name == source
        # A bare word without a known ending is a misspelt data set rather than a missing file.
        return (
            named_table(str(source))
            if plain and not file_kind(path)
            else read_file(path, header=header)
        )
    return from_object(source)


def _numbers(
    raw: RawTable, roles: Roles, weights: Any, groups: Any, drop_rows: bool, found: list[str]
) -> tuple[Array, Array, Array | None, NDArray[np.int64] | None, Parts | None]:
    """Read the chosen columns as float64 and deal with what is not finite."""
    rows = raw.rows
    values = np.empty((rows, len(roles.features)))
    context = np.empty((rows, len(roles.context)))
    for target, names in ((values, roles.features), (context, roles.context)):
        for position, name in enumerate(names):
            target[:, position] = numbers_of(raw.column(name), name)
    weight = None
    if weights is not None:
        column = raw.column(roles.weights) if roles.weights else array_of(weights, rows, "weights")
        weight = np.array(numbers_of(column, roles.weights or "weights"))
    group: NDArray[np.int64] | None = None
    if groups is not None:
        labels = raw.column(roles.groups) if roles.groups else array_of(groups, rows, "groups")
        group = _group_numbers(labels, roles.groups or "groups")

    keep = np.ones(rows, dtype=np.bool_)
    broken: list[str] = []
    everything = [(values, roles.features), (context, roles.context)]
    if weight is not None:
        everything.append((weight[:, None], (roles.weights or "weights",)))
    first = None
    for array, names in everything:
        for position, name in enumerate(names):
            finite = np.isfinite(array[:, position])
            if not finite.all():
                broken.append(name)
                first = np.flatnonzero(~finite) if first is None else first
                keep &= finite
    parts = raw.parts
    if first is not None:
        lost = rows - int(np.count_nonzero(keep))
        if not drop_rows:
            others = f" (and {len(broken) - 1:,} more columns have such)" if broken[1:] else ""
            raise DataError(
                f"column {broken[0]!r} is NaN, missing or infinite in {rows_text(first)}{others}: "
                "correct it, or leave such rows out with `drop_rows=True` (--drop-rows)"
            )
        if lost == rows:
            raise DataError(
                f"{names_text(broken)}: every row has a NaN, missing or infinite value; "
                "choose other columns with `columns`"
            )
        found.append(
            f"dropped {lost:,} of {rows:,} rows with NaN, missing or infinite values in "
            f"{names_text(broken)}"
        )
        values, context = values[keep], context[keep]
        weight = None if weight is None else weight[keep]
        group = None if group is None else group[keep]
        if parts is not None:
            moved = np.cumsum(keep) - 1
            train, val, test = (moved[part[keep[part]]] for part in parts)
            parts = (train, val, test)
    if weight is not None:
        negative = np.flatnonzero(weight < 0.0)
        if len(negative):
            raise DataError(
                f"`weights` must not be negative: {short(float(weight[negative[0]]))} in "
                f"{rows_text(negative)}"
            )
        if not weight.any():
            raise DataError("`weights` are all 0: at least one row must count")
    if parts is not None and min(map(len, parts)) == 0:
        raise DataError(f"a part of {raw.name!r} (train, val or test) has no rows left")
    return values, context, weight, group, parts


def _group_numbers(labels: Any, name: str) -> NDArray[np.int64]:
    import pandas as pd

    codes, _ = pd.factorize(labels)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise DataError(f"column {name!r} (`groups`) has no label in {rows_text(missing)}")
    return np.asarray(codes, dtype=np.int64)
