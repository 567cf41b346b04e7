"""What a source holds before anything is checked: named columns of one length, and its own parts.

Arrays, lists, torch tensors and DataFrames become a `RawTable` here; files in read.py.
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

Parts = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class RawTable:
    """Named columns as they were read.

    Attributes:
        name: What to call the data: a file's stem, a data set's name, or "data".
        columns: The columns' names, all different.
        content: A 2-D array or a DataFrame with these columns.
        parts: Row numbers of the source's own training, validation and test part.
        steps: Dequantising steps that a named data set brings, by column.
    """

    name: str
    columns: tuple[str, ...]
    content: NDArray[Any] | pd.DataFrame
    parts: Parts | None = None
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.content)

    def column(self, name: str) -> Any:
        """One column: a 1-D array, or a Series where the source is a DataFrame."""
        position = self.columns.index(name)
        if isinstance(self.content, np.ndarray):
            return self.content[:, position]
        return self.content.iloc[:, position]


def from_array(
    array: Any, *, name: str, columns: Sequence[str] | None = None, what: str = "the array"
) -> RawTable:
    """Take a NumPy array with one row an example; a 1-D array is one column.

    Raises:
        DataError: If it is empty, has no or more than two axes, or its dtype is no number's.
    """
    values = np.asarray(array)
    if values.dtype.names:
        names = tuple(values.dtype.names)
        values = np.column_stack([numbers_of(values[one], one) for one in names])
        columns = names
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise DataError(
            f"{what} must have rows and columns (2 axes), but its shape is {values.shape}: "
            "flatten or select the features"
        )
    if values.size == 0:
        raise DataError(f"{what} is empty: its shape is {values.shape}")
    if columns is None:
        columns = [f"x{position}" for position in range(values.shape[1])]
    return RawTable(name=name, columns=tuple(columns), content=values)


def from_frame(frame: pd.DataFrame, *, name: str) -> RawTable:
    """Take a pandas DataFrame; its index is ignored.

    Raises:
        DataError: If it is empty, or two columns have one name.
    """
    labels = [
        "_".join(map(str, label)) if isinstance(label, tuple) else str(label)
        for label in list[Any](frame.columns)
    ]
    check_names(labels, name)
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{name!r} is empty: {frame.shape[0]} rows, {frame.shape[1]} columns")
    return RawTable(name=name, columns=tuple(labels), content=frame)


def from_object(source: Any) -> RawTable:
    """Take what a Python user holds: an array, a DataFrame, a Series, a dict, a list, a tensor.

    A torch tensor goes through NumPy, without importing torch.

    Raises:
        TypeError: If it is nothing of that kind.
        DataError: If it is ragged, empty or of a wrong shape.
    """
    if isinstance(source, np.ma.MaskedArray):
        return from_array(np.ma.filled(source.astype(np.float64), np.nan), name="data")
    if isinstance(source, np.ndarray):
        return from_array(source, name="data")
    if type(source).__module__.split(".")[0] == "pandas" or isinstance(source, Mapping):
        return _from_pandas(source)
    if hasattr(source, "detach") and hasattr(source, "cpu"):
        source = source.detach().cpu()
        if str(getattr(source, "dtype", "")).endswith("bfloat16"):
            source = source.float()  # NumPy has no bfloat16
        return from_array(source.numpy(), name="data", what="the tensor")
    if isinstance(source, list | tuple):
        if len(source) == 0:
            raise DataError("the data is empty: a list without rows")
        try:
            return from_array(np.array(source), name="data", what="the list")
        except DataError:
            raise
        except ValueError as error:
            raise DataError(_ragged_text(source)) from error
    if hasattr(source, "__array__"):
        return from_array(np.asarray(source), name="data")
    raise TypeError(
        "`source` must be a path, a named data set, a DataFrame or an array of rows, "
        f"not {type(source).__name__}"
    )


def _from_pandas(source: Any) -> RawTable:
    import pandas as pd

    if isinstance(source, pd.DataFrame):
        return from_frame(source, name="data")
    if isinstance(source, pd.Series):
        label = "x0" if source.name is None else source.name
        return from_frame(source.to_frame(label), name="data")
    if isinstance(source, Mapping):
        try:
            return from_frame(pd.DataFrame(dict(source)), name="data")
        except ValueError as error:
            raise DataError(f"the dict's columns do not make a table: {error}") from error
    raise TypeError(f"`source` must be a DataFrame or a Series, not {type(source).__name__}")


def _ragged_text(rows: Sequence[Any]) -> str:
    lengths = [len(row) if hasattr(row, "__len__") else -1 for row in rows]
    for position, length in enumerate(lengths):
        if length != lengths[0]:
            return (
                f"the list is ragged: row 0 has {max(lengths[0], 1)} values, "
                f"row {position} has {max(length, 1)}"
            )
    return "the list is ragged, or holds something else than rows of numbers"


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse two columns of one name.

    Raises:
        DataError: Naming them.
    """
    seen: set[str] = set()
    twice = []
    for name in names:
        if name in seen and name not in twice:
            twice.append(name)
        seen.add(name)
    if twice:
        raise DataError(f"{source!r} has a duplicate column name: {names_text(twice)}; rename it")


def numbers_of(column: Any, name: str) -> NDArray[np.float64]:
    """Read one column as float64; missing values become NaN.

    Args:
        column: A 1-D array or a Series.
        name: The column's name, for messages.

    Raises:
        DataError: If a value is complex, or no number.
    """
    kind = getattr(column.dtype, "kind", "O")
    if kind == "c":
        raise DataError(
            f"column {name!r} is complex ({column.dtype}): give its real and imaginary "
            "part as two columns"
        )
    if isinstance(column, np.ndarray) and kind in "biuf":
        return column.astype(np.float64, copy=False)
    import pandas as pd

    series = column if isinstance(column, pd.Series) else pd.Series(column)
    if kind in "mM":
        raise DataError(
            f"column {name!r} is not numeric: it holds times ({series.dtype}); turn it into a "
            "number, or leave it out with `columns`"
        )
    if kind in "biuf":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    present = series.notna().to_numpy()
    complex_rows = np.flatnonzero([isinstance(value, complex) for value in series])
    if len(complex_rows):
        raise DataError(f"column {name!r} is complex in {rows_text(complex_rows)}: give its parts")
    numbers = pd.to_numeric(series.astype(object), errors="coerce").to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    wrong = np.flatnonzero(np.isnan(numbers) & present)
    if len(wrong):
        first = series.iloc[int(wrong[0])]
        raise DataError(
            f"column {name!r} is not numeric in {rows_text(wrong)}: the first holds "
            f"{short(first, 24)}; correct it, or leave the column out with `columns`"
        )
    return numbers
