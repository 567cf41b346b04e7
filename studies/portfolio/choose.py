"""From validation scores by table and recipe to regrets, and to a portfolio of recipes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MEMBERS = (1, 2, 4, 8)
MAPS = ("asinh", "quantile", "standardise")


def regrets(values: Array) -> Array:
    """Say how far each recipe is below the best one, table by table.

    Args:
        values: Validation log-likelihoods, nats a row, shape (tables, recipes); not finite where a
            recipe was not trained or failed, which counts as the worst of its table.

    Returns:
        Nats, shape (tables, recipes), at least 0.
    """
    known = np.where(np.isfinite(values), values, np.nan)
    below = np.nanmax(known, axis=1, keepdims=True) - known
    found: Array = np.where(np.isnan(below), np.nanmax(below, axis=1, keepdims=True), below)
    return found


def greedy(regret: Array, members: int) -> list[int]:
    """Choose recipes one by one: each next lowers the mean regret of the best chosen one most.

    Args:
        regret: Shape (tables, recipes).
        members: How many; fewer where there are no more recipes.

    Returns:
        Positions of recipes, in the order of choice; of equal ones the first.
    """
    best = np.full(len(regret), np.inf)
    chosen: list[int] = []
    for _ in range(min(members, regret.shape[1])):
        means = np.minimum(best[:, None], regret).mean(axis=0)
        means[chosen] = np.inf
        chosen.append(int(np.argmin(means)))
        best = np.minimum(best, regret[:, chosen[-1]])
    return chosen


def left_out(regret: Array, members: int) -> float:
    """Mean regret of a portfolio on tables that it was not chosen on: each left out in turn."""
    found = []
    for table in range(len(regret)):
        chosen = greedy(np.delete(regret, table, axis=0), members)
        found.append(regret[table, chosen].min())
    return float(np.mean(found))


def axes(recipe: str) -> dict[str, str]:
    """Read what a recipe is on each axis from its name; nothing of names of other kinds."""
    words = recipe.split()
    place = next((k for k, word in enumerate(words) if word in MAPS), None)
    if place is None:
        return {}
    options = {word[0]: word[1:] for word in words[place + 3 :]}
    match = re.match("[a-z]+", words[0])
    flow = match[0] if match else words[0]
    return {
        "structure": {"ar": "dense autoregressive"}.get(flow, flow),
        "marginal maps": words[place],
        "optimiser": words[place + 1],
        "rate": f"{words[place + 1]} {words[place + 2]}",
        "dropout": options.get("d", "0"),
        "length": options.get("x", "1"),
    }


def ablation(recipes: Sequence[str], regret: Array) -> Iterator[tuple[str, str, float]]:
    """Take all recipes of one value of an axis away; what the best of the others lose by it.

    Args:
        recipes: Names.
        regret: Shape (tables, recipes).

    Yields:
        Axis, value, and mean over the tables of the regret of the best that is left, nats.
    """
    known = [axes(recipe) for recipe in recipes]
    for axis in known[0]:
        for value in dict.fromkeys(one.get(axis, "") for one in known):
            left = [place for place, one in enumerate(known) if one.get(axis) != value]
            if left:
                yield axis, value, float(regret[:, left].min(axis=1).mean())


def matrix(rows: Sequence[dict[str, Any]]) -> tuple[list[str], list[str], Array]:
    """Arrange results of one number of rows: names of tables and recipes, and the scores."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    values = np.full((len(sets), len(recipes)), np.nan)
    for row in rows:
        values[sets.index(row["set"]), recipes.index(row["recipe"])] = row["validation"]
    return sets, recipes, values


def tables(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Write regrets and portfolios as markdown, for each number of rows."""
    for size in dict.fromkeys(row["rows"] for row in rows):
        here = [row for row in rows if row["rows"] == size]
        sets, recipes, values = matrix(here)
        regret = regrets(values)
        yield f"## {f'{size} rows' if size else 'All rows'}: {', '.join(sets)}\n"
        yield "| recipe | tables | mean regret | training over validation |"
        yield "|---|---|---|---|"
        for place in np.argsort(regret.mean(axis=0), kind="stable"):
            own = [row for row in here if row["recipe"] == recipes[place]]
            gap = np.mean([row["training"] - row["validation"] for row in own])
            mean = regret[:, place].mean()
            yield f"| {recipes[place]} | {len(own)} | {mean:.3f} | {gap:.3f} |"
        yield "\n| portfolio of | regret on its tables | on the one left out | next in it |"
        yield "|---|---|---|---|"
        before = 0
        for members in MEMBERS:
            chosen = greedy(regret, members)
            own_mean = regret[:, chosen].min(axis=1).mean()
            told = f"{left_out(regret, members):.3f}" if len(sets) > 1 else "-"
            added = "; ".join(recipes[place] for place in chosen[before:])
            yield f"| {members} | {own_mean:.3f} | {told} | {added} |"
            before = len(chosen)
        yield "\n| axis | without | the best of the others lose |"
        yield "|---|---|---|"
        for axis, value, lost in ablation(recipes, regret):
            yield f"| {axis} | {value} | {lost:.3f} |"
        yield ""
