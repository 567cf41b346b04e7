"""Claims 1 to 3: affine couplings by named design, by the best random masks, and evolved.

With linear mixing, a permutation and an LU layer stand between the couplings. The letters of a
mask follow their features through the permutations, so that a design stays what it says.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rows import Rows
from searches import drawn, evolve, raced, ranked
from trainings import RACE, SHORT, Make, Schedule, finished, trained

from nfopt import designs
from nfopt.evolution import Genome, Integer, Layout, MaskBlock
from nfopt.masks import Masks, letters, repair
from nfopt.seeds import derive
from nfopt.spec import LU, Conditioner, Coupling, FlowSpec, Layer, Permutation

DESIGNS = ("parity", "halves", "binary_code", "dependence", "permuted_halves")
PAIRS_FROM = 20
"""Features from which on the evolution keeps complementary pairs, which halves its genes."""

MORE = 1.02
"""Parameters that an evolved flow may have, as a multiple of parity's."""


@dataclass(frozen=True)
class Plan:
    """Sizes and budgets.

    Attributes:
        schedule: How all are trained.
        layers: Couplings.
        width: Hidden units of a conditioner with two hidden layers.
        evaluations: Short trainings of a search.
        batch: Trainings at a time in a search.
        race: Candidates that are trained at full length at its end, and how often at first.
        widths: Claim 2: the sizes tried are all of these with all `depths`.
        depths: Couplings of smaller flows.
        small_evaluations: Short trainings of the search for small flows.
        small_seeds: Full trainings of each small flow.
    """

    schedule: Schedule
    layers: int = 4
    width: int = 32
    evaluations: int = 80
    batch: int = 12
    race: tuple[int, int] = (8, 2)
    widths: tuple[int, ...] = (8, 16, 32)
    depths: tuple[int, ...] = (2, 4)
    small_evaluations: int = 144
    small_seeds: int = 3


# --------------------------------------------------------------------------------------- the flows


def permuted_halves(layers: int, features: int, rng: np.random.Generator) -> Masks:
    """In each layer the halves of a fresh random permutation, as in random-permutation flows."""
    rows = [designs.complement_pairs(1, features, rng)[0] for _ in range(layers)]
    return repair(np.array(rows), rng)


def designed(name: str, layers: int, rows: Rows, seed: int) -> Masks:
    """The masks of a design, by its name."""
    rng = np.random.default_rng([3, seed])
    if name == "permuted_halves":
        return permuted_halves(layers, rows.features, rng)
    return designs.DESIGNS[name](layers, rows.features, rng, rows.mutual)


def flow(masks: Masks, width: int, mixing: bool) -> FlowSpec:
    """Affine couplings with these masks.

    Args:
        masks: Letters, shape (L, D).
        width: Of the conditioners.
        mixing: Whether a permutation and an LU layer stand between the couplings.
    """
    features = masks.shape[1]
    rng = np.random.default_rng([17, features])
    stands = np.arange(features)  # the feature at each place
    layers: list[Layer] = []
    for number, row in enumerate(masks):
        if mixing and number:
            order = rng.permutation(features)
            stands = stands[order]
            layers += [Permutation(order=tuple(order)), LU()]
        mask = letters(row[stands][None])[0]
        layers.append(Coupling(mask=mask, conditioner=Conditioner(width=width)))
    return FlowSpec(features=features, layers=tuple(layers))


def text(masks: Masks) -> list[str]:
    return [str(row) for row in letters(masks)]


def masks_of(lines: Sequence[str]) -> Masks:
    return np.array([list(line) for line in lines])


# ------------------------------------------------------------------------------------ claims 1, 3


def run_designs(rows: Rows, mixing: bool, plan: Plan) -> dict[str, Any]:
    """All named designs, tuned and trained from fresh seeds."""

    def make(name: str) -> Make:
        return lambda seed: flow(designed(name, plan.layers, rows, seed), plan.width, mixing)

    makes = {name: make(name) for name in DESIGNS}
    return {"entries": finished(makes, rows, plan.schedule, derive(5))}


