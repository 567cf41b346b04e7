"""What is run: every job is a few plain arguments, and gives one row of results.

couplings   claims 1 and 3: `designs` (all named ones), `evolved` and `random` (a search each)
graphs      claim 4: a method on the first rows of a table
smaller     claim 2: `sizes` (every design at every size) and `idle` (a search with `I` letters)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import couplings
import graphs
import numpy as np
from rows import Rows
from searches import race_trainings
from trainings import Schedule, trained

Results = Mapping[str, Mapping[str, Any]]
"""Finished rows by the key of their job."""

MIXING = ("plain", "mixed")
"""Without linear mixing, as in the paper, and with a permutation and LU between the layers."""


@dataclass(frozen=True)
class Sets:
    """Names of tables.

    Attributes:
        claims: Without locality: those that count.
        controls: With locality, for claims 1 to 3; they count for none.
        graphs: Of claim 4.
        known: Sparse graphs whose edges are known.
    """

    claims: tuple[str, ...]
    controls: tuple[str, ...]
    graphs: tuple[str, ...]
    known: tuple[str, ...] = ("graph0", "graph1")


FILES = Sets(
    ("htru2", "magic", "gasturbine", "higgs35k", "miniboone_vt"),
    ("satimage", "bsds300r_mini"),
    ("higgs35k", "magic", "miniboone_vt", "htru2", "gasturbine", "satimage"),
)
NAMED = Sets(("magic", "penbased"), ("digits",), ("magic", "penbased"))
TINY = Sets(("wine",), (), ("wine",), ("graph0",))


@dataclass(frozen=True)
class Length:
    """How long everything is.

    Attributes:
        couplings: Claims 1 to 3.
        graphs: Claim 4, by the number of training rows (0: all of them).
        searches: Search seeds.
    """

    couplings: couplings.Plan
    graphs: Mapping[int, graphs.Plan]
    searches: int = 3


def _graphs(steps: int, short: int, batch: int, **others: Any) -> graphs.Plan:
    rates = (1e-3, 3e-3, 8e-3)
    return graphs.Plan(Schedule(steps, short, batch, rates, stack=16), **others)


FULL = Length(
    couplings.Plan(Schedule(800, 400, 128, (1e-2, 2e-2, 4e-2))),
    {
        500: _graphs(240, 120, 48),
        2000: _graphs(480, 240, 64, evaluations=48),
        0: _graphs(1000, 500, 64, evaluations=32, race=(4, 1)),
    },
)
QUICK = Length(
    couplings.Plan(
        Schedule(24, 8, 64, (2e-3, 5e-3), tune_seeds=1, seeds=2),
        width=8,
        evaluations=16,
        batch=8,
        race=(4, 1),
        widths=(4, 8),
        small_evaluations=16,
        small_seeds=2,
    ),
    {
        100: replace(
            _graphs(16, 8, 32, widths=(4, 8, 16), numbers=(1, 2, 4), evaluations=16, race=(4, 1)),
            schedule=Schedule(16, 8, 32, (1e-3, 3e-3), tune_seeds=1, seeds=2, stack=16),
        )
    },
    searches=2,
)


@dataclass(frozen=True)
class Job:
    """One row to be.

    Attributes:
        kind: "couplings", "graphs" or "smaller".
        data: Name of the table.
        what: The designs, or the method.
        seed: Of the search.
        mixing: One of `MIXING`, or "" of graphs.
        rows: Training rows of graphs; 0 for all.
    """

    kind: str
    data: str
    what: str
    seed: int = 0
    mixing: str = ""
    rows: int = 0

    @property
    def key(self) -> str:
        """Name it."""
        place = str(self.rows) if self.kind == "graphs" else self.mixing
        return f"{self.kind}/{self.data}/{place}/{self.what}/{self.seed}"


# -------------------------------------------------------------------------------------------- jobs


def jobs(length: Length, sets: Sets) -> Iterator[Job]:
    """List all jobs, what is a comparison by itself first.

    One search seed of claims 1 and 3 without mixing and of claim 4 at the fewest rows, set by set
    in turn; then with mixing and at more rows; then the other search seeds, claim 2, the controls,
    all rows.
    """
    few = [rows for rows in length.graphs if rows]
    main = [method for method in graphs.METHODS if method != "m_random"]
    for mixing, rows in zip_longest(MIXING, few):
        pairs = zip_longest(sets.claims if mixing else (), sets.graphs if rows else ())
        for one, other in pairs:
            if other:
                yield from _graph_jobs([other], rows, range(1), main)
            if one:
                yield from _couplings([one], mixing, range(1))
    later = range(1, length.searches)
    for rows in few:
        yield from _graph_jobs(sets.graphs, rows, range(1), ("m_random",))
    yield from _couplings(sets.claims, "plain", later)
    for rows in few:
        yield from _graph_jobs(sets.graphs, rows, later)
    for mixing in MIXING:
        yield from _smaller(sets.claims, mixing, range(1))
    yield from _couplings(sets.claims, "mixed", later)
    for mixing in MIXING:
        yield from _couplings(sets.controls, mixing, range(1))
    for rows in few:
        yield from _graph_jobs(sets.known, rows, range(1), ("full", "m", "evolved"))
    if 0 in length.graphs:
        yield from _graph_jobs(sets.graphs, 0, range(1))
    for mixing in MIXING:
        yield from _smaller(sets.claims, mixing, later)


def _couplings(sets: Sequence[str], mixing: str, seeds: range) -> Iterator[Job]:
    for name in sets:
        if 0 in seeds:
            yield Job("couplings", name, "designs", 0, mixing)
        for seed in seeds:
            for what in ("evolved", "random"):
                yield Job("couplings", name, what, seed, mixing)


def _graph_jobs(
    sets: Sequence[str], rows: int, seeds: range, methods: Sequence[str] = graphs.METHODS
) -> Iterator[Job]:
    for name in sets:
        for seed in seeds:
            for method in methods:
                if seed == 0 or method == "evolved":  # the rivals choose among few, once
                    yield Job("graphs", name, method, seed, rows=rows)


def _smaller(sets: Sequence[str], mixing: str, seeds: range) -> Iterator[Job]:
    for name in sets:
        for seed in seeds:
            yield Job("smaller", name, "sizes", seed, mixing)
            yield Job("smaller", name, "idle", seed, mixing)


def needs(job: Job) -> list[str]:
    """Keys of the jobs whose results a job takes up."""
    if job.kind != "smaller":
        return []
    seeds = {"designs": 0, "evolved": job.seed, "random": job.seed}
    names = seeds if job.what == "sizes" else ["designs"]
    return [Job("couplings", job.data, name, seeds[name], job.mixing).key for name in names]


def execute(job: Job, rows: Rows, done: Results, length: Length) -> dict[str, Any]:
    """Run one job and return its row."""
    began, cpu = time.monotonic(), time.process_time()
    plan, mixing = length.couplings, job.mixing == "mixed"
    if job.kind == "graphs":
        some = rows.first(job.rows or None)
        row = graphs.run(some, job.what, job.seed, length.graphs[job.rows])
    elif job.kind == "smaller":
        row = _run_smaller(job, rows, done, plan)
    elif job.what == "designs":
        row = couplings.run_designs(rows, mixing, plan)
    else:
        row = couplings.run_search(rows, mixing, job.what, job.seed, plan)
    spent = {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}
    return {"key": job.key, **vars(job), "features": rows.features, **row, **spent}


def _run_smaller(job: Job, rows: Rows, done: Results, plan: couplings.Plan) -> dict[str, Any]:
    known: dict[str, dict[str, Any]] = {}
    for key in needs(job):
        row = done[key]
        for entry in row["entries"]:
            known[entry["design"]] = {"rate": entry["rate"], "masks": row.get("masks")}
    mixing = job.mixing == "mixed"
    if job.what == "idle":
        return couplings.run_small(rows, mixing, known["parity"]["rate"], job.seed, plan)
    if job.seed:  # the named designs have been there with the first seed
        known = {name: about for name, about in known.items() if about["masks"]}
    return couplings.run_sizes(rows, mixing, known, plan)


# -------------------------------------------------------------------------------------- prediction


def predicted(
    todo: Sequence[Job], table: Callable[[str], Rows], length: Length
) -> dict[str, float]:
    """Say in hours of one core how long jobs should take, by their kind.

    A step is measured on the tables of fewest and of most features, for each kind of flow, and
    taken to grow linearly between them.
    """
    hours: dict[str, float] = {}
    kinds = {_flow(job) for job in todo}
    for kind in sorted(kinds):
        mine = [job for job in todo if _flow(job) == kind]
        wide = sorted({job.data for job in mine}, key=lambda name: table(name).features)
        ends = {}
        for name in (wide[0], wide[-1]):
            job = next(job for job in mine if job.data == name)
            ends[table(name).features] = _step(job, table(name), length)
        sizes, costs = list(ends), np.array(list(ends.values()))
        for job in mine:
            at = table(job.data).features
            once, step = (float(np.interp(at, sizes, costs[:, k])) for k in (0, 1))
            hours[job.kind] = hours.get(job.kind, 0.0) + _seconds(job, length, (once, step)) / 3600
    return hours


def _flow(job: Job) -> tuple[str, str]:
    """What jobs have flows of one kind."""
    return ("graphs", str(job.rows)) if job.kind == "graphs" else ("couplings", job.mixing)


def _seconds(job: Job, length: Length, each: tuple[float, float]) -> float:
    """Processor seconds of a job, from those of a training at once and for each step."""
    few = length.couplings
    if job.kind == "graphs":
        share = {"full": 0.0, "m_random": 0.25}.get(job.what, 1.0)
        return _spent(length.graphs[job.rows], share, each)
    if job.kind == "couplings" and job.what == "designs":
        return len(couplings.DESIGNS) * _spent(few, 0.0, each)
    if job.kind == "couplings":
        return _spent(few, 1.0, each)
    sizes = len(couplings.sizes(few))
    full = few.small_seeds * (each[0] + few.schedule.steps * each[1])
    if job.what == "sizes":
        return SMALLER * sizes * full * (2 if job.seed else len(couplings.DESIGNS) + 2)
    short = few.small_evaluations * (each[0] + few.schedule.short * each[1])
    return SMALLER * (short + (sizes + 1) * full)


SMALLER = 0.8
"""What a smaller flow costs against the reference."""


def _spent(plan: couplings.Plan | graphs.Plan, share: float, each: tuple[float, float]) -> float:
    """Seconds of a share of a search, and of one design tuned and finished."""
    schedule = plan.schedule
    finals = len(schedule.rates) * schedule.tune_seeds + schedule.seeds
    long = share * race_trainings(*plan.race) + finals
    trainings = share * plan.evaluations + long
    steps = share * plan.evaluations * schedule.short + long * schedule.steps
    return trainings * each[0] + steps * each[1]


def _step(job: Job, rows: Rows, length: Length) -> tuple[float, float]:
    """Processor seconds that a flow in a stack takes at once, and for each step."""
    if job.kind == "graphs":
        plan = length.graphs[job.rows]
        spec = graphs.flow(graphs.full(rows.features), plan.widths[-1], plan)
        schedule, count = plan.schedule, 4
    else:
        few = length.couplings
        masks = couplings.designed("parity", few.layers, rows, 0)
        spec = couplings.flow(masks, few.width, job.mixing == "mixed")
        schedule, count = few.schedule, 16
    some = rows.first(job.rows or None)
    found = [
        trained([spec] * count, [1e-3] * count, range(count), some, schedule, steps=steps)
        for steps in (1, 4, 16)  # the first is to warm up
    ]
    short, long = found[1][0].cpu, found[2][0].cpu
    step = max(long - short, 0.0) / 12
    return max(short - 4 * step, 0.0), step
