"""Training, validation and test rows: 80/10/10; or no test rows, where the caller has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nfopt.data.table import Table
from nfopt.errors import DataError

Rows = NDArray[np.intp]
SplitKind = Literal["random", "group", "blocked", "given"]

_BLOCKS = 20


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts, each ascending; no row is in two of them."""

    train: Rows
    val: Rows
    test: Rows


def split(table: Table, *, kind: SplitKind | None = None, seed: int = 0) -> Split:
    """Divide a table's rows, 80% for training and 10% each for validation and test.

    >>> from nfopt.data import load
    >>> parts = split(load("moons:n=500"), seed=1)
    >>> len(parts.train), len(parts.val), len(parts.test)
    (400, 50, 50)

    Args:
        table: As `load` returns it.
        kind: "random": rows at random. "group": whole groups at random (the table's `groups`).
            "blocked": 20 contiguous blocks of rows, of which 16, 2 and 2 chosen at random, for
            time series. "given": the file's own parts. None: "given" where the file has parts,
            else "group" where the table has groups, else "random".
        seed: Of all random choices.

    Raises:
        ValueError: If `kind` is unknown.
        DataError: If the table has no groups, fewer than three, or no parts of its own.
    """
    if kind is None:
        kind = "given" if table.parts is not None else "random"
        kind = "group" if table.parts is None and table.groups is not None else kind
    if kind not in get_args(SplitKind):
        raise ValueError(f"`kind` must be one of {', '.join(get_args(SplitKind))}, not {kind!r}")
    if kind == "given":
        if table.parts is None:
            raise DataError(
                f"{table.name!r} has no parts of its own (an NPZ with train, val and test has): "
                "choose another split"
            )
        return Split(*table.parts)
    rng = np.random.default_rng(seed)
    if kind == "group":
        if table.groups is None:
            raise DataError("a split by group needs `groups`, a column or one label a row")
        return _by_group(table.groups, rng)
    if kind == "blocked":
        edges = np.linspace(0, table.rows, _BLOCKS + 1).round().astype(np.int64)
        block = np.repeat(np.arange(_BLOCKS), np.diff(edges))
        order = rng.permutation(_BLOCKS)
        part_of = np.zeros(_BLOCKS, dtype=np.int8)
        part_of[order[:2]], part_of[order[2:4]] = 1, 2
        return _parts(part_of[block])
    tenth = max(1, table.rows // 10)
    order = rng.permutation(table.rows)
    return Split(
        train=np.sort(order[2 * tenth :]),
        val=np.sort(order[:tenth]),
        test=np.sort(order[tenth : 2 * tenth]),
    )


def split_without_test(rows: int, fraction: float = 0.1, *, seed: int = 0) -> Split:
    """Divide rows whose test rows are elsewhere, such as those of a fold of cross-validation.

    >>> parts = split_without_test(200, 0.25)
    >>> len(parts.train), len(parts.val), len(parts.test)
    (150, 50, 0)

    Args:
        rows: Their number, at least 2.
        fraction: Of the rows that are for validation, between 0 and 1; one row at least, and one
            is left for training.
        seed: Of the choice.
    """
    count = min(max(1, round(fraction * rows)), rows - 1)
    order = np.random.default_rng(seed).permutation(rows)
    none = np.empty(0, dtype=np.intp)
    return Split(train=np.sort(order[count:]), val=np.sort(order[:count]), test=none)


def _by_group(groups: NDArray[np.int64], rng: np.random.Generator) -> Split:
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 3:
        raise DataError(
            f"a split by group needs at least 3 groups, the table has {len(sizes)}: "
            "choose another column for `groups`, or another split"
        )
    order = rng.permutation(len(sizes))
    # A group belongs to the part of its middle row, with the groups laid end to end.
    middle = (np.cumsum(sizes[order]) - 0.5 * sizes[order]) / len(groups)
    part_of = np.zeros(len(sizes), dtype=np.int8)
    part_of[order[middle < 0.1]] = 1
    part_of[order[(middle >= 0.1) & (middle < 0.2)]] = 2
    for part in (0, 1, 2):
        if not np.any(part_of == part):  # few, large groups: the smallest spare one moves
            spare = [
                g for g in np.argsort(sizes, kind="stable") if np.sum(part_of == part_of[g]) > 1
            ]
            part_of[spare[0]] = part
    return _parts(part_of[group])


def _parts(part_of: NDArray[np.int8]) -> Split:
    train, val, test = (np.flatnonzero(part_of == part) for part in range(3))
    return Split(train=train, val=val, test=test)
