"""The pool: recipes that are trained on every table, for few rows and for many."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt import recipes
from nfopt.spec import FlowSpec

MANY = {  # where rows are many: marginal maps, rate of Muon, lengths
    "asinh": {0.012: (1.0, 0.5, 0.25), 0.006: (0.5,), 0.008: (1.0,), 0.016: (1.0,)},
    "quantile": {0.016: (1.0, 0.5, 0.25), 0.008: (1.0, 0.5)},
    "standardise": {0.008: (1.0, 0.5, 0.25), 0.016: (1.0, 0.5)},
}


@dataclass(frozen=True)
class Entry:
    """A recipe of the pool, by name; flow and steps follow from the table."""

    name: str
    marginals: str
    flow: str
    train: dict[str, Any]
    length: float = 1.0  # of the table's usual steps


def muon(rate: float, **more: Any) -> dict[str, Any]:
    """Muon under a trapezoid, averaged weights."""
    known = {"optimiser": "muon", "schedule": "trapezoid", "average": 0.995, "weight_decay": 0.01}
    return {**known, "learning_rate": rate, **more}


def adamw(rate: float, **more: Any) -> dict[str, Any]:
    """The recipe of nfopt 0.1."""
    return {"optimiser": "adamw", "schedule": "cosine", "learning_rate": rate, **more}


def pool(few: bool) -> list[Entry]:
    """List the recipes for tables of few rows, or of many."""
    entries: list[Entry] = []

    def add(
        flow: str, marginals: str, tag: str, train: dict[str, Any], length: float = 1.0
    ) -> None:
        name = f"{flow} {marginals} {tag}" + ("" if length == 1.0 else f" x{length:g}")
        entries.append(Entry(name, marginals, flow, train, length))

    if few:
        stop = {"patience": 8}  # Muon has learnt the rows by heart long before the end
        for marginals in ("asinh", "quantile", "standardise"):
            for tag in ("0.008 d0.4", "0.004 d0.4"):
                rate, drop = tag.split(" d")
                train = muon(float(rate), dropout=float(drop), **stop)
                add("ar6x128", marginals, f"muon {tag}", train)
            add("ar6x128", marginals, "adamw 0.002 d0.2", adamw(2e-3, dropout=0.2, **stop))
        for tag in ("0.008 d0.2", "0.008 d0.6", "0.004 d0.6", "0.002 d0.4", "0.016 d0.4"):
            rate, drop = tag.split(" d")
            train = muon(float(rate), dropout=float(drop), **stop)
            add("ar6x128", "asinh", f"muon {tag}", train)
        for marginals, tag in (
            ("asinh", "0.016 d0.6"),
            ("asinh", "0.03 d0.5"),
            ("standardise", "0.016 d0.4"),
        ):
            rate, drop = tag.split(" d")
            train = muon(float(rate), dropout=float(drop), **stop)
            add("ar6x128", marginals, f"muon {tag}", train)
        for flow in ("couplings8x128", "ar3x128"):
            add(flow, "asinh", "muon 0.016 d0.4", muon(0.016, dropout=0.4, **stop))
        for parents, measure, _ in recipes.SPARSE:
            flow = f"sparse{parents} {measure}"
            for drop in (0.2, 0.4):
                add(flow, "asinh", f"muon 0.016 d{drop}", muon(0.016, dropout=drop, **stop))
        decayed = muon(0.008, dropout=0.4, weight_decay=0.3, **stop)
        add("ar6x128", "asinh", "muon 0.008 d0.4 w0.3", decayed)
        add("ar6x128", "asinh", "adamw 0.002 d0.4", adamw(2e-3, dropout=0.4, **stop))
        add("ar6x128", "asinh", "muon 0.008 d0.4", muon(0.008, dropout=0.4), 0.3)
        for flow in ("ar3x128", "couplings8x128"):
            add(flow, "asinh", "muon 0.008 d0.4", muon(0.008, dropout=0.4, **stop))
        for parents, measure, _ in recipes.SPARSE:
            flow = f"sparse{parents} {measure}"
            add(flow, "asinh", "muon 0.008 d0.2", muon(0.008, dropout=0.2, **stop))
            add(flow, "asinh", "muon 0.008 d0.4", muon(0.008, dropout=0.4, **stop))
            add(flow, "asinh", "adamw 0.004 d0.2", adamw(4e-3, dropout=0.2, **stop))
    else:
        for marginals, rates in MANY.items():
            for rate, lengths in rates.items():
                for length in lengths:
                    add("ar6x128", marginals, f"muon {rate:g}", muon(rate), length)
        add("ar6x128", "asinh", "muon 0.008 d0.1", muon(0.008, dropout=0.1))
        add("ar6x128", "asinh", "muon 0.008 w0.1", muon(0.008, weight_decay=0.1))
        add("ar6x128", "asinh", "adamw 0.002", adamw(2e-3))
        add("couplings8x128", "asinh", "muon 0.008", muon(0.008))
        add("ar10x96", "asinh", "muon 0.008", muon(0.008))
        add("ar6x128b16", "asinh", "muon 0.008", muon(0.008))
    return entries


def flow_of(name: str, values: NDArray[np.floating]) -> FlowSpec | None:
    """Build a flow of the pool for a table; None where the table has too few features."""
    features = values.shape[1]
    if name.startswith("sparse"):
        parents, measure = name.removeprefix("sparse").split()
        known = recipes.sparse(recipes.ranked_parents(values, measure), int(parents))
        return known if int(parents) < features - 1 else None
    if match := re.fullmatch(r"couplings(\d+)x(\d+)", name):
        return recipes.couplings(features, depth=int(match[1]), width=int(match[2]))
    match = re.fullmatch(r"ar(\d+)x(\d+)(?:b(\d+))?", name)
    assert match is not None
    bins = int(match[3] or recipes.BINS)
    return recipes.autoregressive(features, depth=int(match[1]), width=int(match[2]), bins=bins)


def stacks(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Group recipes that train as one program."""
    groups: dict[Any, list[Entry]] = {}
    for entry in entries:
        kind = entry.train["optimiser"], entry.train["schedule"]
        groups.setdefault((entry.flow, entry.marginals, entry.length, kind), []).append(entry)
    yield from groups.values()
