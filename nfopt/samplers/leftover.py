"""What dependence a flow left between the features in base space, as an attribute of its trial.

    record_leftover(trial, z)      in an objective of your own, z: validation rows in base space

A perfect flow leaves none. EvolutionSampler reads it from the trials of the best, and makes some
children by changing masks or edges so that the worst pairs are conditioned (directed mutation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna import Trial
from optuna.trial import FrozenTrial

from nfopt.dependence import bins_of, mutual_information
from nfopt.evolution.pairs import MOST, Pairs

LEFTOVER = "nfopt:leftover"
"""Trial attribute: `features`, and `pairs` as "I J S, I J S, ...", the worst first: two features
from 0 and their mutual information in thousandths of a nat."""

ROWS = 2_000
"""Rows that are looked at, evenly spaced; more would tell little and take longer."""

FEWEST = 100
"""Rows below which nothing is said: noise alone would look like dependence."""

SURE = 4.0
"""Standard deviations of the estimate, where nothing is left, that a pair must be above."""

SCALE = 1_000.0
"""Units of the attribute in a nat."""


def record_leftover(trial: Trial, z: NDArray[np.floating]) -> None:
    """Keep with a running trial what dependence its flow left; for directed mutation.

    Call it in the objective, after training, with a SearchSpace known to the EvolutionSampler.
    It is one attribute of at most about two kilobytes, and takes some milliseconds.

    Args:
        trial: Running.
        z: Rows that the flow was not trained on, taken to its base, shape (n, D), column i that of
            feature i. At most 2,000 are looked at; from fewer than 100 nothing is kept.

    Raises:
        ValueError: If it is no table.
    """
    found = measured(z)
    if found is not None:
        trial.set_user_attr(LEFTOVER, packed(found))


def measured(z: NDArray[np.floating]) -> Pairs | None:
    """Measure what is left: the mutual information of ranks, the worst pairs of it.

    Args:
        z: As for `record_leftover`; rows that are not finite are left out.

    Returns:
        Pairs that stand out from noise; None if the rows are too few.
    """
    rows = np.asarray(z)
    if rows.ndim != 2 or not np.issubdtype(rows.dtype, np.floating):
        raise ValueError(f"`z` must be numbers of shape (n, D), got shape {rows.shape}.")
    if len(rows) > ROWS:
        rows = rows[np.linspace(0, len(rows) - 1, ROWS).astype(np.int64)]
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < FEWEST:
        return None
    # of independent ranks, 2n times the information is about chi-squared, (bins - 1)^2 freedoms
    noise = (bins_of(*rows.shape) - 1) / (np.sqrt(2.0) * len(rows))
    return Pairs.of(mutual_information(rows), max(SURE * noise, 0.5 / SCALE))


def packed(pairs: Pairs) -> dict[str, Any]:
    """Write pairs as the attribute."""
    strength = np.rint(pairs.strength * SCALE).astype(int).tolist()
    triples = zip(pairs.first.tolist(), pairs.second.tolist(), strength, strict=True)
    return {
        "features": pairs.features,
        "pairs": ", ".join([f"{i} {j} {value}" for i, j, value in triples]),
    }


def leftover_of(trial: FrozenTrial, features: int) -> Pairs | None:
    """Read the attribute of a trial; None if there is none, or not for so many features."""
    told = trial.user_attrs.get(LEFTOVER)
    if not isinstance(told, Mapping) or told.get("features") != features:
        return None
    try:
        numbers = np.array(str(told.get("pairs", "")).replace(",", " ").split(), dtype=np.float64)
        rows = numbers[: 3 * MOST].reshape(-1, 3)
    except ValueError:
        return None
    first, second = rows[:, 0].astype(np.int32), rows[:, 1].astype(np.int32)
    if not ((first >= 0) & (first < second) & (second < features) & (rows[:, 2] >= 0)).all():
        return None
    return Pairs(features, first, second, (rows[:, 2] / SCALE).astype(np.float32))
