"""The table: masks, who proposed them, and the learning curves of several trainings of each.

    table = Table.load(path)
    table.truth            # (n,): mean final validation NLL of each mask, over its seeds
    table.noise            # nats: standard deviation of one training of one mask

One compressed NPZ without pickle; `about` says in JSON what the trainings had in common.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
