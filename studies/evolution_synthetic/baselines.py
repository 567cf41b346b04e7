"""What the evolution is compared with, each in a few lines: ask and tell, and an incumbent."""

from __future__ import annotations

import numpy as np
from problems import neighbour

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import Category


class Random:
    """The best run of random genomes (balanced complement pairs, where there are masks)."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self.layout, self.rng = layout, rng
        self.best: tuple[float, Genome] | None = None

    def ask(self) -> Genome:
        return self.layout.random(self.rng)

    def tell(self, genome: Genome, value: float) -> None:
        if self.best is None or value < self.best[0]:
            self.best = (value, genome)

    def incumbent(self) -> Genome:
        assert self.best is not None
        return self.best[1]


class HillClimber(Random):
    """A neighbour of the best run replaces it if its run is better; no genome is run twice."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        super().__init__(layout, rng)
        self.seen: set[bytes] = set()

    def ask(self) -> Genome:
        for attempt in range(1000):
            genome = (
                self.layout.random(self.rng)
                if self.best is None
                else neighbour(self.layout, self.best[1], self.rng, 1 + attempt // 200)
            )
            if genome.key not in self.seen:
                break
        self.seen.add(genome.key)
        return genome


class Umda(Random):
    """Univariate marginal distribution: letter by letter from the better half of the last 40."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        super().__init__(layout, rng)
        self.told: list[tuple[float, Genome]] = []
        self.half: list[Genome] = []

    def ask(self) -> Genome:
        if not self.half:
            return super().ask()
        pick = self.half[int(self.rng.integers(len(self.half)))]
        masks = None
        if pick.masks is not None:
            share = np.mean([g.masks == "T" for g in self.half], axis=0).clip(0.02, 0.98)
            masks = np.where(self.rng.random(share.shape) < share, "T", "C")
        values = []
        for index, variable in enumerate(self.layout.variables):
            column = [g.values[index] for g in self.half]
            if isinstance(variable, Category):
                keep = self.rng.random() < 0.95
                values.append(
                    column[int(self.rng.integers(len(column)))] if keep else variable.draw(self.rng)
                )
            else:
                units = [variable.unit(x) for x in column]
                values.append(variable.at(self.rng.normal(np.mean(units), np.std(units) + 0.01)))
        return self.layout.repaired(Genome(tuple(values), masks))

    def tell(self, genome: Genome, value: float) -> None:
        super().tell(genome, value)
        self.told.append((value, genome))
        if len(self.told) % 40 == 0:
            best = sorted(self.told[-40:], key=lambda pair: pair[0])[:20]
            self.half = [genome for _, genome in best]


BASELINES = {"random": Random, "hill climber": HillClimber, "umda": Umda}
