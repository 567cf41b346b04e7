"""The features of a genome, by which the surrogate predicts: blocks of numbers.

`plain`: ordinary variables in the unit interval, categories one-hot, scaled so that two random
values of any variable are about as far apart as two random letters; `letters`: the letters
themselves; `coverage`: how many layers transform i while j conditions, for every ordered pair
(i, j), on which a flow's NLL depends, whatever the letters; `edges`: the adjacency. Further parts
have blocks of their own, with a number behind the name; where a part is inactive they are 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution.genome.genome import BLANK, Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category

Floats32 = NDArray[np.float32]
Blocks = dict[str, Floats32]

HUGE = 1e300
"""Values beyond are halved before they are subtracted."""

NUMBER, HOT = 3**0.5, 0.5**0.5
"""Factors that make the squared distance of random numbers 1/2 on average, of categories 1."""


class Encoder:
    """Turns genomes of a layout into blocks of features, many at once."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parts = [Encoder(part) for part in layout.parts]
        self._blanks = [part.repaired(BLANK) for part in layout.parts]
        sizes = {i: v.size for i in layout.free if isinstance(v := layout.variables[i], Category)}
        # For each one-hot column its variable, and the choice that it stands for.
        columns = [(i, choice) for i, size in sizes.items() for choice in range(size)]
        self._owners, self._choices = np.array(columns, dtype=np.intp).reshape(-1, 2).T
        self._numbers = np.array(layout.numbers, dtype=np.intp)
        numbers = [layout.variables[i] for i in self._numbers]
        self._log = np.array([getattr(v, "log", False) for v in numbers], dtype=bool)
        ends = [[getattr(v, "low", 0.0), getattr(v, "high", 1.0)] for v in numbers]
        bounds = np.array(ends, dtype=float).reshape(-1, 2).T
        # a range may be longer than the greatest double, or shorter than two doubles are apart
        self._factor = np.where(np.abs(bounds).max(axis=0, initial=0.0) > HUGE, 0.5, 1.0)
        self._low, high = self._scaled(bounds)
        self._length = np.where(high > self._low, high - self._low, 1.0)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logarithms where a variable has them, shape (n, V)."""
        scaled = values * self._factor
        scaled[:, self._log] = np.log(values[:, self._log])
        return scaled

    def encode(self, genomes: Sequence[Genome]) -> Blocks:
        """Encode n genomes.

        Returns:
            Blocks of shape (n, features of the block), by name, without empty ones.
        """
        blocks: Blocks = {}
        if self._layout.free:
            values = np.array([genome.values for genome in genomes], dtype=float)
            blocks["plain"] = self._plain(values)
        if self._layout.masks is not None:
            stacked = np.stack([g.masks for g in genomes if g.masks is not None])
            transformed = (stacked == "T").astype(np.float32)
            if self._layout.masks.idle:
                conditions = (stacked == "C").astype(np.float32)
                letters = np.concatenate([transformed, conditions], axis=1)
            else:
                conditions = 1 - transformed
                letters = transformed
            coverage = transformed.transpose(0, 2, 1) @ conditions
            blocks["coverage"] = coverage.reshape(len(genomes), -1)
            blocks["letters"] = letters.reshape(len(genomes), -1)
        if self._layout.edges is not None:
            parents = [g.parents for g in genomes if g.parents is not None]
            blocks["edges"] = np.stack(parents).reshape(len(genomes), -1).astype(np.float32)
        for index, (encoder, blank) in enumerate(zip(self._parts, self._blanks, strict=True)):
            own = [genome.parts[index] for genome in genomes]
            active = np.array([part != BLANK for part in own], dtype=np.float32)[:, None]
            rows = encoder.encode([blank if part == BLANK else part for part in own])
            blocks |= {f"{name} {index}": active * block for name, block in rows.items()}
        return blocks

    def _plain(self, values: NDArray[np.float64]) -> Floats32:
        unit = (self._scaled(values[:, self._numbers]) - self._low) / self._length
        rows = np.empty((len(values), len(self._numbers) + len(self._owners)), dtype=np.float32)
        rows[:, : len(self._numbers)] = NUMBER * unit
        rows[:, len(self._numbers) :] = HOT * (values[:, self._owners] == self._choices)
        return rows
