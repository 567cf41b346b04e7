"""`load`: any source to a checked table of float64 numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data import checks
from nfopt.data.columns import read_columns
from nfopt.data.hints import Bounds, bounds_of, check_bounds, steps_of
from nfopt.data.maps.support import ColumnHint
from nfopt.data.raw import Parts
from nfopt.data.roles import resolve_roles
from nfopt.data.rows import Origin
from nfopt.data.sources.dialect import TextOptions
from nfopt.data.sources.source import read_source
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
        warnings: What was messages of.
        origin: What the columns of the source were; None for a table that was made by hand.
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
    origin: Origin | None = None

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
    header: bool | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    drop_rows: bool = False,
    strict: bool = False,
    bounds: Bounds | None = None,
    log: Selector | Sequence[Selector] | None = None,
    weights: Selector | Sequence[float] | Array | None = None,
    groups: Selector | Sequence[Any] | NDArray[Any] | None = None,
    dequantise: bool | Selector | Sequence[Selector] | Mapping[str, float] | None = None,
    fewest: int = checks.MIN_ROWS,
    on_warning: Callable[[str], None] | None = None,
) -> Table:
    """Read a table and check it.

    Columns are named by name, or by position where no column has that name.

    Args:
        source: A path (CSV, Parquet, NPY, NPZ), the name of a data set ("magic",
            "sparse_graph:D=16,seed=3"), a DataFrame of any library that speaks the Arrow PyCapsule
            interface or the dataframe interchange protocol, an array, a tensor, a list of rows, a
            dict of columns, or a Table (given back as it is).
        columns: The features; None for all that have no other part below, and do not only count
            the rows: a permutation of consecutive whole numbers without a name, or with that of an
            index ("", "id", "Unnamed: 0", ...), is left out with a warning.
        context: Columns to condition on.
        header: The first line of a text file holds the columns' names; None: it does, and one of
            numbers is refused.
        separator: What stands between the fields of a text file: one sign, or "tab", "space";
            None: found from its first lines.
        decimal: The decimal sign of a text file, "." or ","; None: found from its first lines.
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
        fewest: Rows that are needed.
        on_warning: Called with each warning, instead of `warnings.warn(..., DataWarning)`.

    Raises:
        DataError: If the data cannot be used; one line that names column and rows.
        TypeError: If `source` is none of the above.
    """
    if isinstance(source, Table):
        return source
    raw = read_source(source, TextOptions(header, separator, decimal))
    roles = resolve_roles(raw, columns, context, weights, groups)
    if len(roles.features) > checks.MAX_FEATURES:
        raise DataError(
            f"{raw.name!r} has {len(roles.features):,} feature columns, "
            f"more than {checks.MAX_FEATURES:,}: choose some with `columns`"
        )
    limits = bounds_of(raw, roles, bounds, log)
    messages: list[str] = []
    chosen = set(roles.features) if columns is not None else {*limits, *_named_in(dequantise)}
    read = read_columns(raw, roles, weights, groups, drop_rows, chosen, messages)
    roles, values, context_values = read.roles, read.values, read.context
    if len(values) < fewest:
        raise DataError(
            f"{raw.name!r} has {len(values)} rows{' left' if len(values) < raw.rows else ''}: "
            f"at least {fewest} are needed"
        )
    for position, name in enumerate(roles.features):
        checks.check_values(name, values[:, position])
    for position, name in enumerate(roles.context):
        checks.check_values(name, context_values[:, position])
    seen = [checks.profile(values[:, position]) for position in range(values.shape[1])]
    checks.check_equal_columns(values, roles.features, seen)
    steps = steps_of(raw, roles, seen, dequantise, messages)
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
    messages += checks.general_warnings(values, roles.features, steps, atoms)
    for text in messages:
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
        weights=read.weights,
        groups=read.groups,
        parts=read.parts,
        warnings=tuple(messages),
        origin=Origin(raw.columns, raw.named, read.left_out),
    )


def _named_in(dequantise: Any) -> set[str]:
    """Give the columns that `dequantise` names, which are features for that."""
    if isinstance(dequantise, bool) or dequantise is None:
        return set()
    return {str(dequantise)} if isinstance(dequantise, str | int) else set(map(str, dequantise))
