"""Tables of trained masks, and what they say of any mask: the exact finite pool, or an emulator.

    table = Table.load(path)
    table.truth            # (n,): mean final validation NLL of each mask, over its seeds
    table.noise            # nats: standard deviation of one training of one mask
    Emulator(table).run(mask, rng)

A table is one compressed NPZ without pickle; `about` says in JSON what the trainings had in common.
Pool and emulator give for a mask (bits, true where a feature is transformed) the true curve, and a
run of it with noise as measured. The truth of a mask in the table is the mean over its trainings.

- `Pool`: only the masks of the table exist. A mask outside stands for the nearest one inside, by
  the number of letters that differ, so that nothing is made up; but between the table's masks the
  landscape is flat, and small steps tell nothing. Fair to all, realistic to none.
- `Emulator`: gradient-boosted trees on the raw letters (another class of model than any sampler's
  own, which see pairs, counts of letters, or marginals). Every letter may count, with the others.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from nfopt import designs

FIDELITIES = (0.25, 0.5, 1.0)
"""Shares of the steps at which a curve has a point."""


@dataclass
class Table:
    """What is known of n masks.

    Attributes:
        transformed: Where a feature is transformed, shape (n, L, D).
        sampler: Who proposed each mask, shape (n,).
        curves: Validation NLL in nats a row at each of `FIDELITIES`, shape (n, S, 3): S trainings
            from seeds of their own. Infinite where a training diverged, NaN where it is to do.
        about: The data and the training.
    """

    transformed: np.ndarray
    sampler: np.ndarray
    curves: np.ndarray
    about: dict[str, Any]

    @classmethod
    def empty(cls, layers: int, features: int, seeds: int, about: dict[str, Any]) -> Table:
        return cls(
            np.zeros((0, layers, features), dtype=np.bool_),
            np.zeros(0, dtype="<U16"),
            np.zeros((0, seeds, len(FIDELITIES)), dtype=np.float32),
            about,
        )

    @classmethod
    def load(cls, path: Path) -> Table:
        with np.load(path, allow_pickle=False) as file:
            shape = tuple(file["shape"])
            bits = np.unpackbits(file["transformed"], axis=None, count=int(np.prod(shape)))
            return cls(
                bits.reshape(shape).astype(np.bool_),
                file["sampler"],
                file["curves"],
                json.loads(str(file["about"])),
            )

    def save(self, path: Path) -> None:
        """Write all or nothing: a call that is interrupted leaves the file as it was."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                shape=np.array(self.transformed.shape),
                transformed=np.packbits(self.transformed),
                sampler=self.sampler,
                curves=self.curves,
                about=np.array(json.dumps(self.about, sort_keys=True)),
            )
        os.replace(part, path)

    def propose(self, transformed: np.ndarray, sampler: str) -> None:
        """Add masks that are to be trained."""
        count, (_, seeds, points) = len(transformed), self.curves.shape
        waiting = np.full((count, seeds, points), np.nan, dtype=np.float32)
        self.transformed = np.concatenate([self.transformed, transformed])
        self.sampler = np.concatenate([self.sampler, np.full(count, sampler, dtype="<U16")])
        self.curves = np.concatenate([self.curves, waiting])

    @property
    def complete(self) -> Table:
        """Only the masks with all their trainings."""
        keep = ~np.isnan(self.curves).any(axis=(1, 2))
        return Table(self.transformed[keep], self.sampler[keep], self.curves[keep], self.about)

    @property
    def truth(self) -> np.ndarray:
        """Mean final NLL of each mask, shape (n,)."""
        return np.asarray(self.curves[:, :, -1].astype(float).mean(axis=1))

    @property
    def noise(self) -> float:
        """Standard deviation of a single training, pooled over the masks without divergence."""
        final = self.curves[:, :, -1].astype(float)
        final = final[np.isfinite(final).all(axis=1)]
        return float(np.sqrt(final.var(axis=1, ddof=1).mean()))

    def __len__(self) -> int:
        return len(self.transformed)


NEAR = 40
"""Masks of about the same NLL whose trainings say what the noise is."""

WORST = 5.0
"""Times the distance from the best to the median, above the median, at which an NLL is cut."""


