"""Columns that only count the rows: what `to_csv`, R and databases write beside the data."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

# What an index is called, without case, spaces and signs; nothing at all is `unnamed` here.
_INDEX = re.compile(
    r"(unnamed\d*(level\d+)?|index(level\d+)?|level\d+|index|indices|idx|id|ids|no|nr|num|number"
    r"|row|rows|rown|rownr|rowno|rownames?|rowids?|rowindex|rowidx|rownum|rownums|rownumbers?"
    r"|obs|observation|record|recordid|recno|#|x)?"
)
_GAPS = re.compile(r"(unnamed\d*(level\d+)?|index(level\d+)?|level\d+|rownames?)?")


def counts_rows(column: NDArray[np.float64]) -> bool:
    """Tell whether a column is a permutation of consecutive whole numbers."""
    if len(column) < 2:
        return False
    low, high = float(column.min()), float(column.max())
    if high - low != len(column) - 1 or low != np.rint(low):
        return False
    if max(-low, high) > 2.0**53:  # where whole numbers are no longer apart
        return False
    return bool(np.array_equal(np.sort(column), low + np.arange(len(column))))


def numbers_rows(column: NDArray[np.float64]) -> bool:
    """Tell whether a column holds different whole numbers of at least 0: part of an index."""
    if not (
        np.isfinite(column).all() and column.min() >= 0.0 and (column == np.rint(column)).all()
    ):
        return False
    return len(np.unique(column)) == len(column)


def is_row_number(name: str | None, column: NDArray[np.float64]) -> bool:
    """Tell whether a column is the table's index.

    Args:
        name: Its name; None if the table has no names.
        column: float64, shape (n,), before any row is left out.
    """
    if name is None:
        return counts_rows(column)
    plain = re.sub(r"[\s_.\-:]", "", name.lower())
    if _INDEX.fullmatch(plain) and counts_rows(column):
        return True
    return bool(_GAPS.fullmatch(plain)) and numbers_rows(column)
