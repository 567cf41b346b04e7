"""All distinct genomes and their runs: an index, flat arrays, and a view of what is known.

Items are the distinct genomes, numbered in the order in which they were first told. Runs are kept
as flat arrays, so that everything is computed from all runs in a few vector operations, whatever
the order in which they were told.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.evolution import posterior
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.pruned import Rungs
from nfopt.evolution.records import Record

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LATEST = 40
"""The latest runs, of which the share of replicates is taken."""

FAILED = np.inf
"""The violation of a genome of which every run failed: worse than any other."""


@dataclass(frozen=True)
class View:
    """What is known of N items.

    Attributes:
        means: Posterior means, shape (N, m); meaningless where not `ranked`.
        raw: The means of the runs without shrinkage, shape (N, m).
        sds: Posterior standard deviations, shape (N, m).
        runs: Completed runs, shape (N,).
        violation: 0 where feasible, infinite where all runs failed, shape (N,).
        ranked: Where something is known, shape (N,).
        noise: Variance of a run, shape (m,).
        spread: Variance of true values between recent genomes, shape (m,).
        freedom: Degrees of freedom of the noise: the number of replicates.
    """

    means: Floats
    raw: Floats
    sds: Floats
    runs: Ints
    violation: Floats
    ranked: NDArray[np.bool_]
    noise: Floats
    spread: Floats
    freedom: int


class _Column:
    """A growing array."""

    def __init__(self, shape: tuple[int, ...] = (), dtype: type = float) -> None:
        self._rows: NDArray[Any] = np.zeros((16, *shape), dtype=dtype)
        self._count = 0

    def append(self, row: object) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    @property
    def rows(self) -> NDArray[Any]:
        return self._rows[: self._count]


class History:
    """All records, told one by one.

    Args:
        objectives: The number of values of a completed run, m.
        shrink: Whether means are shrunken.
    """

    def __init__(self, objectives: int, *, shrink: bool = True) -> None:
        self.objectives = objectives
        self.genomes: list[Genome] = []
        self.completed: list[list[int]] = []
        self.first: list[int] = []
        self.finished = 0
        self.version = 0
        self._shrink = shrink
        self._item: dict[bytes, int] = {}
        self._item_of: dict[int, int] = {}
        self._running: dict[int, int] = {}
        self._keys: Counter[bytes] = Counter()
        self._active: Counter[int] = Counter()
        self._again: deque[bool] = deque(maxlen=LATEST)
        self._rungs = Rungs()
        self._failures, self._pruned = _Column(), _Column()
        self._violation, self._told = _Column(), _Column()
        self._run_values, self._run_items = _Column((objectives,)), _Column((), int)
        self._view: tuple[int, View] | None = None

    # --------------------------------------------------------------------------------- what is told

    def tell(self, record: Record) -> int | None:
        """Add a record; the item, or None if nothing of it is new."""
        number = record.number
        if number in self._item_of and (number not in self._running or record.state == "running"):
            return None
        item = self._enter(record.genome, number)
        if number in self._running:
            self.forget(number)
        else:
            self._again.append(self.seen(record.genome.key))
        self._item_of[number] = item
        self._keys[record.genome.key] += 1
        self.version += 1
        if record.state == "running":
            self._running[number] = item
            self._active[item] += 1
            return item
        self.finished += 1
        self._violation.rows[item] += record.violation
        self._told.rows[item] += 1
        values = record.values
        if record.state == "complete" and values is not None and np.isfinite(values).all():
            self._run_values.append(values)
            self._run_items.append(item)
            self.completed[item].append(number)
            self._rungs.completed(item, record.rungs)
        elif record.state == "pruned":
            self._pruned.rows[item] += 1
            self._rungs.pruned(item, record.rungs)
        else:
            self._failures.rows[item] += 1
        return item

    def forget(self, number: int) -> None:
        """Forget a running record, whose run ended without a result."""
        item = self._running.pop(number, None)
        if item is None:
            return
        del self._item_of[number]
        self._active[item] -= 1
        self.version += 1
        key = self.genomes[item].key
        self._keys[key] -= 1
        if self._keys[key] <= 0:
            del self._keys[key]

    def _enter(self, genome: Genome, number: int) -> int:
        if genome.key not in self._item:
            self._item[genome.key] = len(self.genomes)
            self.genomes.append(genome)
            self.completed.append([])
            self.first.append(number)
            for column in (self._failures, self._pruned, self._violation, self._told):
                column.append(0)
        return self._item[genome.key]

    # -------------------------------------------------------------------------------- what is known

    def seen(self, key: bytes) -> bool:
        """Whether a genome is finished or running."""
        return key in self._keys

    @property
    def distinct(self) -> int:
        """How many genomes are finished or running."""
        return len(self._keys)

    @property
    def running(self) -> list[int]:
        """Items of the running records."""
        return list(self._running.values())

    @property
    def again(self) -> float:
        """The share of the latest runs whose genome had been run or was running before."""
        return sum(self._again) / len(self._again) if self._again else 0.0

    def active(self, item: int) -> int:
        """The number of running runs of an item."""
        return self._active[item]

    def item_of(self, number: int) -> int | None:
        """The item of a record."""
        return self._item_of.get(number)

    def view(self) -> View:
        """What is known from all runs; cached until something new is told."""
        if self._view is None or self._view[0] != self.version:
            self._view = (self.version, self._compute_view())
        return self._view[1]

    def _compute_view(self) -> View:
        count = len(self.genomes)
        means, raw = np.zeros((count, self.objectives)), np.zeros((count, self.objectives))
        sds = np.zeros((count, self.objectives))
        told = self._told.rows
        failures = self._failures.rows
        runs = np.bincount(self._run_items.rows, minlength=count)
        violation = np.maximum(self._violation.rows / np.maximum(told, 1), 0.0)
        violation[(told > 0) & (failures == told)] = FAILED
        noise, spread = np.zeros(self.objectives), np.zeros(self.objectives)
        freedom, item = 0, self._run_items.rows
        for objective in range(self.objectives):
            values = self._run_values.rows[:, objective]
            of, raws, sd, own = self._estimate(values, item, failures)
            if objective == 0 and self._rungs.any_pruned:
                pruned, estimates = self._only_pruned(of)
                of[pruned] = raws[pruned] = estimates
            means[:, objective], raw[:, objective], sds[:, objective] = of, raws, sd
            if len(item):
                noise[objective], spread[objective], freedom = own
        return View(
            _filled(means), _filled(raw), sds, runs, violation, told > 0, noise, spread, freedom
        )

    def _estimate(
        self, values: Floats, item: Ints, failures: Floats
    ) -> tuple[Floats, Floats, Floats, tuple[float, float, int]]:
        """Of all items posterior means, means (NaN without a completed run), sds; the noise."""
        values = posterior.cut(values)
        pooled, counts, squares, freedom = posterior.pooled(values, item, len(failures))
        raw, sds = np.full(len(failures), np.nan), np.zeros(len(failures))
        if not len(values):
            return raw, raw.copy(), sds, (0.0, 0.0, 0)
        ran = slice(None) if counts.all() else np.flatnonzero(counts)
        runs, known, failed = counts[ran], pooled[ran], failures[ran]
        if failed.any():
            # A failed run of a genome that also completed counts as the worst that completed.
            bad = failed / (failed + runs)
            known = (1 - bad) * known + bad * known.max()
        prior = posterior.cohort_means(known)
        recent = (known - prior)[-posterior.RECENT :]
        between = float(recent @ recent) / len(recent)
        noise = posterior.noise_variance(squares, freedom, between)
        fewer = float(np.mean(1 / runs[-posterior.RECENT :]))
        spread = max(between - noise * fewer, posterior.LEAST_SPREAD * between)
        raw[ran] = known
        means = raw.copy()
        if self._shrink:
            means[ran], sds[ran] = posterior.shrink(known, runs, prior, noise, spread)
        else:
            sds[ran] = np.sqrt(noise / runs)
        return means, raw, sds, (noise, spread, freedom)

    def _only_pruned(self, of: Floats) -> tuple[Ints, Floats]:
        """Items that were only ever pruned, and the means of their estimates."""
        items, estimated = self._rungs.estimates(of)
        total = np.bincount(items, estimated, minlength=len(of))
        count = np.bincount(items, minlength=len(of))
        only = np.flatnonzero(np.isnan(of) & (count > 0))
        return only, total[only] / count[only]


def _filled(values: Floats) -> Floats:
    """Put 0 where nothing is known, in place."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, copy=False)
