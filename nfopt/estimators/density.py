"""`FlowDensity`: the best known flow for a table of this size, as a density estimator."""

from __future__ import annotations

from typing import Any

from sklearn.base import DensityMixin

from nfopt.estimators.base import FlowEstimator


class LogLikelihood(DensityMixin):  # type: ignore[misc]
    """Scores rows by their mean log-likelihood, as `GridSearchCV` and `cross_val_score` ask."""

    def score(self, X: Any, y: Any = None, *, context: Any = None) -> float:
        """Mean log-likelihood of rows, in nats a row.

        Args:
            X: As in `score_samples`.
            y: Ignored.
            context: As in `score_samples`.
        """
        return float(self.score_samples(X, context).mean())


class FlowDensity(LogLikelihood, FlowEstimator):
    """A normalizing flow as scikit-learn's density estimators are: `nfopt.fit` behind it.

    Args:
        max_steps: Optimiser steps at most; None: as many as the flow's training says.
        minutes: Wall clock of `fit`; None: until the steps are done.
        members: Seeds that are trained, whose mixture is the flow; None: as `nfopt.fit` has it.
        flow: Another flow than the best known, as in `nfopt.fit`.
        marginals: Other marginal maps, as in `nfopt.fit`.
        bounds: By column (low, high), as in `nfopt.fit`; columns by name or position.
        log: Columns of positive values to take by their logarithm.
        dequantise: Tied values, as in `nfopt.data.load`: None spreads columns of which most values
            are tied on a grid, False none.
        validation_fraction: Of the rows given to `fit`: on them the best step is chosen.
        device: "cpu", "cuda", ...; None: CUDA where there is one.
        threads: CPU threads; None: as torch has it.
        random_state: Of everything random in `fit`.

    Attributes:
        flow_: The `nfopt.Flow`.
        n_features_in_: D.
        feature_names_in_: D names, where `X` had them.

    Examples:
        >>> import numpy as np
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = FlowDensity(max_steps=5, random_state=0).fit(X)
        >>> density.score_samples(X[:3]).shape, density.sample(4).shape
        ((3,), (4, 2))
    """
