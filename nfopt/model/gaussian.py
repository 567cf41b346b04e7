"""The Gaussian that a flow has to beat: mean and covariance of the training rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

RIDGE = 1e-6  # added to the variances, of rows whose columns have about unit variance
MOST_ROWS = 20_000  # fitted to; more cost seconds where columns are many and change nothing


def gaussian_log_prob(
    train: NDArray[np.floating],
    rows: NDArray[np.floating],
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Score rows under the Gaussian of the training rows; where D is not below n, a diagonal one.

    Args:
        train: Standardised, shape (n, D).
        rows: On the same scale, shape (m, D).
        weights: Of the training rows, shape (n,), or None.

    Returns:
        Log-density of each row in nats, shape (m,).

    Raises:
        numpy.linalg.LinAlgError: If the covariance is not finite.
    """
    many, features = train.shape
    if many > MOST_ROWS:
        some = np.linspace(0, many - 1, MOST_ROWS).astype(np.int64)
        train, weights = train[some], None if weights is None else weights[some]
    fitted = train.astype(np.float64)
    mean = np.average(fitted, axis=0, weights=weights)
    centred = rows.astype(np.float64) - mean
    if len(fitted) <= features:
        spread = np.sqrt(np.average((fitted - mean) ** 2, axis=0, weights=weights) + RIDGE)
        scaled, log_det = centred / spread, float(np.log(spread).sum())
    else:
        covariance = np.cov(fitted, rowvar=False, bias=True, aweights=weights)
        root = np.linalg.cholesky(covariance.reshape(features, features) + RIDGE * np.eye(features))
        scaled = np.linalg.solve(root, centred.T).T
        log_det = float(np.log(np.diag(root)).sum())
    found: NDArray[np.float64] = (
        -0.5 * (scaled * scaled).sum(axis=1) - log_det - 0.5 * features * math.log(2 * math.pi)
    )
    return found
