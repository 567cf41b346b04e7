"""The surrogate: a Gaussian process of the value on a genome's features (see `features`).

Its kernel is exp(-sum over blocks of e_b d_b^2): genomes are similar if their genes are and if the
pairs that they cover are (see `distances`). The exponents e_b and the noise are chosen by the best
leave-one-out R2 (see `ridge`), the exponents by coordinate search, one step a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.surrogate.distances import Distances, squares
from nfopt.evolution.surrogate.features import Blocks, Encoder
from nfopt.evolution.surrogate.ridge import INTERCEPT, explained, ridge

Floats = NDArray[np.float64]

TOTALS = (0.5, 1.0, 2.0, 4.0)
"""Sums of the exponents of the genes in the first fit's grid; each block has an equal share."""

COVERAGE = (1 / 16, 1 / 4)
"""Exponents of pair coverage in the first fit's grid, as shares of that sum."""

LOWEST, HIGHEST = 1 / 32, 16.0
"""Limits of an exponent."""


class Surrogate:
    """The surrogate of one layout, refitted from time to time.

    Args:
        layout: What genomes look like.
        least_r2: The leave-one-out R2 from which on it is usable.
    """

    def __init__(self, layout: Layout, least_r2: float) -> None:
        self._encoder = Encoder(layout)
        self._least = least_r2
        self._model: _Model | None = None
        self._step = 0

    @property
    def r2(self) -> float | None:
        """Leave-one-out R2 of the last fit, mean over the objectives; None before."""
        return None if self._model is None else self._model.r2

    @property
    def columns(self) -> int:
        """Values per genome at the last fit; 0 before."""
        return 0 if self._model is None else self._model.fit.alpha.shape[1]

    @property
    def errors(self) -> Floats:
        """Leave-one-out errors of the last fit, shape (n, m)."""
        return np.empty((0, 0)) if self._model is None else self._model.fit.errors

    @property
    def usable(self) -> bool:
        """Whether it predicts well enough to be used."""
        return self._model is not None and self._model.r2 > self._least

    def fit(
        self, genomes: Sequence[Genome], values: Floats, weights: Floats, objectives: int = 1
    ) -> None:
        """Fit a grid of exponents the first time; later the last ones, or one neighbour of them.

        Args:
            genomes: n of them.
            values: Shape (n, m).
            weights: Weight of each row, in runs, shape (n,).
            objectives: The first of the m values, by which the exponents are chosen.
        """
        space = Distances(self._encoder.encode(genomes))
        candidates = _grid(space.names)
        if self._model is not None:
            moves = [(name, factor) for name in space.names for factor in (2.0, 0.5)]
            name, factor = moves[self._step % len(moves)]
            self._step += 1
            current, penalty = self._model.exponents, self._model.fit.penalty
            neighbour = current | {name: float(np.clip(current[name] * factor, LOWEST, HIGHEST))}
            r2s = [
                explained(space.gram(exponents), values, weights, penalty)[:objectives].mean()
                for exponents in (current, neighbour)
            ]
            candidates = [neighbour if r2s[1] > r2s[0] else current]
        models = [_Model(space, exponents, values, weights, objectives) for exponents in candidates]
        self._model = max(models, key=lambda model: model.r2)

    def condition(self, genomes: Sequence[Genome], values: Floats, weights: Floats) -> None:
        """Condition the posterior on data since the fit; replaces what it was conditioned on.

        Args:
            genomes: q of them.
            values: Shape (q, m); NaN for a running genome, which only lowers the deviation nearby.
            weights: As in `fit`, shape (q,).
        """
        if self._model is not None:
            blocks = self._encoder.encode(genomes) if len(genomes) else None
            self._model.condition(blocks, values, weights)

    def predict(self, genomes: Sequence[Genome]) -> Floats:
        """Predict the values of n genomes from the fit alone, shape (n, m).

        Raises:
            RuntimeError: Before the first fit.
        """
        return self._fitted().predict(self._encoder.encode(genomes))

    def posterior(self, genomes: Sequence[Genome]) -> tuple[Floats, Floats]:
        """Posterior mean and standard deviation of the true values, shape (n, m) each.

        Includes the data that it was conditioned on.

        Raises:
            RuntimeError: Before the first fit.
        """
        return self._fitted().posterior(self._encoder.encode(genomes))

    def _fitted(self) -> _Model:
        if self._model is None:
            raise RuntimeError("The surrogate must be fitted before it predicts.")
        return self._model


