"""That the search finds more than what it should beat: means over seeds, on a 64-bit problem."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nfopt.evolution.engine import Evolution, Record, Settings
from nfopt.evolution.genome.blocks import MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout

LAYOUT = Layout((), MaskBlock(4, 16))
SEEDS = range(4)


def pairwise(seed: int) -> Callable[[Genome], float]:
    """Every pair of letters has a weight of its own; the standard deviation is about 5.6."""
    weights = np.triu(np.random.default_rng([1, seed]).normal(size=(64, 64)), 1)

    def value(genome: Genome) -> float:
        assert genome.masks is not None
        spins = np.where(genome.masks == "T", 1.0, -1.0).ravel()
        return float(spins @ weights @ spins) / 8

    return value


def evolved(settings: Settings, seed: int, noise: float, runs: int) -> float:
    true, rng, errors = pairwise(seed), np.random.default_rng(seed), np.random.default_rng(99)
    evolution = Evolution(LAYOUT, settings=settings)
    for number in range(runs):
        proposal = evolution.ask(rng)
        value = true(proposal.genome) + noise * errors.normal()
        record = Record(
            number, proposal.genome, "complete", (value,),
            operator=proposal.operator, parents=proposal.parents,
        )  # fmt: skip
        evolution.tell(record)
    incumbent = evolution.incumbent()
    assert incumbent is not None
    return true(incumbent.genome)


def drawn(seed: int, noise: float, runs: int) -> float:
    """The true value of the best of so many random runs."""
    true, rng = pairwise(seed), np.random.default_rng(seed)
    genomes = [LAYOUT.random(rng) for _ in range(runs)]
    return true(min(genomes, key=lambda genome: true(genome) + noise * rng.normal()))


def climbed(seed: int, runs: int) -> float:
    """Flip one letter of the best; keep what is better; try no genome twice."""
    true, rng = pairwise(seed), np.random.default_rng(seed)
    best = LAYOUT.random(rng)
    value, seen = true(best), {best.key}
    while len(seen) < runs:
        assert best.masks is not None
        masks = best.masks.copy()
        row, column = rng.integers(4), rng.integers(16)
        masks[row, column] = "C" if masks[row, column] == "T" else "T"
        other = LAYOUT.repaired(Genome((), masks))
        if other.key in seen:
            masks = masks.copy()
            row, column = rng.integers(4), rng.integers(16)
            masks[row, column] = "C" if masks[row, column] == "T" else "T"
            other = LAYOUT.repaired(Genome((), masks))
        seen.add(other.key)
        if (changed := true(other)) < value:
            best, value = other, changed
    return value


@pytest.mark.slow
def test_under_noise_it_beats_random_draws_and_the_plain_ea() -> None:
    noise, runs = 5.6 / 3, 200
    default = np.mean([evolved(Settings(), seed, noise, runs) for seed in SEEDS])
    classic = np.mean([evolved(Settings.classic(), seed, noise, runs) for seed in SEEDS])
    random = np.mean([drawn(seed, noise, runs) for seed in SEEDS])
    assert default < classic - 3
    assert default < random - 6


@pytest.mark.slow
def test_without_noise_a_hill_climber_is_not_ahead_by_a_tenth_of_the_range() -> None:
    default = np.mean([evolved(Settings(), seed, 0.0, 200) for seed in SEEDS])
    climber = np.mean([climbed(seed, 200) for seed in SEEDS])
    assert climber < -20
    assert default < climber + 0.1 * abs(climber)
