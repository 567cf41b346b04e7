"""`FlowSearch`: a flow whose structure and hyperparameters are searched for, as an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import optuna

from nfopt import api
from nfopt.data import Prepared
from nfopt.estimators.base import FlowEstimator
from nfopt.estimators.density import LogLikelihood
from nfopt.recipes import recipe
from nfopt.space import SearchSpace
from nfopt.storage.open import Storage
from nfopt.study.arguments import Space, space_of


class FlowSearch(LogLikelihood, FlowEstimator):
    """A normalizing flow that is searched for whenever `fit` is called: `nfopt.search` behind it.

    Args:
        trials: Trials of the study; with `minutes` too, what comes first. With neither, 10 minutes.
        minutes: Wall clock of `fit`.
        max_steps: Optimiser steps of a training at most; None: as many as the best known has.
        space: What is searched, as in `nfopt.search`.
        sampler: As in `nfopt.search`.
        members: Flows to keep at most; None: as in `nfopt.search`.
        storage: A URL or an open storage; None: in memory. A study in it is named after the rows.
        bounds: As in `FlowDensity`.
        log: As in `FlowDensity`.
        dequantise: As in `FlowDensity`.
        validation_fraction: Of the rows given to `fit`: on them the flow is chosen.
        device: As in `FlowDensity`.
        threads: As in `FlowDensity`.
        random_state: As in `FlowDensity`.

    Attributes:
        study_: The Optuna study. An estimator that was pickled has a copy of it in memory.
        flow_: The `nfopt.Flow`.
        n_features_in_: D.
        feature_names_in_: D names, where `X` had them.
    """

    study_: optuna.Study

    def __init__(
        self,
        *,
        trials: int | None = None,
        minutes: float | None = None,
        max_steps: int | None = None,
        space: Space | None = None,
        sampler: str | None = None,
        members: int | None = None,
        storage: Storage | None = None,
        bounds: Mapping[str | int, tuple[float | None, float | None]] | None = None,
        log: str | int | Sequence[str | int] | None = None,
        dequantise: Any = None,
        validation_fraction: float = 0.1,
        device: str | None = None,
        threads: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.trials = trials
        self.minutes = minutes
        self.max_steps = max_steps
        self.space = space
        self.sampler = sampler
        self.members = members
        self.storage = storage
        self.bounds = bounds
        self.log = log
        self.dequantise = dequantise
        self.validation_fraction = validation_fraction
        self.device = device
        self.threads = threads
        self.random_state = random_state

    def _train(self, data: Prepared, seed: int, folder: str) -> None:
        storage = self.storage
        result = api.search(
            data,
            minutes=self.minutes,
            trials=self.trials,
            storage=optuna.storages.InMemoryStorage() if storage is None else storage,
            space=self.space if self.max_steps is None else self._short_space(data),
            sampler=self.sampler,
            members=self.members,
            device=self.device,
            threads=self.threads,
            seed=seed,
            out=folder,
            report=False,
            pictures=False,
        )
        self.flow_, self.study_ = result.flow, result.study

    def _short_space(self, data: Prepared) -> SearchSpace | dict[str, Any]:
        """Give what is searched, with trainings of `max_steps` at most."""
        usual = recipe(data.features, data.sizes[0], context_features=data.context_features)
        steps = min(self.max_steps or 1, usual.train.steps)
        kind, limits, whole = space_of(self.space)
        if whole is None:
            named = {} if kind is None else {"kind": kind}
            return {**named, **(limits or {}), "steps": steps}
        return msgspec.structs.replace(
            whole,
            limits=whole.limits | {"steps": (steps,)},
            train=msgspec.structs.replace(whole.train, steps=steps),
        )
