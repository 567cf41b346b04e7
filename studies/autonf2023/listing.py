"""What is run: every job is a few plain arguments, and gives one row of results.

one             planar against radial, 4 layers, under L_O and under L_U; the binarised flow, alone
two             8 layers of four types, cost on training or on the inverse, in equal processor
                seconds: Grow at a price or to a target, Block, DARTS-style argmax, halving, random
                flows, 8 x one type
oracle          all flows of 3 layers and 4 types, trained alone
oracle-search   where the search and halving land among them
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from nfopt.autonf import options_of

PRICE = 0.02  # nats a row and unit of cost, of experiment two's table
PRICES = (0.0, 0.005, 0.08)  # of its fronts, beside that one
SHARE = 0.95  # of the cost of 8 spline autoregressive layers: the target of the method "target"
SEARCHED = ("grow", "block", "darts", "halving", "random")
# flows of one type by its number, spline and affine; the same whatever the cost is
MANUAL = {"autoregressive": 1, "coupling": 3, "affine autoregressive": 0, "affine coupling": 2}
EMPHASES: tuple[Literal["train", "inverse"], ...] = ("train", "inverse")


@dataclass(frozen=True)
class Length:
    """How long everything is: as published, or to see that it works.

    Attributes:
        one: Iterations of experiment one.
        one_seeds: Its seeds.
        places: Layers of experiment two.
        two: Steps of a full training in it.
        two_seconds: Of the processor, of one method on one table; the last training not counted.
        two_seeds: Its seeds.
        types: Options of the oracle.
        oracle: Steps of its trainings.
        oracle_places: Its layers.
        oracle_seeds: Of each flow, and more of the best 16.
        searches: Seeds of the searches that are compared with it.
    """

    one: int = 10_000
    one_seeds: int = 5
    places: int = 8
    two: int = 600
    two_seconds: float = 60.0
    two_seeds: int = 3
    types: str = "types"
    oracle: int = 500
    oracle_places: int = 3
    oracle_seeds: tuple[int, int] = (3, 6)
    searches: int = 5


FULL = Length()
QUICK = Length(
    one=60,
    one_seeds=1,
    places=2,
    two=30,
    two_seconds=2.0,
    two_seeds=1,
    types="affine-coupling,spline-coupling",
    oracle=20,
    oracle_places=2,
    oracle_seeds=(1, 2),
    searches=1,
)


@dataclass(frozen=True)
class Job:
    """One row to be: what makes it different from the others.

    Attributes:
        experiment: "one", "two", "oracle" or "oracle-search".
        data: Name of the table.
        what: Objective, method, or path.
        emphasis: Which cost counts, or "".
        price: Nats a row and unit of cost; of the method "target" a share of a cost.
        seed: Of everything random.
    """

    experiment: str
    data: str
    what: str
    seed: int
    emphasis: str = ""
    price: float = 0.0

    @property
    def key(self) -> str:
        """Name it."""
        parts = (self.experiment, self.data, self.what, self.emphasis, self.price, self.seed)
        return "/".join(str(part) for part in parts)


def jobs(
    length: Length,
    experiments: Sequence[str],
    sets: dict[str, Sequence[str]],
    best: Callable[[str, int, int], list[str]],
) -> Iterator[Job]:
    """List all jobs.

    Args:
        length: How long.
        experiments: Which.
        sets: Names of the tables of each.
        best: Of a table, the number of its flows and their first seeds: those that get more seeds.
    """
    if "one" in experiments:
        for name, seed, what in itertools.product(
            sets["one"], range(length.one_seeds), ("mixture", "upper")
        ):
            yield Job("one", name, what, seed)
    if "oracle" in experiments:
        first, more = length.oracle_seeds
        for name in sets["oracle"]:
            for path, seed in itertools.product(_paths(length), range(first)):
                yield Job("oracle", name, path, seed)
            for what, seed in itertools.product(("gradient", "halving"), range(length.searches)):
                yield Job("oracle-search", name, what, seed)
        for name in sets["oracle"]:
            for path, seed in itertools.product(
                best(name, len(_paths(length)), first), range(first, more)
            ):
                yield Job("oracle", name, path, seed)
    if "two" in experiments:
        for seed in range(length.two_seeds):  # what is there early is a whole comparison
            for name in sets["two"]:
                for what in MANUAL:
                    yield Job("two", name, what, seed)
                for emphasis, what in itertools.product(EMPHASES, SEARCHED):
                    yield Job("two", name, what, seed, emphasis, PRICE)
                for emphasis in EMPHASES:
                    yield Job("two", name, "target", seed, emphasis, SHARE)
            if seed == 0:
                for name, emphasis, price in itertools.product(sets["two"], EMPHASES, PRICES):
                    yield Job("two", name, "grow", 0, emphasis, price)


def _paths(length: Length) -> list[str]:
    choices = range(len(options_of(length.types, 4)))
    return ["".join(map(str, p)) for p in itertools.product(choices, repeat=length.oracle_places)]
