"""Which parameters, and which pairs of them, explain how good the trials were.

The importance of a parameter is omega squared, the share of a variance that a one-way analysis of
variance explains, less what chance would explain (Hays 1963):

    omega^2 = (SS_between - (k - 1) MS_within) / (SS_total + MS_within)

of the ranks of the trials, grouped by the parameter's choices, or by quarters of its values. That
of a pair is what its cells explain beyond both alone. A sampler does not try values at random, so
that this describes the trials that were made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nfopt.study.ranking import nll_of, nll_place

Groups = NDArray[np.int64]
Array = NDArray[np.float64]

FEWEST = 24  # trials
GROUPS = 4  # of a numeric parameter
MOST_VALUES = 6  # up to which each value of a number is a group
MOST_PAIRED = 10  # parameters, the most important ones, whose pairs are looked at
UNUSED = -1
BITS = re.compile(r"\.(mask|idle|edges|place)(_\d+)?(\.\d+)?\Z")  # rows of masks and adjacencies
LAYER = re.compile(r"layer_(\d+)\.")


@dataclass(frozen=True)
class Importance:
    """How much of the trials' ranks a parameter or a pair explains.

    Attributes:
        names: One parameter, or two.
        share: Of the variance, without what chance explains; can be slightly negative.
        chance: A share that is beyond chance: four standard errors where nothing is explained.
        best: Of a parameter, the group with the best mean rank.
        trials: That use it.
    """

    names: tuple[str, ...]
    share: float
    chance: float
    best: str
    trials: int


def importances(
    trials: Sequence[FrozenTrial], objectives: Sequence[str] = ("nll",)
) -> tuple[list[Importance], list[Importance]]:
    """The importances of a study's parameters and of pairs of them, the greatest first.

    Args:
        trials: Of the study; complete ones by NLL, pruned ones behind them by how far they came.
        objectives: Names of their values.

    Returns:
        Parameters with more than one value, and pairs that explain more than chance; empty where
        there are fewer than `FEWEST` trials.
    """
    ranked, ranks = _ranked(trials, nll_place(objectives))
    if len(ranked) < FEWEST:
        return [], []
    columns = {}
    for name in dict.fromkeys(name for trial in ranked for name in trial.params):
        if not BITS.search(name) and (found := _grouped(name, ranked)) is not None:
            columns[name] = found
    singles = []
    for name, (groups, labels) in columns.items():
        used = groups != UNUSED
        if used.sum() >= FEWEST:
            best = min(set(groups[used].tolist()), key=lambda g: ranks[groups == g].mean())
            share, count = omega_squared(groups[used], ranks[used]), int(used.sum())
            chance = _chance(len(set(groups[used].tolist())) - 1, count)
            singles.append(Importance((name,), share, chance, labels[best], count))
    singles.sort(key=lambda one: -one.share)
    pairs = []
    for a, b in combinations([one.names[0] for one in singles[:MOST_PAIRED]], 2):
        (first, _), (second, _) = columns[a], columns[b]
        used = (first != UNUSED) & (second != UNUSED)
        share, freedom = _beyond(first[used], second[used], ranks[used])
        count = int(used.sum())
        one = Importance((a, b), share, _chance(freedom, count), "", count)
        if count >= 2 * FEWEST and one.share > one.chance:
            pairs.append(one)
    return singles, sorted(pairs, key=lambda one: -one.share)


def _chance(freedom: int, count: int) -> float:
    return 4 * math.sqrt(2 * max(freedom, 1)) / max(count, 1)


def omega_squared(groups: Groups, values: Array) -> float:
    """The share of the variance of n values that n groups explain, unbiased by their number."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    if not 1 < len(counts) < len(values):
        return 0.0
    total = float(((values - values.mean()) ** 2).sum())
    means = np.bincount(place, values) / counts
    between = float((counts * (means - values.mean()) ** 2).sum())
    within = (total - between) / (len(values) - len(counts))
    return (between - (len(counts) - 1) * within) / (total + within) if total > 0 else 0.0


def _beyond(first: Groups, second: Groups, ranks: Array) -> tuple[float, int]:
    """What the cells of two parameters explain beyond both, and their degrees of freedom."""
    if not len(ranks):
        return 0.0, 0
    cells = first * (second.max() + 1) + second
    alone = omega_squared(first, ranks) + omega_squared(second, ranks)
    sizes = [len(np.unique(groups)) for groups in (cells, first, second)]
    return omega_squared(cells, ranks) - alone, sizes[0] - sizes[1] - sizes[2] + 1


def _ranked(trials: Sequence[FrozenTrial], place: int) -> tuple[list[FrozenTrial], Array]:
    """Trials that tell how good they were, and their ranks from 0 (best) to 1."""
    keys = []
    for trial in trials:
        if (nll := nll_of(trial, place)) is not None:
            keys.append(((0, 0, nll), trial))
        elif trial.state is TrialState.PRUNED and (steps := trial.intermediate_values):
            last = max(steps)
            if math.isfinite(steps[last]):
                keys.append(((1, -last, steps[last]), trial))
    keys.sort(key=lambda pair: pair[0])
    return [trial for _, trial in keys], np.linspace(0.0, 1.0, max(2, len(keys)))[: len(keys)]


def _grouped(name: str, trials: Sequence[FrozenTrial]) -> tuple[Groups, Mapping[int, str]] | None:
    """Group trials by a parameter; None if all that use it have the same value."""
    values = [trial.params.get(name) for trial in trials]
    if (layer := LAYER.match(name)) is not None:  # layers beyond the depth are not there
        number = int(layer[1])
        depths = (trial.params.get("depth", number) for trial in trials)
        there = (not isinstance(depth, int) or depth >= number for depth in depths)
        values = [value if used else None for value, used in zip(values, there, strict=True)]
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    if len(distinct) < 2:
        return None
    numbers = all(type(value) in (int, float) for value in distinct)
    if numbers and len(distinct) > MOST_VALUES:
        return _quarters(np.array([math.nan if v is None else v for v in values], dtype=float))
    known = sorted(distinct) if numbers else distinct
    place = {value: k for k, value in enumerate(known)}
    groups = np.array([UNUSED if value is None else place[value] for value in values])
    return groups, {k: _said(value) for value, k in place.items()}


def _quarters(values: Array) -> tuple[Groups, Mapping[int, str]]:
    """Group numbers, nan where there is none, by their quarters."""
    edges = np.unique(np.nanquantile(values, np.linspace(0, 1, GROUPS + 1)))
    groups = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    labels = {
        k: f"{_said(float(low))} to {_said(float(high))}"
        for k, (low, high) in enumerate(pairwise(edges))
    }
    return np.where(np.isnan(values), UNUSED, groups), labels


def _said(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
