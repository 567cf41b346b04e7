"""What the estimators share: fitting on all rows that are given, scores, samples, state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from nfopt import api
from nfopt.data import Prepared, Split
from nfopt.estimators.rows import Given, read, read_context, read_features
from nfopt.estimators.state import packed, unpacked
from nfopt.files import TemporaryFolder
from nfopt.model import Flow
from nfopt.recipes import recipe
from nfopt.spec import Recipe
from nfopt.study.arguments import Flows, chosen

Array = NDArray[np.float64]
SEEDS = 2**31 - 1


class FlowEstimator(BaseEstimator):  # type: ignore[misc]
    """A density that is fitted to rows; see `FlowDensity`."""

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    flow_: Flow

    def __init__(
        self,
        *,
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
        self.max_steps = max_steps
        self.minutes = minutes
        self.members = members
        self.flow = flow
        self.marginals = marginals
        self.bounds = bounds
        self.log = log
        self.dequantise = dequantise
        self.validation_fraction = validation_fraction
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, context: Any = None, sample_weight: Any = None) -> Any:
        """Fit the flow; a share of the rows validates, and none is kept for a test.

        Args:
            X: Rows, shape (n, D), finite; at least 5, better hundreds.
            y: Ignored.
            context: What the density is conditioned on, shape (n, C) or (n,).
            sample_weight: Not negative, shape (n,); a row of weight 0 is left out.

        Returns:
            The estimator.

        Raises:
            ValueError, TypeError: If an argument does not fit; one line.
        """
        self.fit_given(read(self, X, context, sample_weight))
        return self

    def score_samples(self, X: Any, context: Any = None) -> Array:
        """Log-likelihood of rows, in nats on the scale of `X`, shape (n,).

        Args:
            X: Shape (n, D), with the names and the order that it was fitted with.
            context: Shape (n, C), or (C,) for all rows; where it was fitted with context.

        Returns:
            -inf for a row outside the bounds.
        """
        check_is_fitted(self, "flow_")
        values = read_features(self, X, reset=False)
        seen = read_context(context, self.flow_.context_columns, len(values))
        # in double precision, so that a row's score does not depend on the rows beside it
        return self.flow_.log_prob(values, seen, dtype=np.float64)

    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        context: Any = None,
    ) -> Array:
        """Draw rows, shape (n_samples, D).

        Args:
            n_samples: At least 1.
            random_state: The same one gives the same rows; None: fresh ones.
            context: Shape (n_samples, C), or (C,) for all; where it was fitted with context.
        """
        check_is_fitted(self, "flow_")
        count: object = n_samples
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ValueError(f"`n_samples` must be a whole number of at least 1, got {count!r}.")
        seen = read_context(context, self.flow_.context_columns, int(n_samples))
        return self.flow_.sample(int(n_samples), seed=seed_of(random_state), context=seen)

    def __getstate__(self) -> dict[str, Any]:
        """Give the state to keep: weights as safetensors, all else that was fitted as JSON."""
        return packed(super().__getstate__())

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state that was kept."""
        super().__setstate__(unpacked(state))

    def fit_given(self, given: Given) -> Split:
        """Fit the flow, and say which rows it was trained and which it was validated on."""
        self._check()
        seed = seed_of(self.random_state)
        options = {"bounds": self.bounds, "log": self.log, "dequantise": self.dequantise}
        data, parts = given.table(self.validation_fraction, seed, options)
        with TemporaryFolder() as folder:
            self._train(data, seed, folder)
        return parts

    def _train(self, data: Prepared, seed: int, folder: str) -> None:
        members: dict[str, Any] = {} if self.members is None else {"members": self.members}
        one, marginals = self.flow, self.marginals
        if self.max_steps is not None:
            one, marginals = self._short(data), None
        result = api.fit(
            data,
            flow=one,
            marginals=marginals,
            minutes=self.minutes,
            device=self.device,
            threads=self.threads,
            seed=seed,
            out=folder,
            report=False,
            **members,
        )
        self.flow_ = result.flow

    def _short(self, data: Prepared) -> Recipe:
        """Give what is trained, for `max_steps` at most."""
        best = recipe(data.features, data.sizes[0], context_features=data.context_features)
        found = chosen(self.flow, self.marginals, best, data)
        steps = min(found.train.steps, self.max_steps or 1)
        train = msgspec.structs.replace(found.train, steps=steps)
        return msgspec.structs.replace(found, train=train)

    def _check(self) -> None:
        """Refuse parameters that can't be, before any work."""
        steps: object = self.max_steps
        whole = isinstance(steps, int | np.integer) and not isinstance(steps, bool)
        if steps is not None and not (whole and int(steps) >= 1):  # type: ignore[call-overload]
            raise ValueError(f"`max_steps` must be a whole number of at least 1, got {steps!r}.")
        share: object = self.validation_fraction
        if not (isinstance(share, int | float) and 0 < share < 1):
            raise ValueError(f"`validation_fraction` must be between 0 and 1, got {share!r}.")


def seed_of(random_state: ArrayLike | np.random.RandomState | None) -> int:
    """Draw a seed of nfopt's from what scikit-learn takes as a random state."""
    return int(check_random_state(random_state).randint(SEEDS))
