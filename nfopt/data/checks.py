"""What is wrong with a table of numbers, and what its reader should be warned of.

Columns are looked at one at a time, each sorted once, so that millions of rows need few copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nfopt.data.maps.support import row_hashes
from nfopt.data.wording import names_text, rows_text
from nfopt.errors import DataError

Array = NDArray[np.float64]

MIN_ROWS = 50
MOST_MERGED = 0.01  # of the distinct values of a column may become equal, unsaid
MAX_FEATURES = 1024
ROWS_A_FEATURE = 20
_ATOM_SHARE = 0.02
_ATOM_ROWS = 4  # in a small table two equal values are 2% of the rows, but no atom
# A dequantised column has a bounded likelihood; its atom is still named where its density
# exceeds that of a uniform column by this factor (many zeros among values with fine steps).
_ATOM_DENSITY = 1_000.0
_LARGEST = 1e150  # squares must stay finite
_MAX_CELLS = 1e7  # a grid finer than this is the rounding of floating-point numbers
_GRID_TOLERANCE = 1e-3
_DEPENDENCE_ROWS = 20_000
_DEPENDENCE = 1e-10  # variance left over, of standardised columns


@dataclass(frozen=True)
class ColumnProfile:
    """What one sorted pass over a column tells.

    Attributes:
        low: Least value.
        high: Greatest value.
        distinct: The number of different values.
        top: The most frequent value.
        top_rows: The number of rows that hold it.
        tied: Share of the rows, those with the most frequent value left out, whose value occurs
            more than once; 1 if no other row remains.
        step: Step of the regular grid that holds all values, or None if there is none.
    """

    low: float
    high: float
    distinct: int
    top: float
    top_rows: int
    tied: float
    step: float | None


def profile(column: Array) -> ColumnProfile:
    """Look at one column of finite values."""
    ordered = np.sort(column)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(starts, append=len(ordered))
    values = ordered[starts]
    top = int(np.argmax(counts))
    rest = len(column) - int(counts[top])
    alone = int(np.count_nonzero(counts == 1)) - int(counts[top] == 1)
    tied = 1.0 - alone / rest if rest else 1.0
    return ColumnProfile(
        low=float(ordered[0]),
        high=float(ordered[-1]),
        distinct=len(values),
        top=float(values[top]),
        top_rows=int(counts[top]),
        tied=tied,
        step=grid_step(values) if tied > 0.0 else None,
    )


def grid_step(values: Array) -> float | None:
    """Find the step of the regular grid on which different, ascending values lie.

    Returns:
        The greatest step of which all differences are multiples (to a thousandth of it), or None
        where the values lie on no grid of at most ten million cells.
    """
    if len(values) < 2:
        return None
    offsets = values - values[0]
    gaps = np.diff(values)
    step = float(gaps.min())
    finest = float(offsets[-1]) / _MAX_CELLS
    remainders: list[float] = []
    for _ in range(64):  # Euclid's algorithm, on all differences at once
        if not finest <= step < np.inf:
            return None
        # a remainder has the rounding errors of all before it, once a cell: those that it divides,
        # and then the gaps, say the step better
        remainders.append(step)
        for larger in (*np.array(remainders[::-1])[:, None], gaps):
            known = larger[_off_grid(larger, step) <= _GRID_TOLERANCE * step]
            if len(known):
                step = float(known.sum() / np.rint(known / step).sum())
        rest = _off_grid(gaps, step)
        off = rest[rest > _GRID_TOLERANCE * step]
        if len(off) == 0:
            break
        step = float(off.min())
    cells = np.rint(offsets / step)
    step = float(cells @ offsets / (cells @ cells))  # the first estimate is one difference's
    if np.max(np.abs(offsets - step * cells)) > 0.05 * step:
        return None
    rounded = float(f"{step:.6g}")
    return rounded if abs(rounded - step) < 1e-5 * step else step


def _off_grid(gaps: Array, step: float) -> Array:
    return np.abs(gaps - step * np.rint(gaps / step))


def check_values(name: str, column: NDArray[np.float64]) -> None:
    """Refuse a column of finite values that is constant, or whose squares overflow.

    Raises:
        DataError: Naming the column.
    """
    low, high = float(column.min()), float(column.max())
    if low == high:
        raise DataError(
            f"column {name!r} is constant (all {len(column):,} rows hold {low:g}): "
            "leave it out with `columns`"
        )
    if max(-low, high) > _LARGEST:
        row = np.flatnonzero(np.abs(column) > _LARGEST)
        raise DataError(f"column {name!r} exceeds 1e150 in {rows_text(row)}: rescale it")


def atom_text(name: str, seen: ColumnProfile, rows: int, step: float | None) -> str | None:
    """Describe a column's atom (one value in over 2% of the rows), or None if it has none."""
    if seen.top_rows <= max(_ATOM_SHARE * rows, _ATOM_ROWS):
        return None
    share = seen.top_rows / rows
    if step is not None and share * (seen.high - seen.low) / step < _ATOM_DENSITY:
        return None
    return f"{name!r} ({seen.top:g} in {100 * share:.1f}% of the rows)"


