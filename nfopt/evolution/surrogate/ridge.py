"""Dual ridge regression: the posterior mean of a Gaussian process under a given kernel.

Its leave-one-out errors have a closed form, alpha_i / (G^-1)_ii (Rasmussen & Williams 2006, section
5.4.2); the penalty, the variance of the noise, is the one under which they are least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PENALTIES = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Variances of the noise, in units of the prior variance."""

INTERCEPT = 100.0
"""Prior variance of the intercept, in the same units: as good as free."""


@dataclass(frozen=True)
class Fit:
    """Dual ridge regression, solved for the best of the penalties.

    Attributes:
        alpha: Dual weights, shape (n, m).
        r2: Leave-one-out R2 of each of m values, against the mean of the others, shape (m,).
        penalty: The penalty chosen for each, shape (m,).
        centre: The mean subtracted from each, shape (m,).
        errors: Leave-one-out errors, shape (n, m).
        scale: The prior variance of each, shape (m,).
        roots: For each value a B with B B^T = (G + penalty / W)^-1, shape (m, n, n).
    """

    alpha: Floats
    r2: Floats
    penalty: Floats
    centre: Floats
    errors: Floats
    scale: Floats
    roots: Floats


def ridge(gram: Floats, values: Floats, weights: Floats) -> Fit:
    """Fit alpha = (G + penalty / W)^-1 y for the penalty with the best leave-one-out R2.

    Args:
        gram: G, shape (n, n), mean of the diagonal 1; the intercept is added here.
        values: Shape (n, m): m regressions with one Gram matrix.
        weights: Weight of each row, in runs, W, shape (n,).
    """
    centre = np.average(values, axis=0, weights=weights)
    y = values - centre
    root = np.sqrt(weights)[:, None]
    size, vectors = np.linalg.eigh(root * (gram + INTERCEPT) * root.T)
    size = np.maximum(size, 0.0)
    rotated = vectors.T @ (root * y)
    squares = vectors**2
    # The mean of the others is farther from a value than the mean of all.
    share = weights / weights.sum()
    total = weights @ (y / (1 - share)[:, None]) ** 2
    total = np.where(total > 0, total, np.inf)
    alphas, errors, r2s = [], [], []
    for penalty in PENALTIES:
        inverse = 1 / (size + penalty)
        alpha = root * (vectors @ (inverse[:, None] * rotated))
        left_out = alpha / (weights * (squares @ inverse))[:, None]
        alphas.append(alpha)
        errors.append(left_out)
        r2s.append(np.where(np.isinf(total), 0.0, 1 - weights @ left_out**2 / total))
    best = np.argmax(r2s, axis=0)
    columns = np.arange(values.shape[1])
    alpha = np.array(alphas)[best, :, columns].T
    penalty = np.array(PENALTIES)[best]
    return Fit(
        alpha,
        np.array(r2s)[best, columns],
        penalty,
        centre,
        np.array(errors)[best, :, columns].T,
        np.maximum((y * alpha).mean(axis=0), 0.0),
        np.array([root * vectors / np.sqrt(size + chosen) for chosen in penalty]),
    )


def explained(gram: Floats, values: Floats, weights: Floats, penalty: Floats) -> Floats:
    """The leave-one-out R2 under given penalties, shape (m,); a tenth of the time of `ridge`.

    Args:
        gram: As for `ridge`.
        values: Shape (n, m).
        weights: Shape (n,).
        penalty: Shape (m,); the last one also counts for any further columns of the values.
    """
    y = values - np.average(values, axis=0, weights=weights)
    total = weights @ (y / (1 - weights / weights.sum())[:, None]) ** 2
    r2 = np.zeros(values.shape[1])
    for column in np.flatnonzero(total > 0).tolist():
        noise = penalty[min(column, len(penalty) - 1)] / weights
        inverse = np.linalg.inv(gram + INTERCEPT + np.diag(noise))
        left_out = inverse @ y[:, column] / np.diag(inverse)
        r2[column] = 1 - weights @ left_out**2 / total[column]
    return r2
