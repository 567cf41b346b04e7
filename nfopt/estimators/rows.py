"""What an estimator is given, checked: rows, their context, their weights; the table they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from nfopt.data import Prepared, Split, load, prepare, split_without_test
from nfopt.errors import DataError

Array = NDArray[np.float64]
FEWEST = 5  # rows


@dataclass(frozen=True)
class Given:
    """Rows that an estimator is fitted to.

    Attributes:
        values: Shape (n, D), finite.
        names: D.
        context: Shape (n, C), or None.
        context_names: C.
        weights: Shape (n,), positive, or None.
    """

    values: Array
    names: tuple[str, ...]
    context: Array | None
    context_names: tuple[str, ...]
    weights: Array | None

    def table(
        self, fraction: float, seed: int, options: Mapping[str, Any]
    ) -> tuple[Prepared, Split]:
        """Divide the rows into training and validation rows; no column is left out.

        Args:
            fraction: Of the rows that are for validation.
            seed: Of the choice, and of dequantising.
            options: Of `nfopt.data.load`: bounds, log, dequantise.

        Returns:
            The table, and which rows are which.

        Raises:
            DataError: If a column is constant, or one of two that are equal.
        """
        source = dict(zip(self.names, self.values.T, strict=True))
        if self.context is not None:
            source |= dict(zip(self.context_names, self.context.T, strict=True))
        try:
            table = load(
                source,
                columns=list(self.names),  # named, they are features even where they count the rows
                context=list(self.context_names) or None,
                weights=self.weights,
                fewest=2,
                **options,
            )
            parts = split_without_test(table.rows, fraction, seed=seed)
            for column in source.values():
                parts = _varied(parts, column)
            return prepare(table, parts, seed), parts
        except DataError as error:
            advice = str(error).replace("out with `columns`", "out of `X`")
            raise DataError(advice) from None


def _varied(parts: Split, column: Array) -> Split:
    """Move a validation row to the training rows where all of these hold one value."""
    train, val = parts.train, parts.val
    other = np.flatnonzero(column[val] != column[train[0]])
    if len(other) == 0 or len(val) == 1 or (column[train] != column[train[0]]).any():
        return parts
    moved = other[:1]
    return replace(parts, train=np.sort([*train, *val[moved]]), val=np.delete(val, moved))


def read(estimator: Any, X: Any, context: Any, sample_weight: Any) -> Given:
    """Check what an estimator is to be fitted to; rows of weight 0 are left out.

    Raises:
        ValueError, TypeError: One line each.
    """
    values = read_features(estimator, X, reset=True)
    rows, width = values.shape
    names = getattr(estimator, "feature_names_in_", None)
    names = tuple(f"x{at}" for at in range(width)) if names is None else tuple(map(str, names))
    seen: Array | None = None
    context_names: tuple[str, ...] = ()
    if context is not None:
        seen = _numbers(context, "context")
        seen = seen[:, None] if seen.ndim == 1 else seen
        if seen.ndim != 2 or len(seen) != rows or seen.shape[1] == 0:
            raise ValueError(f"`context` must have {rows} rows as `X`, got shape {seen.shape}.")
        context_names = labels(context) or tuple(f"c{at}" for at in range(seen.shape[1]))
        if both := [name for name in context_names if name in names]:
            raise ValueError(f"`context` has a column {both[0]!r}, which `X` has too: rename it.")
    weights = _weights(sample_weight, rows)
    if weights is None or weights.all():
        return Given(values, names, seen, context_names, weights)
    kept = weights > 0
    if np.count_nonzero(kept) < FEWEST:
        raise ValueError(
            f"`sample_weight` leaves {np.count_nonzero(kept)} rows of a weight above 0:"
            f" at least {FEWEST} are needed."
        )
    return Given(
        values[kept], names, None if seen is None else seen[kept], context_names, weights[kept]
    )


def read_features(estimator: Any, X: Any, *, reset: bool) -> Array:
    """Check rows, and with `reset` note how many features they have and what these are called.

    Raises:
        ValueError, TypeError: In one line; but that names differ is said in scikit-learn's own
            words, which are several lines and which its checks compare.
    """
    options = {"dtype": np.float64, "ensure_all_finite": False}
    _check_masked(X, "X")
    try:
        values: Array = validate_data(
            estimator, X, reset=reset, ensure_min_samples=FEWEST if reset else 1, **options
        )
    except ValueError as error:
        text = str(error)
        if text.startswith("The feature names"):
            raise
        if text.startswith("Expected 2D array"):
            raise ValueError(
                f"`X` must have rows and columns, got shape {np.shape(X)}. Reshape your data:"
                " X.reshape(1, -1) is one row, X.reshape(-1, 1) one column."
            ) from None
        if text.startswith("could not convert"):
            text = f"`X` must be numbers: {text}"
        if text.startswith("Complex data not supported"):  # the rest is all of it
            text = "Complex data not supported: `X` must be real, give its parts as columns."
        raise ValueError(" ".join(text.split())) from None
    _check_finite(values, "X")
    return values


def read_context(context: Any, names: Sequence[str], rows: int) -> Array | None:
    """Check the context of rows to score, or to draw: (n, C), or (C,) for all rows.

    Args:
        context: As given.
        names: Of the context columns of the flow.
        rows: n.

    Raises:
        ValueError: If it is missing or not wanted, of another shape, or has other names.
    """
    if not names:
        if context is not None:
            raise ValueError("`context` must be None: the flow was fitted without context.")
        return None
    width = len(names)
    if context is None:
        raise ValueError(f"`context` must have {width} columns ({', '.join(names)}), got None.")
    seen = _numbers(context, "context")
    given = labels(context)
    if given and given != tuple(names):
        raise ValueError(
            f"`context` must have the columns {', '.join(names)} in this order, got"
            f" {', '.join(given)}."
        )
    if seen.shape == (rows,) and width == 1:
        seen = seen[:, None]
    elif seen.shape == (width,):
        seen = np.tile(seen, (rows, 1))
    if seen.shape != (rows, width):
        raise ValueError(
            f"`context` must have shape ({rows}, {width}) or ({width},), got {np.shape(context)}."
        )
    return seen


def labels(table: Any) -> tuple[str, ...]:
    """Give a frame's column names, or nothing where it has none or they are no words."""
    found = tuple(getattr(table, "columns", ()))
    return found if all(isinstance(name, str) for name in found) else ()


