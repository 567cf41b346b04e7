"""Parameters and simulations as sbi has them, checked, and the table that they make."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data import Prepared, load, prepare, split_without_test
from nfopt.errors import DataError, DataWarning

Array = NDArray[np.float64]
FEWEST = 20  # simulations
VALIDATION = 0.1  # share of the simulations that validate, as sbi's own


@dataclass(frozen=True)
class Simulations:
    """Pairs of parameters and what was simulated with them.

    Attributes:
        features: What the density is of, shape (n, D), finite.
        context: What it is conditioned on, shape (n, C), finite.
        names: Of the two: ("theta", "x") for a posterior, ("x", "theta") for a likelihood.
    """

    features: Array
    context: Array
    names: tuple[str, str]

    def table(self, seed: int) -> Prepared:
        """Divide them into training and validation rows; the columns are theta_0, ..., x_0, ...

        Args:
            seed: Of the choice.

        Raises:
            DataError: If a column can't be used.
        """
        columns, given = (
            [f"{name}_{at}" for at in range(values.shape[1])]
            for name, values in zip(self.names, (self.features, self.context), strict=True)
        )
        source = dict(zip(columns, self.features.T, strict=True))
        source |= dict(zip(given, self.context.T, strict=True))
        table = load(source, columns=columns, context=given, dequantise=False, fewest=2)
        parts = split_without_test(table.rows, VALIDATION, seed=seed)
        return prepare(table, parts, seed)


def read(theta: Any, x: Any, *, likelihood: bool = False) -> Simulations:
    """Check simulations; those that are not finite are left out, and a warning counts them.

    Args:
        theta: Parameters, a tensor or an array, shape (n, D).
        x: Simulations, shape (n, C).
        likelihood: The density is of x given theta, and not of theta given x.

    Raises:
        ValueError: If lengths or shapes do not fit, or too few simulations are finite.
        DataError: If a column is constant.
    """
    both = {"theta": _numbers(theta, "theta"), "x": _numbers(x, "x")}
    rows = len(both["theta"])
    if len(both["x"]) != rows:
        raise ValueError(
            f"`theta` and `x` must have one row a simulation, got {rows:,} and {len(both['x']):,}"
            " rows."
        )
    finite = {name: np.isfinite(values).all(axis=1) for name, values in both.items()}
    kept = finite["theta"] & finite["x"]
    count = int(kept.sum())
    if count < FEWEST:
        some = f"{rows:,}" if count == rows else f"{rows:,}, of which {count} are finite"
        raise ValueError(f"`theta` and `x` must be of at least {FEWEST} simulations, got {some}.")
    if count < rows:
        where = " or ".join(f"`{name}`" for name, good in finite.items() if not good.all())
        warnings.warn(
            f"{rows - count:,} of {rows:,} simulations are left out: {where} holds NaN or infinity"
            " there",
            DataWarning,
            stacklevel=3,
        )
    for name, values in both.items():
        both[name] = values = values[kept]
        if len(still := np.flatnonzero(values.min(axis=0) == values.max(axis=0))):
            raise DataError(
                f"`{name}` must vary: column {still[0]} (counted from 0) is {values[0, still[0]]:g}"
                f" in all {count:,} simulations, as {len(still)} of {values.shape[1]} columns are:"
                " leave these out"
            )
    names = ("x", "theta") if likelihood else ("theta", "x")
    return Simulations(both[names[0]], both[names[1]], names)


def _numbers(given: Any, argument: str) -> Array:
    detached = given.detach().cpu() if hasattr(given, "detach") else given
    try:
        values: Array = np.asarray(detached, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{argument}` must be numbers: {' '.join(str(error).split())}") from None
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(
            f"`{argument}` must have one row a simulation and one column a number, got shape"
            f" {values.shape}."
        )
    return values
