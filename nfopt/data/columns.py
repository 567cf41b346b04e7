"""The chosen columns of a source as float64, without row numbers, and what is not finite."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.checks import MIN_ROWS, MOST_MERGED
from nfopt.data.raw import NotNumericError, Parts, RawTable, merged_integers, numbers_of
from nfopt.data.roles import Roles, array_of
from nfopt.data.row_numbers import counts_rows, is_row_number
from nfopt.data.wording import choice_text, names_text, not_finite_text, rows_text, short
from nfopt.errors import DataError

Array = NDArray[np.float64]
_REMEDY = ", or leave the column out with `columns`"


@dataclass(frozen=True, eq=False)
class ReadColumns:
    """Columns by their part, n rows each; `left_out` only count the rows."""

    roles: Roles
    values: Array
    context: Array
    weights: Array | None
    groups: NDArray[np.int64] | None
    parts: Parts | None
    left_out: tuple[str, ...]


def read_columns(
    raw: RawTable,
    roles: Roles,
    weights: Any,
    groups: Any,
    drop_rows: bool,
    chosen: Set[str],
    messages: list[str],
) -> ReadColumns:
    """Read the chosen columns as float64 and deal with what is not finite.

    Args:
        raw: The source.
        roles: Which column is what.
        weights: A column's name, or the weights.
        groups: A column's name, or the labels.
        drop_rows: Leave out rows that are not finite.
        chosen: Columns that the caller named: they are kept, whatever they hold.
        messages: Warnings are added to it.

    Raises:
        DataError: If a column holds no numbers, or what is not finite.
    """
    rows = raw.rows
    values = np.empty((rows, len(roles.features)))
    context = np.empty((rows, len(roles.context)))
    refused: dict[str, NotNumericError] = {}
    merging: list[str] = []
    for target, names in ((values, roles.features), (context, roles.context)):
        for position, name in enumerate(names):
            try:
                column = raw.column(name)
                target[:, position] = numbers = numbers_of(column, name, _REMEDY)
                if merged_integers(column, numbers) > MOST_MERGED:
                    merging.append(name)
            except NotNumericError as error:
                refused[name] = error
    if refused:
        raise _not_numeric(refused, roles.features)
    if merging:
        messages.append(
            "over 1% of the distinct whole numbers become equal in double precision, which holds"
            f" all of them up to 2^53 only: {names_text(merging)}; no map keeps them apart: give"
            " them less their least value (of timestamps: since the first)"
        )
    weight = None
    if weights is not None:
        column = raw.column(roles.weights) if roles.weights else array_of(weights, rows, "weights")
        weight = np.array(numbers_of(column, roles.weights or "weights", _REMEDY))
    group: NDArray[np.int64] | None = None
    if groups is not None:
        labels = raw.column(roles.groups) if roles.groups else array_of(groups, rows, "groups")
        group = _group_numbers(labels, roles.groups or "groups")

    roles, values, left_out = _without_row_numbers(raw, roles, values, chosen, messages)
    for position, name in enumerate(roles.context):
        if counts_rows(context[:, position]):
            messages.append(f"context column {name!r} only counts the rows")
    keep = np.ones(rows, dtype=np.bool_)
    broken: dict[str, NDArray[np.intp]] = {}
    everything = [(values, roles.features), (context, roles.context)]
    if weight is not None:
        everything.append((weight[:, None], (roles.weights or "weights",)))
    for array, names in everything:
        for position, name in enumerate(names):
            finite = np.isfinite(array[:, position])
            if not finite.all():
                broken[name] = np.flatnonzero(~finite)
                keep &= finite
    parts = raw.parts
    if broken:
        stay = int(np.count_nonzero(keep))
        whole = [name for name in roles.features if name not in broken]
        if not drop_rows:
            text = not_finite_text(broken, rows, stay, enough=MIN_ROWS, others=whole)
            raise DataError(text)
        if not stay:
            raise DataError(
                f"{names_text([*broken])}: every row has a NaN, missing or infinite value; "
                f"choose other columns{choice_text(whole)}"
            )
        messages.append(
            f"dropped {rows - stay:,} of {rows:,} rows with NaN, missing or infinite values in "
            f"{names_text([*broken])}"
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
    return ReadColumns(roles, values, context, weight, group, parts, left_out)


def _not_numeric(refused: dict[str, NotNumericError], features: tuple[str, ...]) -> DataError:
    """Make one error of all columns that hold no numbers."""
    names = [*refused]
    numeric = choice_text([name for name in features if name not in refused])
    if len(refused) == 1 or len(refused) >= len(features):  # of a kind: the first says it all
        return DataError(f"{refused[names[0]]}".replace(" with `columns`", numeric))
    held = "; ".join(f"{name!r} holds {refused[name].what}" for name in names[:3])
    return DataError(
        f"{names_text(names)} are not numeric: {held}; turn them into numbers, or leave them"
        f" out{numeric}"
    )


def _without_row_numbers(
    raw: RawTable, roles: Roles, values: Array, chosen: Set[str], messages: list[str]
) -> tuple[Roles, Array, tuple[str, ...]]:
    """Leave out features that are the table's index; name others that count the rows."""
    out, counting = [], []
    for position, name in enumerate(roles.features):
        column = values[:, position]
        if name not in chosen and is_row_number(name if raw.named else None, column):
            out.append(name)
        elif counts_rows(column):
            counting.append(name)
    if len(out) == len(roles.features):
        out, counting = [], [*out, *counting]  # something must be learned
    if counting:
        one = len(counting) == 1
        messages.append(
            f"{names_text(counting)} only count{'s' if one else ''} the rows (consecutive whole "
            f"numbers), and {'is' if one else 'are'} learned all the same: leave "
            f"{'it' if one else 'them'} out with `columns` if {'it is' if one else 'they are'} no "
            "measurement"
        )
    if not out:
        return roles, values, ()
    messages.append(
        f"{names_text(out)} only count{'s' if len(out) == 1 else ''} the rows, and"
        f" {'was' if len(out) == 1 else 'were'} left out: name all features in `columns` to keep"
        f" {'it' if len(out) == 1 else 'them'}"
    )
    kept = [position for position, name in enumerate(roles.features) if name not in out]
    features = tuple(roles.features[position] for position in kept)
    return replace(roles, features=features), np.ascontiguousarray(values[:, kept]), tuple(out)


def _group_numbers(labels: Any, name: str) -> NDArray[np.int64]:
    import pandas as pd

    codes, _ = pd.factorize(labels)
    missing = np.flatnonzero(codes < 0)
    if len(missing):
        raise DataError(f"column {name!r} (`groups`) has no label in {rows_text(missing)}")
    return np.asarray(codes, dtype=np.int64)
