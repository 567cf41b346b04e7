"""Settings of the evolution, and its presets."""

from __future__ import annotations

from dataclasses import dataclass

SMALL, LARGE = 20, 50
"""Members of the population up to `FEW` evaluations and from `MANY` on."""

FEW, MANY = 300, 900


@dataclass(frozen=True)
class Settings:
    """How the evolution searches.

    The defaults of `children`, `rounds`, `explore` and `reevaluate` were chosen on the emulators of
    `studies/mask_table`, seeds 4000 to 4009, and checked on `studies/evolution_synthetic`, seeds
    1000 to 1003; what was tried is written there. The others were set by hand.

    Attributes:
        population: Members; None: 20 up to 300 evaluations, rising to 50 at 900.
        start: Random genomes before the first children, the initial ones included.
        children: Children per ask where the surrogate is usable.
        few: Children per ask where it is not.
        rounds: Rounds in which they are made; the most promising of a round are the parents of the
            next.
        explore: Standard deviations below the mean by which children are ranked, drawn within a
            third of it for each ask (randomised confidence bounds; Berk et al. 2020). With fewer,
            children that differ only in a variable of no effect are proposed for long.
        screening: Whether children are ranked by a surrogate.
        least_r2: The leave-one-out R2 from which on the surrogate is used.
        reevaluate: Share of the runs that goes to genomes already run, where noise and true
            spread are equal; half of it with little noise, none without.
        crossover: Greatest share of children from crossover; less with little noise.
        shrink: Whether genomes are ranked by posterior mean, not by the mean of their runs.
        adapt: Whether operators are used according to their success.
        operators: Names of the operators to use; None: all.
        generation: The population changes after as many new results; 1: steady state.
        tournament: Members drawn for a parent; None: adapts to the noise.
    """

    population: int | None = None
    start: int = 10
    children: int = 60
    rounds: int = 5
    explore: float = 3.0
    few: int = 1
    screening: bool = True
    least_r2: float = 0.1
    reevaluate: float = 0.05
    crossover: float = 0.5
    shrink: bool = True
    adapt: bool = True
    operators: tuple[str, ...] | None = None
    generation: int = 1
    tournament: int | None = None

    @staticmethod
    def classic() -> Settings:
        """A plain (mu+lambda) EA, the baseline: bit flips, uniform crossover, raw values."""
        return Settings(
            population=20,
            start=20,
            screening=False,
            reevaluate=0.0,
            shrink=False,
            adapt=False,
            generation=20,
            tournament=1,
        )

    def members(self, evaluations: int) -> int:
        """Members of the population after so many evaluations."""
        if self.population is not None:
            return self.population
        share = min(max((evaluations - FEW) / (MANY - FEW), 0.0), 1.0)
        return round(SMALL + share * (LARGE - SMALL))