def check_equal_columns(
    values: Array, columns: Sequence[str], seen: Sequence[ColumnProfile]
) -> None:
    """Refuse two columns that hold the same values.

    Raises:
        DataError: Naming both.
    """
    alike: dict[tuple[float, ...], list[int]] = {}
    for position, one in enumerate(seen):
        key = (one.low, one.high, one.distinct, one.top_rows)
        for other in alike.setdefault(key, []):
            if np.array_equal(values[:, position], values[:, other]):
                raise DataError(
                    f"column {columns[position]!r} is a duplicate column: it holds the same "
                    f"values as {columns[other]!r}; leave one out with `columns`"
                )
        alike[key].append(position)


def duplicate_rows(values: Array) -> int:
    """Count the rows that repeat another row, by a 64-bit hash of each.

    Args:
        values: Shape (n, D), finite.
    """
    total = row_hashes(values)
    total.sort()
    return int(np.count_nonzero(total[1:] == total[:-1]))


def dependent_columns(values: Array, columns: Sequence[str]) -> tuple[str, ...]:
    """Name columns of which one is a linear function of the others, looking at 20,000 rows.

    Returns:
        Their names, or an empty tuple. Then the density lies on a plane and has no bound.
    """
    sample = values[:: max(1, len(values) // _DEPENDENCE_ROWS)]
    if not 2 <= sample.shape[1] < len(sample):
        return ()
    centred = sample - sample.mean(axis=0)
    spread = centred.std(axis=0)
    if not np.all(spread > 0.0):
        return ()
    centred /= spread
    roots, vectors = np.linalg.eigh(centred.T @ centred / len(sample))
    if roots[0] > _DEPENDENCE:
        return ()
    part = np.abs(vectors[:, 0])
    return tuple(name for name, size in zip(columns, part, strict=True) if size > 0.05 * part.max())


def general_warnings(
    values: Array, columns: Sequence[str], steps: Mapping[str, float], atoms: Sequence[str]
) -> list[str]:
    """Collect the warnings on a table as a whole, one line each."""
    rows, features = values.shape
    messages = []
    if atoms:
        more = f" and {len(atoms) - 5:,} more" if len(atoms) > 5 else ""
        messages.append(
            f"one value in over 2% of the rows (the likelihood has no bound): column"
            f"{'s' if len(atoms) > 1 else ''} {', '.join(atoms[:5])}{more}"
        )
    if len(steps) < features or features > 1:
        repeated = duplicate_rows(values)
        if repeated:
            messages.append(
                f"{repeated:,} of {rows:,} rows are duplicate rows: the same row may stand in "
                "training and in test data"
            )
    smooth = [position for position, name in enumerate(columns) if name not in steps]
    if len(smooth) > 1:
        picked = values if len(smooth) == features else values[:, smooth]
        names = dependent_columns(picked, [columns[position] for position in smooth])
        if names:
            messages.append(
                f"{names_text(names)} depend on each other linearly (the likelihood has no "
                "bound): leave one of them out"
            )
    if rows < ROWS_A_FEATURE * features:
        messages.append(
            f"{rows:,} rows are few for {features} features: fewer than "
            f"{ROWS_A_FEATURE} x {features} = {ROWS_A_FEATURE * features:,}"
        )
    return messages
