"""What a source holds before anything is checked: columns of one length, and its own parts.

Files and Python objects become a `RawTable` in `sources/`; loading and scoring both read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.wording import names_text, rows_text, short
from nfopt.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# What people write where a value is missing, besides what pandas takes for it.
MARKS = {"?", "-", "--", ".", "*", "missing", "unknown", "not available", "n.a.", "na."}

Parts = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class RawTable:
    """Columns as they were read.

    Attributes:
        name: What to call the data: a file's stem, a data set's name, or "data".
        columns: The columns' names. Two may be the same: `check_names` refuses them where used.
        content: A 2-D array, a DataFrame, or a tuple of one array a column.
        parts: Row numbers of the source's own training, validation and test part.
        steps: Dequantising steps that a named data set brings, by column.
        named: The names are the source's own, not made from the columns' positions.
        flat: The source has one axis: a column, or a single row.
    """

    name: str
    columns: tuple[str, ...]
    content: NDArray[Any] | pd.DataFrame | tuple[Any, ...]
    parts: Parts | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    named: bool = True
    flat: bool = False

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.content[0]) if isinstance(self.content, tuple) else len(self.content)

    def column(self, name: str) -> Any:
        """One column by its name: a 1-D array, or a Series where the source is a DataFrame."""
        return self.at(self.columns.index(name))

    def at(self, position: int) -> Any:
        """One column by its position."""
        if isinstance(self.content, tuple):
            return self.content[position]
        if isinstance(self.content, np.ndarray):
            return self.content[:, position]
        return self.content.iloc[:, position]


def from_array(
    array: Any, *, name: str, columns: Sequence[str] | None = None, what: str = "the array"
) -> RawTable:
    """Take a NumPy array with one row an example; a 1-D array is one column.

    Masked values stay masked. The fields of a structured array are named columns.

    Raises:
        DataError: If it is empty, has no or over two axes, or a field holds more than a number.
    """
    values: NDArray[Any] = np.asanyarray(array)
    if type(values) is not np.ndarray and not isinstance(values, np.ma.MaskedArray):
        values = np.asarray(values)  # a matrix stays 2-D when a column is taken
    if values.dtype.names is not None:
        return _from_fields(values, name, what)
    flat = values.ndim == 1
    if flat:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(
            f"{what} must have rows and columns (2 axes), but its shape is {values.shape}: "
            "flatten or select the features"
        )
    if values.size == 0:
        raise DataError(f"{what} is empty: its shape is {values.shape}")
    named = columns is not None
    if columns is None:
        columns = [f"x{position}" for position in range(values.shape[1])]
    return RawTable(name, tuple(columns), values, named=named, flat=flat)


def _from_fields(values: NDArray[Any], name: str, what: str) -> RawTable:
    if values.ndim == 0:
        values = values[None]
    fields = values.dtype.names or ()
    if values.ndim != 1 or len(values) == 0 or not fields:
        raise DataError(f"{what} must be one row of fields a record, not {values.shape}")
    for one in fields:
        if values.dtype[one].shape or values.dtype[one].names:
            raise DataError(
                f"field {one!r} of {what} holds more than a number ({values.dtype[one]}): "
                "give each as a field of its own"
            )
    return RawTable(name, tuple(fields), tuple(values[one] for one in fields))


def from_frame(frame: pd.DataFrame, *, name: str) -> RawTable:
    """Take a pandas DataFrame; its index is ignored.

    Labels 0, 1, 2, ..., which pandas gives where there are none, are positions, and no names.

    Raises:
        DataError: If it is empty.
    """
    given = list[Any](frame.columns)
    labels = [
        "_".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in given
    ]
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{name!r} is empty: {frame.shape[0]} rows, {frame.shape[1]} columns")
    numbered = labels == [str(position) for position in range(len(labels))]
    return RawTable(name, tuple(labels), frame, named=not numbered)


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse two columns of one name.

    Raises:
        DataError: Naming them.
    """
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    if twice:
        raise DataError(
            f"{source!r} has a duplicate column name: {names_text([*twice])}; rename it"
        )