class Landscape(Protocol):
    """What the simulator needs.

    Attributes:
        shape: L and D.
        best: The lowest true final NLL that is known.
        usual: The mean true final NLL of random balanced complement pairs.
    """

    shape: tuple[int, int]
    best: float
    usual: float

    def curve(self, masks: np.ndarray) -> np.ndarray:
        """The true NLL at each fidelity, shape (n, 3), of masks of shape (n, L, D)."""
        ...

    def run(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One training of a mask of shape (L, D): the NLL at each fidelity, shape (3,)."""
        ...


def cut(curves: np.ndarray) -> np.ndarray:
    """Cut diverged trainings, of which only counts that they are far worse than the rest."""
    middle = np.median(curves, axis=tuple(range(curves.ndim - 1)))
    best = np.min(curves, axis=tuple(range(curves.ndim - 1)))
    return np.minimum(curves, middle + WORST * (middle - best))


def random_pairs(shape: tuple[int, int], count: int, rng: np.random.Generator) -> np.ndarray:
    """Random balanced complement pairs, shape (count, L, D)."""
    return np.array([designs.complement_pairs(*shape, rng) == "T" for _ in range(count)])


class Pool:
    """The masks of the table, and no others."""

    def __init__(self, table: Table) -> None:
        self.shape = (table.transformed.shape[1], table.transformed.shape[2])
        self.curves = cut(table.curves.astype(float))
        self.truths = self.curves.mean(axis=1)
        self._flat = table.transformed.reshape(len(table), -1).astype(np.float32)
        self.best = float(self.truths[:, -1].min())
        pairs = random_pairs(self.shape, 500, np.random.default_rng(0))
        self.usual = float(self.curve(pairs)[:, -1].mean())

    def nearest(self, masks: np.ndarray) -> np.ndarray:
        """Which mask of the table each stands for; the first among equals."""
        flat = masks.reshape(len(masks), -1).astype(np.float32)
        same = flat @ self._flat.T + (1 - flat) @ (1 - self._flat).T
        return np.asarray(same.argmax(axis=1))

    def curve(self, masks: np.ndarray) -> np.ndarray:
        return np.asarray(self.truths[self.nearest(masks)])

    def run(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        curves = self.curves[int(self.nearest(mask[None])[0])]
        return np.asarray(curves[rng.integers(len(curves))])


class Emulator:
    """Gradient-boosted trees on raw letters, and residuals of the trainings as noise."""

    def __init__(self, table: Table, seed: int = 0) -> None:
        self.shape = (table.transformed.shape[1], table.transformed.shape[2])
        curves = cut(table.curves.astype(float))
        truths = curves.mean(axis=1)
        letters = table.transformed.reshape(len(table), -1)
        # the final NLL, and what is still to be gained from each earlier point of the curve
        targets = [
            truths[:, -1],
            *(truths[:, k] - truths[:, -1] for k in range(len(FIDELITIES) - 1)),
        ]
        self._models = [trees(seed).fit(letters, target) for target in targets]
        self._order = np.argsort(truths[:, -1])
        self._sorted = truths[self._order, -1]
        seeds = curves.shape[1]
        self._residuals = (curves - truths[:, None]) * np.sqrt(seeds / (seeds - 1))
        self._known = table.transformed
        self._known_curves: dict[bytes, np.ndarray] = {}  # a simulation asks several times
        pairs = random_pairs(self.shape, 500, np.random.default_rng(0))
        self.usual = float(self.final(pairs).mean())

    def final(self, masks: np.ndarray) -> np.ndarray:
        """The true final NLL, shape (n,)."""
        return np.asarray(self._models[0].predict(masks.reshape(len(masks), -1)))

    def curve(self, masks: np.ndarray) -> np.ndarray:
        key = masks.tobytes() if len(masks) == 1 else b""
        if key in self._known_curves:
            return self._known_curves[key]
        flat = masks.reshape(len(masks), -1)
        final, *gains = (model.predict(flat) for model in self._models)
        curves = np.stack([*(final + gain for gain in gains), final], axis=1)
        if key:
            self._known_curves[key] = curves
        return curves

    def run(self, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add the residual of some training of a mask of about the same NLL."""
        curve = self.curve(mask[None])[0]
        place = int(np.searchsorted(self._sorted, curve[-1])) - NEAR // 2
        place = int(np.clip(place, 0, max(len(self._order) - NEAR, 0)))
        near = self._residuals[self._order[place : place + NEAR]]
        return np.asarray(curve + near[rng.integers(len(near)), rng.integers(near.shape[1])])

    @cached_property
    def best(self) -> float:  # type: ignore[override]
        """The lowest of many steepest descents: by one letter, then by two at random."""
        rng = np.random.default_rng(1)
        order = self._order
        starts = [*self._known[order[:20]], *random_pairs(self.shape, 20, rng)]
        return min(self._descend(start, rng) for start in starts)

    def _descend(self, mask: np.ndarray, rng: np.random.Generator) -> float:
        value = float(self.final(mask[None])[0])
        single = np.eye(mask.size, dtype=np.bool_)
        failures = 0
        while failures < 4:
            flips = single
            if failures:  # no single letter helps
                flips = rng.random((400, mask.size)).argsort(axis=1) < 2 + failures % 2
            around = mask ^ flips.reshape(-1, *mask.shape)
            valid = around.any(axis=2).all(axis=1) & (~around).any(axis=2).all(axis=1)
            valid &= around.any(axis=1).all(axis=1) & (~around).any(axis=1).all(axis=1)
            around = around[valid]
            values = self.final(around)
            if values.min() < value - 1e-12:
                mask, value, failures = around[values.argmin()], float(values.min()), 0
            else:
                failures += 1
        return value


def trees(seed: int) -> GradientBoostingRegressor:
    """The emulator's model; its size was chosen by leaving out one sampler at a time."""
    return GradientBoostingRegressor(
        n_estimators=300,
        learning_rate=0.05,
        max_depth=4,
        subsample=0.7,
        max_features=0.3,
        min_samples_leaf=3,
        random_state=seed,
    )


def left_out(table: Table, seed: int = 0) -> dict[str, tuple[int, float, float]]:
    """How well the emulator predicts the masks of a sampler that it has not seen.

    Returns:
        By sampler, and for all predictions together as `all`: masks, R2 (against the mean of the
        masks that were seen), rank correlation.
    """
    letters = table.transformed.reshape(len(table), -1)
    final = cut(table.curves.astype(float)).mean(axis=1)[:, -1]
    predicted, naive = np.zeros(len(table)), np.zeros(len(table))
    found: dict[str, tuple[int, float, float]] = {}
    for name in [*dict.fromkeys(table.sampler.tolist()), "all"]:
        out = table.sampler == name
        if name == "all":
            out[:] = True
        else:
            model = trees(seed).fit(letters[~out], final[~out])
            predicted[out], naive[out] = model.predict(letters[out]), final[~out].mean()
        errors = ((final - predicted)[out] ** 2).sum(), ((final - naive)[out] ** 2).sum()
        found[name] = (
            int(out.sum()),
            1 - errors[0] / errors[1],
            ranked(final[out], predicted[out]),
        )
    return found


def ranked(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; ties are broken by place."""
    ranks = [x.argsort(kind="stable").argsort(kind="stable") for x in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