def run_search(rows: Rows, mixing: bool, method: str, seed: int, plan: Plan) -> dict[str, Any]:
    """A search for masks, `evolved` or `random`, and its winner tuned and trained."""
    began, schedule = time.process_time(), plan.schedule
    rng = np.random.default_rng([4, seed])
    shape = (plan.layers, rows.features)
    lines = _Lines(rows, mixing, plan, seed)
    if method == "random":
        told = drawn(
            lambda: tuple(text(designs.complement_pairs(*shape, rng))),
            lines.short,
            evaluations=plan.evaluations,
            batch=schedule.stack,
        )
        best = ranked(told)[: plan.race[0]]
    else:
        first = [designed(name, plan.layers, rows, seed) for name in DESIGNS[:4]]
        first.append(designs.dependence(*shape, rows.partial))
        while len(first) < plan.batch:
            first.append(designs.complement_pairs(*shape, rng))
        pairs = rows.features >= PAIRS_FROM
        layout = Layout((), MaskBlock(*shape, pairs=pairs, commute=not mixing))
        most = MORE * flow(first[0], plan.width, mixing).parameter_count()
        found = evolve(
            layout,
            [Genome((), masks) for masks in first],
            lambda genomes, numbers: lines.short(
                [tuple(text(genome.masks)) for genome in genomes], numbers
            ),
            evaluations=plan.evaluations,
            batch=plan.batch,
            rng=rng,
            allowed=lambda g: flow(g.masks, plan.width, mixing).parameter_count() <= most,
        )
        told = [(tuple(text(genome.masks)), value) for genome, value in found]
        # designs that it began with are raced too: they may want longer trainings
        kept = [tuple(text(masks)) for masks in (first[0], first[2], first[3])]
        others = [one for one in ranked(told) if one not in kept]
        best = [*others[: max(plan.race[0] - len(kept), 1)], *kept]
    winner, race = raced(best, lines.full, plan.race[1])
    searched = time.process_time() - began
    spec = flow(masks_of(winner), plan.width, mixing)
    entries = finished({method: lambda s: spec}, rows, schedule, derive(6, seed))
    return {
        "entries": entries,
        "masks": list(winner),
        "place": best.index(winner),
        "race": race,
        "told": [round(value, 4) for _, value in told],
        "search_cpu": searched,
    }


class _Lines:
    """Trains masks that are given as lines of letters."""

    def __init__(self, rows: Rows, mixing: bool, plan: Plan, seed: int) -> None:
        self.rows, self.mixing, self.plan, self.seed = rows, mixing, plan, seed

    def short(self, some: Sequence[tuple[str, ...]], numbers: Sequence[int]) -> list[float]:
        return self._train(some, numbers, SHORT, self.plan.schedule.short)

    def full(self, some: Sequence[tuple[str, ...]], numbers: Sequence[int]) -> list[float]:
        return self._train(some, numbers, RACE, self.plan.schedule.steps)

    def _train(
        self, some: Sequence[tuple[str, ...]], numbers: Sequence[int], stream: int, steps: int
    ) -> list[float]:
        schedule = self.plan.schedule
        ends = trained(
            [flow(masks_of(lines), self.plan.width, self.mixing) for lines in some],
            [schedule.middle] * len(some),
            [derive(7, self.seed, stream, number) for number in numbers],
            self.rows,
            schedule,
            steps=steps,
        )
        return [end.nll for end in ends]


# ---------------------------------------------------------------------------------------- claim 2


def sizes(plan: Plan) -> list[tuple[int, int]]:
    """Depth and width of the smaller flows, the greatest left out: that is the reference."""
    every = itertools.product(plan.depths, plan.widths)
    return [size for size in every if size != (plan.layers, plan.width)]


