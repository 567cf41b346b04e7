"""Inputs and outputs of the evolution as plain data: records, proposals, incumbents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from nfopt.evolution.genome.genome import Genome

State = Literal["complete", "pruned", "failed", "running"]


@dataclass(frozen=True)
class Record:
    """One run of a genome.

    Attributes:
        number: Its number; a number is told once, except that `running` may be followed by another.
        genome: What was run, repaired.
        state: `failed` if the genome is bad (its value is NaN). A run that ended without a result
            (a killed worker) is not told but forgotten: `Evolution.forget`.
        values: To be minimised, one an objective; None unless complete.
        rungs: Intermediate values by step, to be minimised; only with one objective.
        violation: Above 0 if infeasible: by how much.
        operator: What made the genome, as `Proposal.operator`.
        parents: Numbers of the records that it was made from.
    """

    number: int
    genome: Genome
    state: State
    values: tuple[float, ...] | None = None
    rungs: Mapping[int, float] = field(default_factory=dict)
    violation: float = 0.0
    operator: str = ""
    parents: tuple[int, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What to run next.

    Attributes:
        genome: Repaired.
        operator: `first`, `random`, `replicate`, or the operators' names, joined by `+`.
        parents: Numbers of the records that it was made from; of a replicate, of the first run.
        replicate: Whether the genome has been asked before, and another run of it is meant.
    """

    genome: Genome
    operator: str
    parents: tuple[int, ...] = ()
    replicate: bool = False


@dataclass(frozen=True)
class Incumbent:
    """The best genome so far, by the posterior.

    Attributes:
        genome: The genome.
        means: Posterior mean of each objective, to be minimised.
        sds: Posterior standard deviation of each; 0 without noise.
        numbers: The completed runs of it.
    """

    genome: Genome
    means: tuple[float, ...]
    sds: tuple[float, ...]
    numbers: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Posterior mean of the first objective."""
        return self.means[0]

    @property
    def sd(self) -> float:
        """Posterior standard deviation of the first objective."""
        return self.sds[0]