class NotNumericError(DataError):
    """A column that holds no numbers.

    Attributes:
        what: It holds, in a few words.
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


def numbers_of(column: Any, name: str, remedy: str = "") -> NDArray[np.float64]:
    """Read one column as float64; missing and masked values become NaN.

    Args:
        column: A 1-D array or a Series.
        name: The column's name, for messages.
        remedy: What else the caller may do about a column of no numbers; ends the message.

    Raises:
        NotNumericError: If a value is complex, or no number.
    """
    if isinstance(column, np.ma.MaskedArray):
        return _unmasked(column, name, remedy)
    kind = getattr(column.dtype, "kind", "O")
    if kind == "c":
        raise NotNumericError(
            f"column {name!r} is complex ({column.dtype}): give its real and imaginary "
            "part as two columns",
            "complex values",
        )
    if isinstance(column, np.ndarray) and kind in "biuf":
        return column.astype(np.float64, copy=False)
    if isinstance(column, np.ndarray) and kind == "V":
        # bfloat16 and its like, which other packages register with NumPy
        if not np.can_cast(column.dtype, np.float64):
            message = f"column {name!r} is not numeric: it holds {column.dtype}{remedy}"
            raise NotNumericError(message, str(column.dtype))
        return column.astype(np.float64)
    import pandas as pd

    series = column if isinstance(column, pd.Series) else pd.Series(column)
    if kind in "mM":
        raise NotNumericError(
            f"column {name!r} is not numeric: it holds times ({series.dtype}); turn it into a "
            f"number{remedy}",
            "times",
        )
    if kind in "biuf":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    present = series.notna().to_numpy()
    complex_rows = np.flatnonzero(
        [isinstance(value, complex | np.complexfloating) for value in series]
    )
    if len(complex_rows):
        message = f"column {name!r} is complex in {rows_text(complex_rows)}: give its parts"
        raise NotNumericError(message, "complex values")
    numbers = pd.to_numeric(series.astype(object), errors="coerce").to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    wrong = np.flatnonzero(np.isnan(numbers) & present)
    if len(wrong):
        first = series.iloc[int(wrong[0])]
        marks = {str(value).strip().lower() for value in series.iloc[wrong]} <= MARKS
        advice = (
            "if that stands for a missing value, leave such fields empty, and such rows out with "
            "`drop_rows=True` (--drop-rows)"
            if marks
            else "correct it"
        )
        raise NotNumericError(
            f"column {name!r} is not numeric in {rows_text(wrong)}: the first holds "
            f"{short(first, 24)}; {advice}{remedy}",
            f"{len(wrong):,} value{'s' if len(wrong) > 1 else ''}, the first {short(first, 16)}",
        )
    return numbers


def merged_integers(column: Any, numbers: NDArray[np.float64]) -> float:
    """Give the share of a column's distinct whole numbers that double precision makes equal.

    Beyond 2^53 it does not hold every whole number: of nanoseconds since 1970 every 256th.

    Args:
        column: As for `numbers_of`.
        numbers: What that gave.
    """
    finite = numbers[np.isfinite(numbers)]
    if getattr(column.dtype, "kind", "O") not in "iu" or not (np.abs(finite) > 2**53).any():
        return 0.0
    held = column.compressed() if isinstance(column, np.ma.MaskedArray) else column
    whole = held if isinstance(held, np.ndarray) else held.dropna().to_numpy(held.dtype.type)
    return 1.0 - len(np.unique(finite)) / len(np.unique(whole))


def _unmasked(column: Any, name: str, remedy: str) -> NDArray[np.float64]:
    """Read a masked column; what stands under the mask is not looked at."""
    masked = np.ma.getmaskarray(column)
    values = np.array(column.data)
    if values.dtype.kind in "biufcVmM":
        values[masked] = np.zeros((), dtype=values.dtype)
    else:
        values = values.astype(object)
        values[masked] = None
    numbers = numbers_of(values, name, remedy).copy()
    numbers[masked] = np.nan
    return numbers
