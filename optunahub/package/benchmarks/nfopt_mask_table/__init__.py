"""Masks of coupling flows, trained once and for all on real data, as an OptunaHub benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optunahub.benchmarks import BaseProblem

from nfopt import suggest_mask
from nfopt.masks import Masks, parse, repair

from .landscape import Emulator, Pool, Table

__all__ = ["TABLES", "MaskTable"]

FOLDER = Path(__file__).parent / "tables"
TABLES = tuple(sorted(path.stem for path in FOLDER.glob("*.npz")))
LANDSCAPES = {"emulator": Emulator, "pool": Pool}
WORD = 0b10000  # of the noise's seed, that no other use has


class MaskTable(BaseProblem):
    """Minimise the validation NLL, in nats a row, of a coupling flow by its masks.

        problem = MaskTable("htru2", seed=0)
        study = optuna.create_study(sampler=...)
        study.optimize(problem, n_trials=200)
        problem.regret(study.best_params)

    One parameter of 0 or 1 for each feature in each of four layers: 1 where the layer transforms
    the feature. Masks that transform nothing, or leave out a feature, are repaired, always alike.
    Called with a trial, it also tells the study that these bits are masks, which
    `nfopt.EvolutionSampler` understands and other samplers do not see.

    Args:
        table: "htru2" (8 features) or "higgs35k" (24).
        landscape: "emulator", trees on masks' letters, or "pool", the nearest mask of the table.
        noise: Whether an evaluation is one training, with its noise, or the mean over many.
        seed: Of the noise; with the trial's number, so that workers agree.
    """

    def __init__(
        self,
        table: str = "htru2",
        *,
        landscape: Literal["emulator", "pool"] = "emulator",
        noise: bool = True,
        seed: int = 0,
    ) -> None:
        if table not in TABLES:
            raise ValueError(f"`table` must be one of {', '.join(TABLES)}, got {table!r}.")
        if landscape not in LANDSCAPES:
            raise ValueError(
                f"`landscape` must be one of {', '.join(LANDSCAPES)}, got {landscape!r}."
            )
        self.table = Table.load(FOLDER / f"{table}.npz").complete
        self.landscape = LANDSCAPES[landscape](self.table)
        self.layers, self.features = self.landscape.shape
        self.noise, self.seed = noise, seed
        self._evaluations = 0

    @property
    def search_space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        return {
            f"layer_{layer}.mask.{feature}": optuna.distributions.IntDistribution(0, 1)
            for layer in range(1, self.layers + 1)
            for feature in range(1, self.features + 1)
        }

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        return [optuna.study.StudyDirection.MINIMIZE]

    def __call__(self, trial: optuna.Trial) -> float:
        """One training of the masks that a trial suggests; `truth` becomes an attribute of it."""
        names = [f"layer_{number}" for number in range(1, self.layers + 1)]
        for name in names:
            suggest_mask(trial, name, self.features, encoding="bits")
        masks = self.masks(trial.params)
        trial.set_user_attr("truth", self._true(masks))
        return self._run(masks, trial.number)

    def evaluate(self, params: Mapping[str, Any]) -> float:
        """One training of the masks of some parameters; every call has other noise."""
        self._evaluations += 1
        return self._run(self.masks(params), self._evaluations, WORD)

    def truth(self, params: Mapping[str, Any]) -> float:
        """The NLL without the noise of a training."""
        return self._true(self.masks(params))

    def regret(self, params: Mapping[str, Any]) -> float:
        """0 for the best masks that are known, 1 for random balanced complement pairs."""
        return (self.truth(params) - self.best) / (self.landscape.usual - self.best)

    @cached_property
    def best(self) -> float:
        """The lowest NLL without noise that is known."""
        return float(self.landscape.best)

    def masks(self, params: Mapping[str, Any]) -> Masks:
        """The masks of some parameters, repaired: letters, shape (4, D)."""
        rows = [
            "".join("CT"[int(params[f"layer_{layer}.mask.{feature}"])] for feature in self._places)
            for layer in range(1, self.layers + 1)
        ]
        return repair(parse(rows))

    @property
    def _places(self) -> range:
        return range(1, self.features + 1)

    def _true(self, masks: Masks) -> float:
        return float(self.landscape.curve((masks == "T")[None])[0, -1])

    def _run(self, masks: Masks, *words: int) -> float:
        if not self.noise:
            return self._true(masks)
        rng = np.random.default_rng([self.seed, *words])
        return float(self.landscape.run(masks == "T", rng)[-1])
