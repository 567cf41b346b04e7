"""What a user may hand to a flow: arrays, tensors, DataFrames or files, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nfopt.data import load_rows

Array = NDArray[np.float64]


def read_rows(
    x: Any, context: Any, names: Sequence[str], conditions: Sequence[str]
) -> tuple[Array, Array | None]:
    """Read rows and their context, by name where they have names.

    Args:
        x: Rows; their columns may also hold the context, if `context` is None.
        context: As in `read_context`.
        names: The D features.
        conditions: The C context columns.

    Returns:
        Shape (n, D) and (n, C), or None without context.

    Raises:
        ValueError: If a column is missing, not numeric or not finite, or a shape is wrong.
    """
    if _is_named(x):
        together = conditions if context is None else ()
        x, inside = _by_name(x, names, together)
        if together:
            return x, inside
    width = len(names)
    values = _array(x, "x", width)
    if context is None and conditions and values.shape[1] == width + len(conditions):
        values, context = values[:, :width], values[:, width:]
    if values.shape[1] != width:
        raise ValueError(f"`x` must have {width} columns ({_some(names)}), got {values.shape[1]}.")
    return values, read_context(context, len(values), conditions)


def read_context(context: Any, rows: int, conditions: Sequence[str]) -> Array | None:
    """Read context of shape (rows, C), or one row of it for all.

    Raises:
        ValueError: If it is missing, not wanted, or does not fit.
    """
    if not conditions:
        if context is not None:
            raise ValueError("`context` must be None: this flow was trained without context.")
        return None
    width = len(conditions)
    if context is None:
        raise ValueError(f"`context` must have {width} columns ({_some(conditions)}), got None.")
    if _is_named(context):
        context, _ = _by_name(context, conditions, ())
    elif np.shape(context) == (width,) and (width > 1 or rows != 1):
        context = [context]  # one row for all
    seen = _array(context, "context", width)
    if seen.shape[1] != width or len(seen) not in (1, rows):
        raise ValueError(
            f"`context` must have shape ({rows}, {width}) or ({width},), got {seen.shape}."
        )
    return seen if len(seen) == rows else np.repeat(seen, rows, axis=0)


def _by_name(
    frame: Any, names: Sequence[str], conditions: Sequence[str]
) -> tuple[Array, Array | None]:
    """Find columns by name, or by position if the flow was trained on data without names."""
    wanted = (*names, *conditions)
    unnamed = all(name == f"x{number}" for number, name in enumerate(wanted))
    if unnamed and getattr(frame, "shape", ())[1:] == (len(wanted),):
        frame = frame.to_numpy()
    return load_rows(frame, columns=names, context=conditions)


def _is_named(source: Any) -> bool:
    return isinstance(source, str | os.PathLike | Mapping) or hasattr(source, "columns")


def _array(source: Any, argument: str, width: int) -> Array:
    """Read rows from an array, a tensor or a list; one axis is one column, if one is wanted."""
    if isinstance(source, Tensor):
        source = source.detach().cpu()
    try:
        values = np.asarray(source, dtype=np.float64)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"`{argument}` must be rows of numbers: {reason}.") from None
    if values.ndim == 1 and width == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(f"`{argument}` must have shape (n, {width}), got {values.shape}.")
    broken = ~np.isfinite(values).all(axis=1)
    if broken.any():
        row = int(broken.argmax())
        raise ValueError(
            f"`{argument}` must be finite: row {row} (counted from 0) holds NaN or infinity,"
            f" as {int(broken.sum()):,} of {len(values):,} rows do."
        )
    return values


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