def _grid(names: Sequence[str]) -> list[dict[str, float]]:
    """The exponents that the first fit compares."""
    coverage = [name for name in names if name.startswith("coverage")]
    genes = [name for name in names if name not in coverage]
    grid = []
    for total in TOTALS:
        exponents = dict.fromkeys(genes, total / max(len(genes), 1))
        shares = COVERAGE if coverage else (0.0,)
        grid += [exponents | dict.fromkeys(coverage, share * total) for share in shares]
    return grid


class _Model:
    """The Gaussian process under given exponents, fitted."""

    def __init__(
        self,
        space: Distances,
        exponents: dict[str, float],
        values: Floats,
        weights: Floats,
        objectives: int,
    ) -> None:
        self.exponents = exponents
        self.fit = ridge(space.gram(exponents), values, weights)
        self.r2 = float(self.fit.r2[:objectives].mean())
        self._space = space
        self._fitted_rows: Floats | None = None
        self._update: _Update | None = None

    def predict(self, blocks: Blocks) -> Floats:
        return self.fit.centre + self._kernel(self._rows(blocks)) @ self.fit.alpha

    def posterior(self, blocks: Blocks) -> tuple[Floats, Floats]:
        fit, update, rows = self.fit, self._update, self._rows(blocks)
        kernel = self._kernel(rows)
        means = fit.centre + kernel @ fit.alpha
        sds = np.empty_like(means)
        to_update = None if update is None else np.exp(-squares(rows, update.rows)) + INTERCEPT
        for column, root in enumerate(fit.roots):
            explained_by_fit = kernel @ root
            variance = 1 + INTERCEPT - (explained_by_fit**2).sum(axis=1)
            if update is not None and to_update is not None:
                covariance = to_update - explained_by_fit @ update.explained_by_fit[column].T
                means[:, column] += covariance @ update.alpha[column]
                variance -= ((covariance @ update.roots[column]) ** 2).sum(axis=1)
            sds[:, column] = np.sqrt(np.maximum(variance, 0.0) * fit.scale[column])
        return means, sds

    def condition(self, blocks: Blocks | None, values: Floats, weights: Floats) -> None:
        self._update = None
        if blocks is None:
            return
        fit, rows = self.fit, self._rows(blocks)
        kernel = self._kernel(rows)
        residual = values - fit.centre - kernel @ fit.alpha
        known = np.isfinite(residual).all(axis=1)
        prior = np.exp(-squares(rows, rows)) + INTERCEPT
        alpha = np.zeros((len(fit.roots), len(rows)))
        explained_by_fit = [kernel @ root for root in fit.roots]
        roots = []
        for column, part in enumerate(explained_by_fit):
            covariance = prior - part @ part.T + np.diag(fit.penalty[column] / weights)
            alpha[column, known] = np.linalg.solve(
                covariance[np.ix_(known, known)], residual[known, column]
            )
            roots.append(np.linalg.inv(np.linalg.cholesky(covariance)).T)
        self._update = _Update(rows, explained_by_fit, alpha, roots)

    def _rows(self, blocks: Blocks) -> Floats:
        return self._space.rows(blocks, self.exponents)

    def _kernel(self, rows: Floats) -> Floats:
        if self._fitted_rows is None:
            self._fitted_rows = self._rows(self._space.own)
        return np.asarray(np.exp(-squares(rows, self._fitted_rows)) + INTERCEPT)


@dataclass(frozen=True)
class _Update:
    """Data since the fit: its points, and for each value what the fit explains of them."""

    rows: Floats
    explained_by_fit: list[Floats]
    alpha: Floats
    roots: list[Floats]