def run_sizes(
    rows: Rows, mixing: bool, known: dict[str, dict[str, Any]], plan: Plan
) -> dict[str, Any]:
    """Every design at every smaller size, with the learning rate that it was tuned to.

    Args:
        rows: The table.
        mixing: Whether there is linear mixing.
        known: For each design its learning rate and, of searched ones, its masks.
        plan: The sizes.
    """
    entries = []
    for depth, width in sizes(plan):
        specs, rates, seeds, names = [], [], [], []
        for name, about in known.items():
            for k in range(plan.small_seeds):
                seed = derive(8, depth, width, k)
                if about.get("masks"):
                    masks = repair(masks_of(about["masks"][:depth]))
                else:
                    masks = designed(name, depth, rows, seed)
                specs.append(flow(masks, width, mixing))
                rates.append(about["rate"])
                seeds.append(seed)
                names.append(name)
        entries += _sized(names, specs, rates, seeds, rows, plan)
    return {"entries": entries}


def run_small(rows: Rows, mixing: bool, rate: float, seed: int, plan: Plan) -> dict[str, Any]:
    """Search masks with `I` letters for each size in turn; retrain the best of each.

    A feature with an `I` is left alone by its layer, which saves outputs. What is minimised is the
    NLL and a quarter of the margin for each tenth of the reference's parameters.
    """
    began = time.process_time()
    rng = np.random.default_rng([9, seed])
    shape = (max(plan.depths), rows.features)
    shapes = [*sizes(plan), (plan.layers, plan.width)]
    variables = (Integer(0, len(plan.widths) - 1), Integer(min(plan.depths), max(plan.depths)))
    block = MaskBlock(*shape, idle=True, depth=1, commute=not mixing)
    layout = Layout(variables, block)
    reference = flow(designed("parity", plan.layers, rows, 0), plan.width, mixing)
    price = 0.25 * 0.02 * rows.features**0.5 / (0.1 * reference.parameter_count())

    def spec_of(genome: Genome) -> FlowSpec:
        width, depth = genome.values
        return flow(genome.masks[: int(depth)], plan.widths[int(width)], mixing)

    def train(genomes: Sequence[Genome], seeds: Sequence[int], steps: int) -> list[float]:
        specs = [spec_of(genome) for genome in genomes]
        ends = trained(specs, [rate] * len(specs), seeds, rows, plan.schedule, steps=steps)
        return [e.nll + price * s.parameter_count() for e, s in zip(ends, specs, strict=True)]

    first = [
        layout.repaired(Genome((plan.widths.index(width), depth), masks))
        for depth, width in shapes
        for masks in (designed(name, shape[0], rows, seed) for name in ("parity", "dependence"))
    ]
    told = evolve(
        layout,
        first,
        lambda genomes, numbers: train(
            genomes, [derive(10, seed, n) for n in numbers], plan.schedule.short
        ),
        evaluations=plan.small_evaluations,
        batch=plan.batch,
        rng=rng,
        held=itertools.cycle({0: plan.widths.index(w), 1: depth} for depth, w in shapes),
    )
    order = ranked(told)
    best = []
    for depth, width in shapes:
        of_size = [g for g in order if g.values == (plan.widths.index(width), depth)]
        best += of_size[:1]
    searched = time.process_time() - began
    specs = [spec_of(genome) for genome in best for _ in range(plan.small_seeds)]
    seeds = [derive(11, seed, p, k) for p in range(len(best)) for k in range(plan.small_seeds)]
    names = ["evolved_idle"] * len(specs)
    entries = _sized(names, specs, [rate] * len(specs), seeds, rows, plan)
    masks = [text(genome.masks[: int(genome.values[1])]) for genome in best]
    return {"entries": entries, "masks": masks, "search_cpu": searched}


def _sized(
    names: Sequence[str],
    specs: Sequence[FlowSpec],
    rates: Sequence[float],
    seeds: Sequence[int],
    rows: Rows,
    plan: Plan,
) -> list[dict[str, Any]]:
    """Train flows that come `small_seeds` times each, one after the other."""
    steps, each = plan.schedule.steps, plan.small_seeds
    ends = trained(specs, rates, seeds, rows, plan.schedule, steps=steps, test=True)
    return [
        {
            "design": names[k],
            "parameters": float(np.mean([s.parameter_count() for s in specs[k : k + each]])),
            "finals": [{"nll": e.nll, "test": e.test, "cpu": e.cpu} for e in ends[k : k + each]],
        }
        for k in range(0, len(specs), each)
    ]
