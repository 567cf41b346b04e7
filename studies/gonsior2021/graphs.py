"""Claim 4: who may depend on whom, in autoregressive splines.

Layers go through the features forth and back in turn. An adjacency names, for each feature, any
others; each layer takes those that come before the feature in its own direction.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rows import Rows
from searches import chosen, evolve, raced, ranked
from trainings import RACE, SHORT, Schedule, finished, trained

from nfopt.dependence import rank_features
from nfopt.evolution import EdgeBlock, Genome, Integer, Layout
from nfopt.seeds import derive
from nfopt.spec import Autoregressive, Conditioner, FlowSpec, Spline

METHODS = ("full", "m", "evolved", "width", "m_random")
"""All predecessors; the m most dependent; searched; all with a width chosen; m random ones."""


@dataclass(frozen=True)
class Plan:
    """Sizes and budgets.

    Attributes:
        schedule: How all are trained.
        layers: Autoregressive layers.
        widths: Of the conditioners; the last is the reference, the evolution takes any.
        bins: Of the splines.
        numbers: m: how many parents are tried.
        evaluations: Short trainings of a search or a choice.
        batch: Trainings at a time in a search.
        race: Candidates that are trained at full length at its end, and how often at first.
    """

    schedule: Schedule
    layers: int = 2
    widths: tuple[int, ...] = (8, 16, 32, 64)
    bins: int = 6
    numbers: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    evaluations: int = 64
    batch: int = 8
    race: tuple[int, int] = (5, 2)

    @property
    def reference(self) -> int:
        """The place of the reference width."""
        return len(self.widths) - 1


@dataclass(frozen=True)
class Candidate:
    """An adjacency, packed, and the place of a width; `label` says where it comes from."""

    edges: bytes
    width: int
    label: str = ""

    @classmethod
    def of(cls, parents: np.ndarray, width: int, label: str = "") -> Candidate:
        return cls(np.packbits(parents).tobytes(), width, label)

    def parents(self, features: int) -> np.ndarray:
        bits = np.unpackbits(np.frombuffer(self.edges, dtype=np.uint8))[: features**2]
        return bits.reshape(features, features).astype(bool)


def flow(parents: np.ndarray, width: int, plan: Plan) -> FlowSpec:
    """Autoregressive splines: layer by layer those parents that its direction allows."""
    features = len(parents)
    before = np.tri(features, k=-1, dtype=bool)
    layers = []
    for number in range(plan.layers):
        seen = parents & (before if number % 2 == 0 else before.T)
        rows = tuple(tuple(int(j) for j in np.flatnonzero(row)) for row in seen)
        net = Conditioner(width=width, activation="silu")
        layers.append(Autoregressive(parents=rows, map=Spline(plan.bins), conditioner=net))
    return FlowSpec(features=features, layers=tuple(layers))


def full(features: int) -> np.ndarray:
    return ~np.eye(features, dtype=bool)


def strongest(strength: np.ndarray, count: int) -> np.ndarray:
    """For each feature and each direction, the `count` most dependent of those allowed there."""
    features = len(strength)
    parents = np.zeros((features, features), dtype=bool)
    for feature, ranking in enumerate(rank_features(strength)):
        for side in ([j for j in ranking if j < feature], [j for j in ranking if j > feature]):
            parents[feature, side[:count]] = True
    return parents


def random_parents(features: int, count: int, seed: int) -> np.ndarray:
    """As `strongest`, of random strengths."""
    return strongest(np.random.default_rng([13, seed]).random((features, features)), count)


def skeleton_f1(parents: np.ndarray, truth: np.ndarray) -> float:
    """F1 of the pairs of features that are joined, whatever their direction."""
    upper = np.triu_indices(len(truth), 1)
    found, real = (parents | parents.T)[upper], (truth | truth.T)[upper]
    return float(2 * (found & real).sum() / max(found.sum() + real.sum(), 1))


def candidates(method: str, rows: Rows, plan: Plan, seed: int) -> list[Candidate]:
    """What a method chooses from; of `evolved`, what it begins with."""
    features, top = rows.features, plan.reference
    every, counts = full(features), [m for m in plan.numbers if m < features - 1]
    measures = {"partial": rows.partial, "mutual": rows.mutual}
    wide = [Candidate.of(every, w, f"width {plan.widths[w]}") for w in range(top, -1, -1)]
    if method == "full":
        return wide[:1]
    if method == "width":
        return wide
    if method == "m_random":
        return [Candidate.of(random_parents(features, m, seed), top, f"m {m}") for m in counts]
    by_m = [
        Candidate.of(strongest(matrix, m), top, f"m {m} {name}")
        for m in counts
        for name, matrix in measures.items()
    ]
    if method == "m":
        return by_m
    narrow = [Candidate(one.edges, top - 2, f"{one.label} narrow") for one in by_m if top >= 2]
    return wide + by_m[2:10:2] + by_m[3:10:4] + narrow[2:12:4]


def run(rows: Rows, method: str, seed: int, plan: Plan) -> dict[str, Any]:
    """One method on one table: search or choose, race, then tune and train from fresh seeds."""
    began, schedule, features = time.process_time(), plan.schedule, rows.features

    def spec_of(one: Candidate) -> FlowSpec:
        return flow(one.parents(features), plan.widths[one.width], plan)

    def train(
        some: Sequence[Candidate], numbers: Sequence[int], stream: int, steps: int
    ) -> list[float]:
        ends = trained(
            [spec_of(one) for one in some],
            [schedule.middle] * len(some),
            [derive(14, seed, stream, number) for number in numbers],
            rows,
            schedule,
            steps=steps,
        )
        return [end.nll for end in ends]

    def short(some: Sequence[Candidate], numbers: Sequence[int]) -> list[float]:
        return train(some, numbers, SHORT, schedule.short)

    first = candidates(method, rows, plan, seed)
    evaluations = plan.evaluations // (4 if method == "m_random" else 1)
    best, told, race = first, [], []
    if method == "evolved":
        told = _evolved(rows, first, short, spec_of, plan, seed)
    elif method != "full":
        told = chosen(first, short, evaluations=evaluations, batch=schedule.stack)
    winner = first[0]
    if told:
        best = ranked(told)[: plan.race[0]]
        if method == "evolved" and first[0] not in best:  # the full flow may want longer trainings
            best[-1] = first[0]
        winner, race = raced(
            best, lambda some, numbers: train(some, numbers, RACE, schedule.steps), plan.race[1]
        )
    searched = time.process_time() - began
    parents = winner.parents(features)
    entries = finished({method: lambda s: spec_of(winner)}, rows, schedule, derive(15, seed))
    row = {
        "entries": entries,
        "label": winner.label,
        "width": plan.widths[winner.width],
        "edges": int(parents.sum()),
        "race": race,
        "labels": [one.label for one in best],
        "told": [round(value, 4) for _, value in told],
        "search_cpu": searched,
        "parents": ["".join("01"[int(bit)] for bit in line) for line in parents],
    }
    if rows.edges is not None:
        row["f1"] = skeleton_f1(parents, rows.edges)
    return row


def _evolved(
    rows: Rows, first: list[Candidate], short: Any, spec_of: Any, plan: Plan, seed: int
) -> list[tuple[Candidate, float]]:
    """Search the adjacency and the width; children have at most half of the full flow's weights."""
    layout = Layout((Integer(0, plan.reference),), edges=EdgeBlock(rows.features))
    labels = {(one.edges, one.width): one.label for one in reversed(first)}
    most = 0.5 * spec_of(first[0]).parameter_count()

    def candidate(genome: Genome) -> Candidate:
        plain = Candidate.of(genome.parents, int(genome.values[0]))
        return Candidate(plain.edges, plain.width, labels.get((plain.edges, plain.width), "child"))

    told = evolve(
        layout,
        [Genome((one.width,), None, None, one.parents(rows.features)) for one in first],
        lambda genomes, numbers: short([candidate(genome) for genome in genomes], numbers),
        evaluations=plan.evaluations,
        batch=plan.batch,
        rng=np.random.default_rng([16, seed]),
        dependence=rows.partial,
        allowed=lambda genome: spec_of(candidate(genome)).parameter_count() <= most,
    )
    return [(candidate(genome), value) for genome, value in told]
