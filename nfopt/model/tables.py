"""The preprocessing of one flow or of several as tensors, for the transforms of column_maps.py."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nfopt.data import ColumnMap
from nfopt.data.maps.kinds import Asinh, Standardise
from nfopt.data.maps.quantile import Quantile
from nfopt.data.maps.support import settled
from nfopt.errors import ExportError

Table = tuple[str, list[Tensor]]  # a kind of `column_maps.KINDS`, and its arguments, in float64


def bounds_table(columns: Sequence[ColumnMap]) -> list[Table]:
    """Write the bounds of D columns; nothing where there are none."""
    hints = [column.hint for column in columns]
    if all(hint.kind == "identity" for hint in hints):
        return []
    low = np.array([-np.inf if hint.low is None else hint.low for hint in hints])
    high = np.array([np.inf if hint.high is None else hint.high for hint in hints])
    with np.errstate(invalid="ignore"):  # where there is no bound
        ends = [
            [float(settled(end[k : k + 1], hint)[0]) for k, hint in enumerate(hints)]
            for end in (low, high)
        ]
    return [("bounds", [torch.from_numpy(low), torch.from_numpy(high), *map(_numbers, ends)])]


def marginal_tables(members: Sequence[Sequence[ColumnMap]]) -> list[Table]:
    """Write the marginal maps of flows, each on the D columns that all see.

    Args:
        members: The columns of each of P flows.

    Returns:
        Tables of shape (D,), where all flows have the same maps, else (P, 1, D).

    Raises:
        ExportError: If a map is of a kind that is not known here.
    """
    rows = [[column.map for column in columns] for columns in members]
    if all(row == rows[0] for row in rows):
        rows = rows[:1]
    known = (Standardise, Asinh, Quantile)
    for one in (one for row in rows for one in row):
        if not isinstance(one, known):
            raise ExportError(f"torch has no transform for marginal maps of {type(one).__name__}.")
    features = len(rows[0])
    flat = [one for row in rows for one in row]
    shape = (features,) if len(rows) == 1 else (len(rows), 1, features)
    found: list[Table] = []
    if any(isinstance(one, Asinh) for one in flat):
        median = _numbers([one.median if isinstance(one, Asinh) else 0.0 for one in flat])
        width = _numbers([one.width if isinstance(one, Asinh) else 1.0 for one in flat])
        on = torch.tensor([isinstance(one, Asinh) for one in flat])
        found.append(("asinh", [one.view(shape) for one in (median, width, on)]))
    splines = {k: one for k, one in enumerate(flat) if isinstance(one, Quantile)}
    if splines:
        most = max(len(one.knots) for one in splines.values())
        tables = torch.ones(3, len(flat), most, dtype=torch.float64)
        tables[:2] = torch.arange(most, dtype=torch.float64)  # of columns without: never looked at
        for k, one in splines.items():
            for table, values in zip(tables, (one.knots, one.scores, one.slopes), strict=True):
                table[k, : len(values)] = _numbers(values)
        sizes = [len(splines[k].knots) if k in splines else 0 for k in range(len(flat))]
        wide = [table.reshape(*shape, most) for table in tables]
        found.append(("quantile", [*wide, torch.tensor(sizes).view(shape)]))
    mean = _numbers([0.0 if isinstance(one, Quantile) else one.mean for one in flat])
    scale = _numbers([1.0 if isinstance(one, Quantile) else one.scale for one in flat])
    if bool((mean != 0).any() or (scale != 1).any()):
        found.append(("standardise", [mean.view(shape), scale.view(shape)]))
    return found


def _numbers(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
