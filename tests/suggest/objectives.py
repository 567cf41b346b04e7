"""Objectives of people who use Optuna and know nothing of search spaces."""

from __future__ import annotations

import math

import optuna

import nfopt

FEATURES = 8
TARGET = ("CTCTCTCT", "TCTCTCTC", "CCCCTTTT", "TTTTCCCC")
PARENTS = ((), (0,), (0, 1), (2,), (1, 3), (0,))


def apart(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def rate(trial: optuna.Trial) -> float:
    return abs(math.log10(trial.suggest_float("rate", 1e-4, 1, log=True)) + 2)


def layers(trial: optuna.Trial) -> float:
    """Four masks, and a rate."""
    cost = rate(trial)
    for number, target in enumerate(TARGET, 1):
        cost += apart(nfopt.suggest_mask(trial, f"layer_{number}", FEATURES), target)
    return cost


def depth(trial: optuna.Trial) -> float:
    """As many masks as there are layers, of which four are best."""
    count = trial.suggest_int("depth", 1, 6)
    cost = rate(trial) + FEATURES * abs(count - 4)
    masks = [nfopt.suggest_mask(trial, f"layer_{n}", FEATURES) for n in range(1, count + 1)]
    return cost + sum(apart(mask, target) for mask, target in zip(masks, TARGET, strict=False))


def graph(trial: optuna.Trial) -> float:
    """An adjacency whose order is searched, too."""
    found = nfopt.suggest_parents(trial, "graph", 6, most=2)
    return float(sum(len({*a} ^ {*b}) for a, b in zip(found, PARENTS, strict=True)))


def either(trial: optuna.Trial) -> float:
    """Masks of two sizes, or two adjacencies."""
    if trial.suggest_categorical("kind", ["masks", "graphs"]) == "masks":
        small = nfopt.suggest_mask(trial, "small", 6)
        large = nfopt.suggest_mask(trial, "large", 9, idle=True)
        return float(small.count("T") + 9 - large.count("I"))
    free = nfopt.suggest_parents(trial, "free", 5)
    fixed = nfopt.suggest_parents(trial, "fixed", 4, order=[3, 2, 1, 0])
    return 5.0 + sum(map(len, free)) + sum(map(len, fixed))


OBJECTIVES = {"layers": layers, "depth": depth, "graph": graph, "either": either}
