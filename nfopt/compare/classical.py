"""Rivals that are no flows: a Gaussian mixture chosen on validation rows, and a vine copula."""

from __future__ import annotations

from typing import Any

import numpy as np

from nfopt.compare.rival import Array, Clock, Curve, Fitted
from nfopt.data import Part, Prepared

COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)
PROBE = 500  # rows on which a vine's pairs are timed
SPARE = 0.7  # of a vine's time, for its pairs


def gaussian_mixture(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Fit full Gaussian mixtures of 1, 2, 4, ... components; keep what validates best."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    _no_context(data)
    rows, held_out = data.train.astype(np.float64), data.val.astype(np.float64)
    best: Any = None
    value, last = -np.inf, 0.0
    curve: Curve = []
    with threadpool_limits(1):
        for components in COMPONENTS:
            few = components * (data.features + 1) > len(rows)
            if best is not None and (few or clock.left() < 2.5 * last):
                break
            began = clock.gone()
            model = GaussianMixture(components, random_state=seed).fit(rows)
            score = float(model.score(held_out))
            last = clock.gone() - began
            curve.append((clock.gone(), -score - float(np.mean(data.part("val").logdet))))
            if score > value:
                best, value = model, score

    def log_prob(part: Part) -> Array:
        with threadpool_limits(1):
            scores: Array = best.score_samples(part.z.astype(np.float64)) + part.logdet
        return scores

    def sample(count: int) -> object:
        with threadpool_limits(1):
            return data.preprocessing.inverse(best.sample(count)[0])

    size = best.n_components
    free = size - 1 + size * data.features * (data.features + 3) // 2
    return Fitted(log_prob, sample, free, f"components: {size}", curve)


def vine(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Fit a vine copula with searched structure on kernel margins (pyvinecopulib).

    Pair copulas are chosen among all families, the nonparametric one included, by BIC. It has as
    many trees as the time allows, told from a first tree on a few rows; where one is too many, it
    has fewer rows. Beyond the grid of its margins the density is 0.
    """
    from pyvinecopulib.core import FitControlsVinecop, Kde1d, Vinecop

    _no_context(data)
    if data.features < 2:
        raise ValueError("it needs two columns")
    train = data.train.astype(np.float64)
    train = train[np.random.default_rng(seed).permutation(len(train))]
    margins = [Kde1d() for _ in range(data.features)]
    for margin, column in zip(margins, train.T, strict=True):
        margin.fit(np.ascontiguousarray(column))

    def uniform(rows: Array) -> Array:
        u = [m.cdf(np.ascontiguousarray(c)) for m, c in zip(margins, rows.T, strict=True)]
        return np.asfortranarray(np.clip(np.stack(u, axis=1), 1e-10, 1 - 1e-10))

    def pairs(rows: Array, trees: int) -> Any:
        how = FitControlsVinecop(selection_criterion="bic", num_threads=1, trunc_lvl=trees)
        return Vinecop.from_data(rows, controls=how)

    u = uniform(train)
    began = clock.gone()
    model = pairs(np.asfortranarray(u[:PROBE]), 1)
    each = (clock.gone() - began) / ((data.features - 1) * min(PROBE, len(u)))
    trees, count = affordable(SPARE * clock.left() / max(each, 1e-9), data.features, len(u))
    if count > PROBE or trees > 1:
        model = pairs(np.asfortranarray(u[:count]), trees)

    def log_prob(part: Part) -> Array:
        z = part.z.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores: Array = np.asarray(model.logpdf(uniform(z), num_threads=1)) + part.logdet
            for margin, column in zip(margins, z.T, strict=True):
                scores = scores + np.log(margin.pdf(np.ascontiguousarray(column)))
        return scores

    def sample(count: int) -> object:
        u = model.sample(count, num_threads=1, seeds=[seed + 1])
        z = [m.icdf(np.ascontiguousarray(c)) for m, c in zip(margins, u.T, strict=True)]
        return data.preprocessing.inverse(np.stack(z, axis=1))

    what = f"trees: {trees} of {data.features - 1}"
    if count < len(u):
        what += f", on {count:,} rows"
    free = round(model.npars + sum(margin.npars for margin in margins))
    value = -float(np.mean(log_prob(data.part("val"))))
    return Fitted(log_prob, sample, free, what, [(clock.gone(), value)])


def affordable(pair_rows: float, features: int, rows: int) -> tuple[int, int]:
    """Say how many trees a vine may have, and on how many rows.

    Args:
        pair_rows: Pair copulas times rows that the time allows.
        features: D, at least 2: tree t of 1 to D - 1 has D - t pairs.
        rows: That there are.
    """
    trees, pairs = 0, 0
    while trees < features - 1 and (pairs + features - 1 - trees) * rows <= pair_rows:
        pairs += features - 1 - trees
        trees += 1
    if trees:
        return trees, rows
    return 1, int(min(rows, max(PROBE, pair_rows / (features - 1))))


def _no_context(data: Prepared) -> None:
    if data.context_features:
        raise ValueError("it has no conditional form")
