"""Whether single precision, in which flows see the data, keeps a column's values apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nfopt.data.checks import MOST_MERGED
from nfopt.data.maps.lines import Lines
from nfopt.data.maps.marginals import MARGINALS, Marginal, fit_map, names_of
from nfopt.data.maps.preprocess import ColumnMap
from nfopt.data.wording import names_text
from nfopt.errors import DataError

Array = NDArray[np.float64]

ROWS = 20_000  # that are looked at: of millions some always meet


def merge_text(lines: Lines, marginals: str) -> list[str]:
    """Say which columns lose values under the maps that a recipe has: one line, or none."""
    merging = _merging(lines, marginals)
    if not merging:
        return []
    told = "; ".join(
        f"{column.name!r} under {kind} ({_remedy(rest)})" for column, kind, rest in merging[:3]
    )
    more = f" and {len(merging) - 3:,} more" if len(merging) > 3 else ""
    return [
        "over 1% of the distinct values become equal in single precision, in which flows see them:"
        f" column{'s' if len(merging) > 1 else ''} {told}{more}"
    ]


def merge_fault(lines: Lines, marginals: str) -> str:
    """Say why maps can't be used although others could, or nothing."""
    better = [(column, kind, rest) for column, kind, rest in _merging(lines, marginals) if rest]
    if not better:
        return ""
    kinds = sorted({kind for _, kind, _ in better})
    names = names_text([column.name for column, _, _ in better])
    return (
        f"`marginals` {', '.join(kinds)} make over 1% of the distinct values of {names} equal in"
        f" single precision: {' or '.join(better[0][2])} keeps them apart"
    )


def _remedy(kinds: Sequence[str]) -> str:
    if not kinds:
        return "no map keeps them apart: subtract what they share, or rescale"
    return f"`marginals` {' or '.join(kinds)} keeps them apart"


def _merging(lines: Lines, marginals: str) -> list[tuple[ColumnMap, str, list[str]]]:
    """Find the columns that lose values, their map, and the maps under which they would not."""
    known = lines.merging
    if marginals not in known:
        fitted, train = lines.fitted(marginals), lines.parts[0]
        kinds = names_of(marginals, len(fitted.columns), len(fitted.context))
        known[marginals] = []
        blocks = [train.line] if train.context is None else [train.line, train.context]
        whole = [block[:, index] for block in blocks for index in range(block.shape[1])]
        every = zip((*fitted.columns, *fitted.context), kinds, whole, strict=True)
        for column, kind, values in every:
            some = values[:: max(1, len(values) // ROWS)]
            if merged_share(some, column.map) > MOST_MERGED:
                rest = [
                    other
                    for other in MARGINALS
                    if other != kind and _keeps(other, values, some, train.weights)
                ]
                known[marginals].append((column, kind, rest))
    return known[marginals]


def merged_share(values: Array, fitted: Marginal) -> float:
    """Give the share of the distinct values that a map makes equal in float32."""
    seen = fitted.forward(values)[0].astype(np.float32)
    return 1.0 - len(np.unique(seen)) / len(np.unique(values))


def _keeps(kind: str, values: Array, some: Array, weights: NDArray[np.float32] | None) -> bool:
    try:
        weight = None if weights is None else weights.astype(np.float64)
        return merged_share(some, fit_map(kind, values, weight)) <= MOST_MERGED
    except DataError:
        return False
