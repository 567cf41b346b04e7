"""`FlowOutlier`: rows that are not like those it was fitted to, by a flow's log-likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from nfopt.estimators.base import FlowEstimator
from nfopt.estimators.rows import read
from nfopt.study.arguments import Flows

Array = NDArray[np.float64]
Method = Literal["log_likelihood", "typicality"]

AUTO = 0.01  # of the rows that the flow was not trained on lie beyond the threshold "auto"
SPREAD = 0.1  # quantile of log-likelihoods whose distance from the median is 1
FEWEST = 20  # rows not trained on, from which on they alone say what is typical


class FlowOutlier(OutlierMixin, FlowEstimator):  # type: ignore[misc]
    """Outliers by the log-likelihood of a flow, or by how typical that log-likelihood is.

    A flow gives a high density to rows that are nothing like the training rows but simpler
    (Nalisnick et al. 2019, "Do deep generative models know what they don't know?"); typicality
    also suspects rows whose log-likelihood is far above that of the training rows.

    Args:
        contamination: Share of the rows given to `fit` that are outliers, above 0 and at most 0.5;
            "auto": the threshold is the 1% quantile of the rows that the flow was not trained on.
        method: What `score_samples` gives: "log_likelihood"; or "typicality", minus its distance
            from the median of the training rows' own, in units of the distance from the median to
            their 10% quantile, above the median to their 90% quantile.
        max_steps: As in `FlowDensity`, and so are all that follow.
        minutes: As there.
        members: As there.
        flow: As there.
        marginals: As there.
        bounds: As there.
        log: As there.
        dequantise: As there.
        validation_fraction: As there. These rows' log-likelihoods are what is typical: on the rows
            it was trained on, a flow's are too high. From 20 such rows on; else all rows are taken.
        device: As there.
        threads: As there.
        random_state: As there.

    Attributes:
        offset_: `decision_function` is `score_samples` less this.
        center_: Median of the typical log-likelihoods, in nats.
        scale_: Nats from it to their 10% and to their 90% quantile.
        flow_: The `nfopt.Flow`.
        n_features_in_: D.
        feature_names_in_: D names, where `X` had them.
    """

    offset_: float
    center_: float
    scale_: tuple[float, float]

    def __init__(
        self,
        *,
        contamination: float | Literal["auto"] = "auto",
        method: Method = "log_likelihood",
        max_steps: int | None = None,
        minutes: float | None = None,
        members: int | None = None,
        flow: Flows | None = None,
        marginals: str | Sequence[str] | None = None,
        bounds: Mapping[str | int, tuple[float | None, float | None]] | None = None,
        log: str | int | Sequence[str | int] | None = None,
        dequantise: Any = None,
        validation_fraction: float = 0.1,
        device: str | None = None,
        threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(
            max_steps=max_steps,
            minutes=minutes,
            members=members,
            flow=flow,
            marginals=marginals,
            bounds=bounds,
            log=log,
            dequantise=dequantise,
            validation_fraction=validation_fraction,
            device=device,
            threads=threads,
            random_state=random_state,
        )
        self.contamination = contamination
        self.method = method

    def fit(
        self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None
    ) -> FlowOutlier:
        """Fit the flow and the threshold; arguments as in `FlowDensity.fit`."""
        self._check()
        given = read(self, X, context, sample_weight)
        unseen = self.fit_given(given).val
        of_all = self.flow_.log_prob(given.values, given.context, dtype=np.float64)
        typical = of_all[unseen] if len(unseen) >= FEWEST else of_all
        low, self.center_, high = map(float, np.quantile(typical, (SPREAD, 0.5, 1 - SPREAD)))
        least = np.finfo(np.float64).tiny
        self.scale_ = (max(self.center_ - low, least), max(high - self.center_, least))
        if self.contamination == "auto":
            self.offset_ = float(np.quantile(self._scored(typical), AUTO))
        else:
            self.offset_ = float(np.quantile(self._scored(of_all), self.contamination))
        return self

    def score_samples(self, X: Any, context: Any = None) -> Array:
        """Score rows by the `method`: the lower, the less like the training rows; shape (n,)."""
        check_is_fitted(self, "flow_")
        return self._scored(super().score_samples(X, context))

    def decision_function(self, X: Any, context: Any = None) -> Array:
        """Score rows relative to the threshold: negative for outliers, shape (n,)."""
        return self.score_samples(X, context) - self.offset_

    def predict(self, X: Any, context: Any = None) -> NDArray[np.int64]:
        """Give -1 for outliers and 1 for all other rows, shape (n,)."""
        inside = self.decision_function(X, context) >= 0
        return np.where(inside, 1, -1).astype(np.int64)

    def _scored(self, log_likelihood: Array) -> Array:
        if self.method == "log_likelihood":
            return log_likelihood
        away = log_likelihood - self.center_
        scaled: Array = -np.abs(away) / np.where(away < 0, *self.scale_)
        return scaled

    def _check(self) -> None:
        super()._check()
        if self.method not in get_args(Method):
            raise ValueError(
                f"`method` must be one of {', '.join(get_args(Method))}, got {self.method!r}."
            )
        share: object = self.contamination
        if share != "auto" and not (isinstance(share, int | float) and 0 < share <= 0.5):
            raise ValueError(f"`contamination` must be 'auto' or in (0, 0.5], got {share!r}.")
