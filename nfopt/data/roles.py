"""Which column is a feature, which is context, and which carries weights or groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.raw import RawTable, check_names
from nfopt.data.wording import nearest_text, short
from nfopt.errors import DataError


@dataclass(frozen=True)
class Roles:
    """Names of the columns by their part; weights and groups None where they are no columns."""

    features: tuple[str, ...]
    context: tuple[str, ...]
    weights: str | None
    groups: str | None


def find_column(
    names: Sequence[str], selector: Any, argument: str, everything: Sequence[str] = ()
) -> str:
    """Find a column by its name, or by its position where no column has that name.

    Args:
        names: The columns to choose from.
        selector: A name or a position.
        argument: The argument that named it, for messages.
        everything: All columns of the source, to tell a column that is no feature from one
            that does not exist.

    Raises:
        DataError: If there is no such column; offers the nearest names.
    """
    if str(selector) in names:
        return str(selector)
    is_position = isinstance(selector, int | np.integer) and not isinstance(selector, bool)
    every = everything or names
    if is_position and -len(every) <= selector < len(every) and every[selector] in names:
        return str(every[selector])
    if str(selector) in everything:
        raise DataError(f"`{argument}` names column {str(selector)!r}, which is not a feature")
    raise DataError(
        f"`{argument}` names column {short(selector)}, which does not exist: "
        f"{nearest_text(str(selector), names)}"
    )


def resolve_roles(raw: RawTable, columns: Any, context: Any, weights: Any, groups: Any) -> Roles:
    """Give every column its part; one that is named for nothing else is a feature.

    Raises:
        DataError: If a column does not exist, or has two parts.
    """
    conditions = _find_all(raw, context, "context")
    single = {
        argument: find_column(raw.columns, selector, argument)
        for argument, selector in (("weights", weights), ("groups", groups))
        if isinstance(selector, str | int)
    }
    others = dict.fromkeys(conditions, "context")
    others |= {name: argument for argument, name in single.items()}
    if columns is None:
        features = tuple(name for name in raw.columns if name not in others)
    else:
        features = _find_all(raw, columns, "columns")
    for name in features:
        if name in others:
            raise DataError(f"column {name!r} stands in both `columns` and `{others[name]}`")
    used = {*features, *others}
    check_names([name for name in raw.columns if name in used], raw.name)
    if not features:
        raise DataError(f"{raw.name!r} has no feature column left: name some in `columns`")
    return Roles(features, conditions, single.get("weights"), single.get("groups"))


def _find_all(raw: RawTable, selectors: Any, argument: str) -> tuple[str, ...]:
    if selectors is None:
        return ()
    picked = [selectors] if isinstance(selectors, str | int) else list(selectors)
    names = tuple(find_column(raw.columns, selector, argument) for selector in picked)
    for position, name in enumerate(names):
        if name in names[:position]:
            raise DataError(f"`{argument}` names column {name!r} twice")
    return names


def array_of(values: Any, rows: int, argument: str) -> NDArray[Any]:
    """Take an argument with one value a row.

    Raises:
        DataError: If it has another shape.
    """
    array = np.asarray(values)
    if array.shape != (rows,):
        raise DataError(
            f"`{argument}` must have one value for each of the {rows:,} rows, "
            f"but its shape is {array.shape}"
        )
    return array
