"""What a Python user holds: arrays, tensors, frames of any library, dicts, lists.

A frame that is not pandas' own is taken through the Arrow PyCapsule interface
(https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html) or the dataframe
interchange protocol (https://data-apis.org/dataframe-protocol/), whichever library it is from.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data.raw import RawTable, from_array, from_frame
from nfopt.data.wording import short
from nfopt.errors import DataError


def from_object(source: Any, *, argument: str = "source") -> RawTable:
    """Take an array, a tensor, a frame, a Series, a dict of columns or a list of rows.

    Args:
        source: Columns are named where it has names.
        argument: What the caller calls it, for messages.

    Raises:
        TypeError: If it is nothing of that kind.
        DataError: If it is ragged, empty or of a wrong shape.
    """
    # "`x` must have ..." where a flow is asked; a table is "the array", "the list", ...
    said = None if argument == "source" else f"`{argument}`"
    if isinstance(source, np.ndarray | np.void):
        return from_array(source, name="data", what=said or "the array")
    pandas: Any = sys.modules.get("pandas")  # who holds a frame has imported it
    if pandas is not None and isinstance(source, pandas.DataFrame):
        return from_frame(pandas.DataFrame(source), name="data")
    if pandas is not None and isinstance(source, pandas.Series | pandas.Index):
        series = source if isinstance(source, pandas.Series) else source.to_series()
        return _one_column(series, source)
    if isinstance(source, Mapping):
        return _from_mapping(source, argument)
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__"):
        return _from_arrow(source, argument)
    if hasattr(source, "__dataframe__"):
        return _from_interchange(source, argument)
    if hasattr(source, "detach") and hasattr(source, "cpu"):
        return from_array(_from_tensor(source), name="data", what=said or "the tensor")
    if isinstance(source, list | tuple):
        return _from_list(source, said or "the list", argument)
    if hasattr(source, "__array__"):
        try:
            array = np.asanyarray(source)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"`{argument}` can't be read as an array: {short(str(error), 90)}"
            ) from None
        return from_array(array, name="data", what=said or "the array")
    raise TypeError(
        f"`{argument}` must be a path, a named data set, a DataFrame or an array of rows, "
        f"not {type(source).__name__}"
    )


def _one_column(values: Any, source: Any) -> RawTable:
    """Take one column with a name of its own, or without."""
    label = getattr(source, "name", None)
    if len(values) == 0:
        raise DataError("'data' is empty: a column without rows")
    named = label is not None and label != ""
    return RawTable("data", (str(label) if named else "x0",), (values,), named=named, flat=True)


def _from_mapping(source: Mapping[Any, Any], argument: str) -> RawTable:
    if not source:
        raise DataError("'data' is empty: a dict without columns")
    pandas: Any = sys.modules.get("pandas")
    if pandas is not None and all(isinstance(one, pandas.Series) for one in source.values()):
        # their rows belong together by label
        return from_frame(pandas.DataFrame(dict(source)), name="data")
    columns = []
    for label, values in source.items():
        alone = (
            np.ndim(values) == 0 if isinstance(values, str | int | float | np.generic) else False
        )
        one = from_object([values] if alone else values, argument=argument)
        if len(one.columns) != 1:
            raise DataError(
                f"the dict's columns do not make a table: {str(label)!r} holds {len(one.columns)} "
                "columns"
            )
        columns.append(one.at(0))
    lengths = [len(values) for values in columns]
    for label, length in zip(source, lengths, strict=True):
        if length != lengths[0]:
            raise DataError(
                f"the dict's columns do not make a table: {str(next(iter(source)))!r} has "
                f"{lengths[0]:,} rows, {str(label)!r} has {length:,}"
            )
    return RawTable("data", tuple(map(str, source)), tuple(columns))


def _from_arrow(source: Any, argument: str) -> RawTable:
    try:
        import pyarrow
    except ImportError:
        if hasattr(source, "__dataframe__"):
            return _from_interchange(source, argument)
        raise DataError(
            f"reading a {type(source).__name__} needs pyarrow: pip install 'nfopt[parquet]'"
        ) from None
    try:
        try:
            frame = arrow_frame(pyarrow.table(source))
        except pyarrow.ArrowInvalid as error:
            if "non-struct" not in str(error):
                raise
            streams = hasattr(source, "__arrow_c_stream__")
            column = (pyarrow.chunked_array if streams else pyarrow.array)(source)
            return _one_column(column.to_pandas(), source)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise DataError(f"`{argument}` can't be read as a table: {short(str(error), 90)}") from None
    return from_frame(frame, name="data")


def arrow_frame(table: Any) -> Any:
    """Turn an Arrow table into a DataFrame; the index that pandas stored in it is ignored.

    pandas' notes are in the table's metadata, where anything may stand: what is not understood
    there changes nothing.
    """
    import json

    notes = (table.schema.metadata or {}).get(b"pandas", b"{}")
    try:
        index = json.loads(notes).get("index_columns", [])
        stored = {one for one in index if isinstance(one, str)}
    except (ValueError, AttributeError, TypeError, RecursionError):
        stored = set()
    kept = [at for at, name in enumerate(table.column_names) if name not in stored]
    if kept and len(kept) < table.num_columns:
        table = table.select(kept)
    names = table.column_names
    # pandas can't build a frame of two equal names from Arrow: they are set afterwards
    frame = table.rename_columns([str(at) for at in range(len(names))]).to_pandas(
        ignore_metadata=True
    )
    frame.columns = names
    return frame


def _from_interchange(source: Any, argument: str) -> RawTable:
    """Take a frame through `__dataframe__`; pandas reads it, without pyarrow."""
    import warnings

    import pandas as pd

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pandas announces that it will give the protocol up
            frame = pd.api.interchange.from_dataframe(source)
    except Exception as error:  # noqa: BLE001 - another library's code: it may raise anything
        raise DataError(f"`{argument}` can't be read as a table: {short(str(error), 90)}") from None
    return from_frame(frame, name="data")


def _from_tensor(tensor: Any) -> NDArray[Any]:
    """Take a torch tensor of any dtype and layout to NumPy, without importing torch."""
    try:
        tensor = tensor.detach().cpu()
        if tensor.is_quantized:
            tensor = tensor.dequantize()
        if "strided" not in str(tensor.layout):
            tensor = tensor.to_dense()
        if tensor.is_complex():
            tensor = tensor.cfloat().resolve_conj()  # refused where its column is read
        elif tensor.is_floating_point():
            tensor = tensor.double()  # NumPy has no bfloat16, and no float8
        array: NDArray[Any] = tensor.numpy()
    except (RuntimeError, TypeError, NotImplementedError, AttributeError) as error:
        reason = short(str(error).partition("\n")[0], 90)
        raise DataError(f"the tensor can't be read: {reason}") from None
    return array


def _from_list(source: Sequence[Any], what: str, argument: str) -> RawTable:
    if len(source) == 0:
        raise DataError("the data is empty: a list without rows")
    first = source[0]
    pandas: Any = sys.modules.get("pandas")
    labelled = (Mapping,) if pandas is None else (Mapping, pandas.Series)
    tuples = isinstance(first, tuple) and type(first) is not tuple  # named ones
    if all(isinstance(one, labelled) for one in source) or tuples:
        import pandas as pd

        return from_frame(pd.DataFrame(list(source)), name="data")
    if any(isinstance(one, labelled) for one in source):
        raise DataError(f"{what} mixes rows with names and rows without")
    try:
        if any(isinstance(one, np.ma.MaskedArray) for one in source):
            return from_array(np.ma.stack(list(source)), name="data", what=what)
        rows = [_from_tensor(one) if hasattr(one, "detach") else one for one in source]
        array = np.array(rows)
    except DataError:
        raise
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(_ragged_text(source)) from error
    return from_array(array, name="data", what=what)


def _ragged_text(rows: Sequence[Any]) -> str:
    lengths = [len(row) if hasattr(row, "__len__") else -1 for row in rows]
    for position, length in enumerate(lengths):
        if length != lengths[0]:
            return (
                f"the list is ragged: row 0 has {max(lengths[0], 1)} values, "
                f"row {position} has {max(length, 1)}"
            )
    return "the list is ragged, or holds something else than rows of numbers"