def _numbers(given: Any, argument: str) -> Array:
    _check_masked(given, argument)
    if issparse(given):
        raise TypeError(f"`{argument}` must be dense, got a sparse matrix: use .toarray().")
    try:
        values: Array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{argument}` must be numbers: {' '.join(str(error).split())}") from None
    _check_finite(values, argument)
    return values


def _check_masked(given: Any, argument: str) -> None:
    """Refuse masked values, which NumPy would replace by what stands under the mask."""
    if isinstance(given, np.ma.MaskedArray) and (masked := int(np.ma.getmaskarray(given).sum())):
        raise ValueError(
            f"`{argument}` must be finite: {masked:,} of {given.size:,} values are masked, that is"
            " missing: leave such rows out, or fill them in before."
        )


def _check_finite(values: Array, argument: str) -> None:
    finite = np.isfinite(values.reshape(len(values), -1) if values.ndim else values[None, None])
    broken = np.flatnonzero(~finite.all(axis=1))
    if len(broken):
        raise ValueError(
            f"`{argument}` must be finite: row {broken[0]} (counted from 0) holds NaN or infinity"
            f" (inf), as {len(broken):,} of {len(finite):,} rows do: leave these out, or fill them"
            " in before."
        )


def _weights(given: Any, rows: int) -> Array | None:
    if given is None:
        return None
    weights = _numbers(given, "sample_weight")
    if weights.ndim == 0:
        weights = np.full(rows, float(weights))
    if weights.shape != (rows,):
        raise ValueError(f"`sample_weight` must have shape ({rows},), got {weights.shape}.")
    if (weights < 0).any():
        raise ValueError(f"`sample_weight` must not be negative, got {weights.min():g}.")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights
