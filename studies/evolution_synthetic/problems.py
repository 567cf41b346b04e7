"""Problems whose true values are known: noisy functions of masks and of mixed variables.

Each is made from a seed, so that a study can average over landscapes too. `spread` is the standard
deviation of the true value over random genomes; `best` a value found without noise by long search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nfopt.evolution.genome.blocks import MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category, Integer, Real
from nfopt.masks import pair_coverage


@dataclass(frozen=True)
class Problem:
    """Minimise `true` over the genomes of `layout`."""

    name: str
    layout: Layout
    true: Callable[[Genome], float]

    @cached_property
    def sample(self) -> np.ndarray:
        rng = np.random.default_rng(99)
        return np.array([self.true(self.layout.random(rng)) for _ in range(400)])

    @property
    def spread(self) -> float:
        return float(self.sample.std())

    @cached_property
    def best(self) -> float:
        """The best of some long local searches: not proven, but far below what a run finds."""
        rng = np.random.default_rng(7)
        found = []
        for _ in range(4):
            genome = self.layout.random(rng)
            value, failures = self.true(genome), 0
            while failures < 250:
                other = neighbour(self.layout, genome, rng, 1 + int(rng.random() < 0.3))
                changed = self.true(other)
                failures += 1
                if changed < value:
                    genome, value, failures = other, changed, 0
            found.append(value)
        return min(found)

    def regret(self, genome: Genome) -> float:
        """0 for the best known, 1 for the mean of random genomes."""
        mean = float(self.sample.mean())
        return (self.true(genome) - self.best) / (mean - self.best)


def neighbour(layout: Layout, genome: Genome, rng: np.random.Generator, steps: int) -> Genome:
    """Flip so many letters, or move so many variables."""
    values, masks = list(genome.values), genome.masks
    masks = None if masks is None else masks.copy()
    for _ in range(steps):
        cells = 0 if masks is None else masks.size
        place = int(rng.integers(cells + len(values)))
        if masks is not None and place < cells:
            row, column = divmod(place, masks.shape[1])
            masks[row, column] = "C" if masks[row, column] == "T" else "T"
        else:
            variable = layout.variables[place - cells]
            if isinstance(variable, Category):
                values[place - cells] = variable.draw(rng)
            else:
                unit = variable.unit(values[place - cells]) + 0.15 * rng.normal()
                values[place - cells] = variable.at(unit)
    return layout.repaired(Genome(tuple(values), masks))


def spins(genome: Genome) -> np.ndarray:
    """Letters as -1 and 1."""
    assert genome.masks is not None
    return np.where(genome.masks == "T", 1.0, -1.0).ravel()


def pairwise(seed: int, layers: int = 4, features: int = 16) -> Problem:
    """64 letters, every pair of them with a weight of its own: no structure to learn from."""
    rng = np.random.default_rng([1, seed])
    size = layers * features
    weights = np.triu(rng.normal(size=(size, size)), 1)

    def true(genome: Genome) -> float:
        s = spins(genome)
        return float(s @ weights @ s) / np.sqrt(size)

    return Problem("pairwise", Layout((), MaskBlock(layers, features)), true)


def coverage(seed: int, layers: int = 6, features: int = 12) -> Problem:
    """Each dependence is worth its weight, less the more layers cover it; and the layers' sizes."""
    rng = np.random.default_rng([2, seed])
    weights = rng.gamma(0.3, size=(features, features))
    bonus = rng.normal(size=(layers, features))

    def true(genome: Genome) -> float:
        assert genome.masks is not None
        covered = pair_coverage(genome.masks)
        gained = float((weights * (1 - 0.5**covered)).sum())
        return -gained + 0.25 * float(bonus.ravel() @ spins(genome))

    return Problem("coverage", Layout((), MaskBlock(layers, features)), true)


def nk(seed: int, layers: int = 4, features: int = 16, k: int = 3) -> Problem:
    """NK landscape: each letter's worth depends at random on itself and on k others."""
    rng = np.random.default_rng([3, seed])
    size = layers * features
    others = np.array([rng.permutation(np.delete(np.arange(size), i))[:k] for i in range(size)])
    cells = np.concatenate([np.arange(size)[:, None], others], axis=1)
    table = rng.normal(size=(size, 2 ** (k + 1)))
    powers = 2 ** np.arange(k + 1)

    def true(genome: Genome) -> float:
        bits = spins(genome) > 0
        return float(table[np.arange(size), bits[cells] @ powers].sum()) / np.sqrt(size)

    return Problem("nk", Layout((), MaskBlock(layers, features)), true)


def mixed(seed: int) -> Problem:
    """Twelve ordinary variables: a tilted bowl, categories that shift it."""
    rng = np.random.default_rng([4, seed])
    variables = (
        *(Real(1e-4, 1e-1, log=True) for _ in range(3)),
        *(Real(0.0, 1.0) for _ in range(3)),
        *(Integer(1, 12) for _ in range(3)),
        *(Category(4) for _ in range(3)),
    )
    centre, turn = rng.uniform(0.1, 0.9, size=9), rng.normal(size=(9, 9)) / 3 + np.eye(9)
    worth = rng.normal(size=(3, 4)) / 3
    shift = rng.normal(size=(4, 9)) / 10

    def true(genome: Genome) -> float:
        unit = np.array([v.unit(x) for v, x in zip(variables[:9], genome.values, strict=False)])
        chosen = [int(x) for x in genome.values[9:]]
        away = turn @ (unit - centre - shift[chosen[0]])
        return float(away @ away) + sum(float(worth[i, c]) for i, c in enumerate(chosen))

    return Problem("mixed", Layout(variables), true)


PROBLEMS = {"pairwise": pairwise, "coverage": coverage, "nk": nk, "mixed": mixed}
