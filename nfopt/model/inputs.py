"""What a user may hand to a flow: arrays, tensors, frames or files, by the rules of loading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data import Origin, load_rows

Array = NDArray[np.float64]


def read_rows(
    x: Any,
    context: Any,
    names: Sequence[str],
    conditions: Sequence[str],
    origin: Origin | None = None,
) -> tuple[Array, Array | None]:
    """Read rows and their context, by name where they have names.

    Args:
        x: Rows; their columns may also hold the context, if `context` is None.
        context: As in `read_context`.
        names: The D features.
        conditions: The C context columns.
        origin: What the columns of the training table were, where it is known.

    Returns:
        Shape (n, D) and (n, C), or None without context.

    Raises:
        ValueError: If a column is missing, not numeric or not finite, or a shape is wrong.
    """
    together = tuple(conditions) if context is None else ()
    values, seen = load_rows(x, columns=names, context=together, origin=origin, argument="x")
    if together:
        return values, seen
    return values, read_context(context, len(values), conditions, origin)


def read_context(
    context: Any, rows: int, conditions: Sequence[str], origin: Origin | None = None
) -> Array | None:
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
        some = ", ".join(conditions[:6]) + (", ..." if width > 6 else "")
        raise ValueError(f"`context` must have {width} columns ({some}), got None.")
    seen, _ = load_rows(
        context, columns=conditions, origin=origin, argument="context", flat_row=True
    )
    if len(seen) not in (1, rows):
        raise ValueError(
            f"`context` must have shape ({rows}, {width}) or ({width},), got {seen.shape}."
        )
    return seen if len(seen) == rows else np.repeat(seen, rows, axis=0)
