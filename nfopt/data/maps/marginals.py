"""Marginal maps: a monotone map a column, fitted on training rows, from the line to the flow.

    fitted = fit_map("asinh", column)
    z, slope = fitted.forward(column)        # slope: log dz/dx in nats
    fitted.inverse(z)

All are float64, exactly invertible, plain data (JSON both ways), and sound from 1e-300 to 1e300.
A new one is a class beside these, a word in `Marginal`, and a line of the contract test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.kinds import Asinh, Standardise
from nfopt.data.maps.quantile import Quantile
from nfopt.errors import DataError

__all__ = ["DEFAULT", "MARGINALS", "Marginal", "Standardise", "check_marginals", "fit_map"]

Array = NDArray[np.float64]

Marginal = Standardise | Asinh | Quantile
MARGINALS: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in get_args(Marginal)}
"""The kinds of maps by name."""
DEFAULT = "asinh"
"""The best one where nothing is known: never far behind the others, and no value is too far."""


def fit_map(kind: str, column: Array, weights: Array | None = None) -> Marginal:
    """Fit a map of a kind, a key of `MARGINALS`, to a column that is not constant.

    Raises:
        DataError: If the column has no spread that float64 can hold.
    """
    fitted = MARGINALS[kind].fit(column, weights)
    try:
        fitted.check()
    except ValueError as error:
        raise DataError(str(error)) from None
    return cast(Marginal, fitted)


def names_of(marginals: str | Sequence[str], features: int, context: int = 0) -> tuple[str, ...]:
    """Read a choice of maps: one name for all columns, or one a column with commas between.

    Args:
        marginals: Such as "asinh" or "asinh,quantile,standardise", or a sequence of names.
        features: D.
        context: C; names for the features alone leave the context standardised.

    Returns:
        D + C names.

    Raises:
        ValueError: If a name is not known, or they are of another number.
    """
    chosen = check_marginals(marginals).split(",")
    if len(chosen) == 1:
        chosen *= features + context
    elif len(chosen) == features:
        chosen += ["standardise"] * context
    if len(chosen) != features + context:
        more = f" (or {features + context} with the context)" if context else ""
        raise ValueError(
            f"`marginals` must be one name, or {features}{more} with commas between, one a column,"
            f" got {len(chosen)}."
        )
    return tuple(chosen)


def check_marginals(marginals: object) -> str:
    """Write a choice of maps in its one form; a choice of one name a column stays so.

    Raises:
        ValueError: If a name is not known.
    """
    parts: list[object] = []
    if isinstance(marginals, str):
        parts = [part.strip() for part in marginals.split(",")]
    elif isinstance(marginals, Sequence):
        parts = list(marginals)
    if not parts or any(part not in MARGINALS for part in parts):
        raise ValueError(
            f"`marginals` must be of {', '.join(MARGINALS)}, one for all columns or one a column,"
            f" got {marginals!r}."
        )
    return str(parts[0]) if len(set(parts)) == 1 else ",".join(map(str, parts))
