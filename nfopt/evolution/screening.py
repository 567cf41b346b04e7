"""The screening model: which of many children is worth a run.

Ridge regression of the value on a genome's features (see `nfopt.evolution.features`), in its dual
form: with n runs and more features than runs only the n x n Gram matrix counts. Of the models in
`MODELS` and the penalties in `PENALTIES` those with the best leave-one-out R2 are taken, which the
dual form gives in closed form: the error of run i is alpha_i / (G^-1)_ii (Rasmussen & Williams
2006, section 5.4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.features import Blocks, Encoder
from nfopt.evolution.genome import Genome, Layout

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]

PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Ridge penalties, in units of the mean of the Gram matrix's diagonal."""

INTERCEPT = 100.0
"""Prior variance of the intercept, in the same units: as good as free."""

MODELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "coverage": (("plain", "coverage", "edges"), ()),
    "letters": (("plain", "coverage", "edges", "letters"), ()),
    "pairs": (("plain", "coverage", "edges"), ("plain", "letters")),
}
"""The blocks that are linear, and those whose products of two features count as well."""


@dataclass(frozen=True)
class Fit:
    """Dual ridge regression, solved for the best of the penalties.

    Attributes:
        alpha: Dual weights, shape (n, m).
        r2: Leave-one-out R2 of each of m values, against the mean of the others, shape (m,).
        penalty: The penalty taken for each, shape (m,).
        centre: The mean that was taken off each, shape (m,).
        errors: Of each value what the model of all others misses it by, shape (n, m).
    """

    alpha: Floats
    r2: Floats
    penalty: Floats
    centre: Floats
    errors: Floats


def ridge(gram: Floats, values: Floats, weights: Floats) -> Fit:
    """Fit alpha = (G + penalty / W)^-1 y for the penalty with the best leave-one-out R2.

    Args:
        gram: G, shape (n, n), mean of the diagonal 1; the intercept is added here.
        values: Shape (n, m): m regressions with one Gram matrix.
        weights: How many runs each row is worth, W, shape (n,).
    """
    centre = np.average(values, axis=0, weights=weights)
    y = values - centre
    root = np.sqrt(weights)[:, None]
    size, vectors = np.linalg.eigh(root * (gram + INTERCEPT) * root.T)
    size = np.maximum(size, 0.0)
    rotated = vectors.T @ (root * y)
    # Leaving a value out moves the mean of the others away from it.
    share = weights / weights.sum()
    total = weights @ (y / (1 - share)[:, None]) ** 2
    total = np.where(total > 0, total, np.inf)
    alphas, errors, r2s = [], [], []
    for penalty in PENALTIES:
        inverse = 1 / (size + penalty)
        alpha = root * (vectors @ (inverse[:, None] * rotated))
        left_out = alpha / (weights * (vectors**2 @ inverse))[:, None]
        alphas.append(alpha)
        errors.append(left_out)
        r2s.append(np.where(np.isinf(total), 0.0, 1 - weights @ left_out**2 / total))
    best = np.argmax(r2s, axis=0)
    columns = np.arange(values.shape[1])
    return Fit(
        np.array(alphas)[best, :, columns].T,
        np.array(r2s)[best, columns],
        np.array(PENALTIES)[best],
        centre,
        np.array(errors)[best, :, columns].T,
    )


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
        self._quality: dict[str, float] = {}
        self._turn = 0

    @property
    def r2(self) -> float | None:
        """Leave-one-out R2 of the last fit, mean over the objectives; None before."""
        return None if self._model is None else self._model.r2

    @property
    def errors(self) -> Floats:
        """Leave-one-out errors of the last fit, shape (n, m)."""
        return np.empty((0, 0)) if self._model is None else self._model.fit.errors

    @property
    def model(self) -> str | None:
        """The name of the model in `MODELS` that the last fit took."""
        return None if self._model is None else self._model.name

    @property
    def usable(self) -> bool:
        """Whether it predicts well enough to be used."""
        return self._model is not None and self._model.r2 > self._least

    def fit(
        self, genomes: Sequence[Genome], values: Floats, weights: Floats, objectives: int = 1
    ) -> None:
        """Fit all models the first time, later the best one so far and one other in turn.

        Args:
            genomes: n of them.
            values: Shape (n, m).
            weights: How many runs each is worth, shape (n,).
            objectives: How many of the m values count in the choice of the model.
        """
        blocks = self._encoder.encode(genomes)
        names = [name for name in MODELS if name != "letters" or "letters" in blocks]
        if len(self._quality) == len(names):
            others = sorted(set(names) - {str(self.model)})
            self._turn += 1
            names = [str(self.model), others[self._turn % len(others)]]
        fitted = [_Model(name, blocks, values, weights, objectives) for name in names]
        self._quality.update({model.name: model.r2 for model in fitted})
        self._model = max(fitted, key=lambda model: model.r2)

    def predict(self, genomes: Sequence[Genome]) -> Floats:
        """Predict the values of n genomes, shape (n, m).

        Raises:
            RuntimeError: Before the first fit.
        """
        if self._model is None:
            raise RuntimeError("The screening model must be fitted before it predicts.")
        return self._model.predict(self._encoder.encode(genomes))


class _Model:
    """One entry of `MODELS`, fitted."""

    def __init__(
        self, name: str, blocks: Blocks, values: Floats, weights: Floats, objectives: int
    ) -> None:
        self.name = name
        linear, products = MODELS[name]
        self._linear = [block for block in linear if block in blocks]
        self._products = [block for block in products if block in blocks]
        self._centres = {k: blocks[k].mean(axis=0) for k in {*self._linear, *self._products}}
        centred = {k: blocks[k] - centre for k, centre in self._centres.items()}
        self._scales = {k: _scale(rows) for k, rows in centred.items()}
        count = len(values)
        gram = np.zeros((count, count), dtype=np.float32)
        for block in self._linear:
            gram += self._scales[block] * (centred[block] @ centred[block].T)
        inner = np.zeros_like(gram)
        for block in self._products:
            inner += self._scales[block] * (centred[block] @ centred[block].T)
        self._parts = float(len(self._linear) + len(self._products) ** 2) or 1.0
        self.fit = ridge((gram + inner**2).astype(float) / self._parts, values, weights)
        self.r2 = float(self.fit.r2[:objectives].mean())
        alpha = (self.fit.alpha / self._parts).astype(np.float32)
        self._slopes = {k: self._scales[k] * (centred[k].T @ alpha) for k in self._linear}
        self._rows = {k: centred[k] for k in self._products}
        self._alpha = alpha
        self._level = self.fit.centre + INTERCEPT * self.fit.alpha.sum(axis=0)

    def predict(self, blocks: Blocks) -> Floats:
        centred = {k: blocks[k] - centre for k, centre in self._centres.items()}
        count = len(next(iter(blocks.values())))
        predicted = np.zeros((count, self._alpha.shape[1]), dtype=np.float32)
        for block, slopes in self._slopes.items():
            predicted += centred[block] @ slopes
        if self._rows:
            inner = np.zeros((count, len(self._alpha)), dtype=np.float32)
            for block, rows in self._rows.items():
                inner += self._scales[block] * (centred[block] @ rows.T)
            predicted += inner**2 @ self._alpha
        return np.asarray(predicted + self._level, dtype=float)


def _scale(centred: Floats32) -> np.float32:
    """What makes the mean squared length of the rows 1."""
    mean = np.float32((centred**2).sum() / len(centred))
    return np.float32(1 / mean) if mean > 0 else np.float32(0)
