"""The screening model: which of many children is worth a run, and how sure that is.

A Gaussian process of the value on a genome's features (see `features`), under the kernel
exp(-sum over blocks of e_b d_b^2): genomes are alike if their genes are and if the pairs that they
cover are (see `distances`). Exponents e_b and the noise are those of the best leave-one-out R2 (see
`ridge`). The exponents are found step by step, one step a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import Genome, Layout
from nfopt.evolution.surrogate.distances import Distances, squares
from nfopt.evolution.surrogate.features import Blocks, Encoder
from nfopt.evolution.surrogate.ridge import INTERCEPT, explained, ridge

Floats = NDArray[np.float64]

TOTALS = (0.5, 1.0, 2.0, 4.0)
"""Sums of the exponents of the genes that are tried at first; each block has an equal share."""

COVERAGE = (1 / 16, 1 / 4)
"""Exponents of pair coverage that are tried at first, as shares of that sum."""

LOWEST, HIGHEST = 1 / 32, 16.0
"""Limits of an exponent."""


class Screen:
    """The model of one layout, refitted from time to time.

    Args:
        layout: What genomes look like.
        least_r2: The leave-one-out R2 from which on it predicts.
    """

    def __init__(self, layout: Layout, least_r2: float) -> None:
        self._encoder = Encoder(layout)
        self._least = least_r2
        self._model: _Model | None = None
        self._turn = 0

    @property
    def r2(self) -> float | None:
        """Leave-one-out R2 of the last fit, mean over the objectives; None before."""
        return None if self._model is None else self._model.r2

    @property
    def columns(self) -> int:
        """How many values of a genome the last fit had; 0 before."""
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
        """Fit a grid of exponents the first time, later the last ones and one neighbour in turn.

        Args:
            genomes: n of them.
            values: Shape (n, m).
            weights: How many runs each is worth, shape (n,).
            objectives: How many of the m values count in the choice of the model.
        """
        space = Distances(self._encoder.encode(genomes))
        tried = _first(space.names)
        if self._model is not None:
            moves = [(name, factor) for name in space.names for factor in (2.0, 0.5)]
            name, factor = moves[self._turn % len(moves)]
            self._turn += 1
            now, penalty = self._model.exponents, self._model.fit.penalty
            beside = now | {name: float(np.clip(now[name] * factor, LOWEST, HIGHEST))}
            r2s = [
                explained(space.gram(each), values, weights, penalty)[:objectives].mean()
                for each in (now, beside)
            ]
            tried = [beside if r2s[1] > r2s[0] else now]
        models = [_Model(space, each, values, weights, objectives) for each in tried]
        self._model = max(models, key=lambda model: model.r2)

    def hear(self, genomes: Sequence[Genome], values: Floats, weights: Floats) -> None:
        """Take in what was told since the fit, in place of what was taken in before.

        Args:
            genomes: q of them.
            values: Shape (q, m); NaN where a run goes on: it makes what is near less worth a run.
            weights: As in `fit`, shape (q,).
        """
        if self._model is not None:
            blocks = self._encoder.encode(genomes) if len(genomes) else None
            self._model.hear(blocks, values, weights)

    def predict(self, genomes: Sequence[Genome]) -> Floats:
        """Predict the values of n genomes from what was fitted alone, shape (n, m).

        Raises:
            RuntimeError: Before the first fit.
        """
        return self._fitted().predict(self._encoder.encode(genomes))

    def expect(self, genomes: Sequence[Genome]) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the true values, what was heard included, shape (n, m).

        Raises:
            RuntimeError: Before the first fit.
        """
        return self._fitted().expect(self._encoder.encode(genomes))

    def _fitted(self) -> _Model:
        if self._model is None:
            raise RuntimeError("The screening model must be fitted before it predicts.")
        return self._model


def _first(names: Sequence[str]) -> list[dict[str, float]]:
    """The exponents of the first fit."""
    genes = [name for name in names if name != "coverage"]
    grid = []
    for total in TOTALS:
        each = dict.fromkeys(genes, total / max(len(genes), 1))
        if len(genes) == len(names):
            grid.append(each)
        else:
            grid += [each | {"coverage": share * total} for share in COVERAGE]
    return grid


class _Model:
    """The process under some exponents, fitted."""

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
        self._own: Floats | None = None
        self._heard: _Heard | None = None

    def predict(self, blocks: Blocks) -> Floats:
        return self.fit.centre + self._kernel(self._rows(blocks)) @ self.fit.alpha

    def expect(self, blocks: Blocks) -> tuple[Floats, Floats]:
        fit, heard, rows = self.fit, self._heard, self._rows(blocks)
        kernel = self._kernel(rows)
        means = fit.centre + kernel @ fit.alpha
        sds = np.empty_like(means)
        beside = None if heard is None else np.exp(-squares(rows, heard.rows)) + INTERCEPT
        for column, root in enumerate(fit.roots):
            seen = kernel @ root
            variance = 1 + INTERCEPT - (seen**2).sum(axis=1)
            if heard is not None and beside is not None:
                shared = beside - seen @ heard.seen[column].T
                means[:, column] += shared @ heard.alpha[column]
                variance -= ((shared @ heard.roots[column]) ** 2).sum(axis=1)
            sds[:, column] = np.sqrt(np.maximum(variance, 0.0) * fit.scale[column])
        return means, sds

    def hear(self, blocks: Blocks | None, values: Floats, weights: Floats) -> None:
        self._heard = None
        if blocks is None:
            return
        fit, rows = self.fit, self._rows(blocks)
        kernel = self._kernel(rows)
        missed = values - fit.centre - kernel @ fit.alpha
        known = np.isfinite(missed).all(axis=1)
        among = np.exp(-squares(rows, rows)) + INTERCEPT
        alpha = np.zeros((len(fit.roots), len(rows)))
        seen = [kernel @ root for root in fit.roots]
        roots = []
        for column, mine in enumerate(seen):
            left = among - mine @ mine.T + np.diag(fit.penalty[column] / weights)
            alpha[column, known] = np.linalg.solve(
                left[np.ix_(known, known)], missed[known, column]
            )
            roots.append(np.linalg.inv(np.linalg.cholesky(left)).T)
        self._heard = _Heard(rows, seen, alpha, roots)

    def _rows(self, blocks: Blocks) -> Floats:
        return self._space.rows(blocks, self.exponents)

    def _kernel(self, rows: Floats) -> Floats:
        if self._own is None:
            self._own = self._rows(self._space.own)
        return np.asarray(np.exp(-squares(rows, self._own)) + INTERCEPT)


@dataclass(frozen=True)
class _Heard:
    """What came after the fit: points, and for each value what they share with it."""

    rows: Floats
    seen: list[Floats]
    alpha: Floats
    roots: list[Floats]
