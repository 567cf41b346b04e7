"""What preprocessing is to do with each column: its bounds, and the step of its tied values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nfopt.data import checks
from nfopt.data.maps.support import ColumnHint, outside
from nfopt.data.raw import RawTable
from nfopt.data.roles import Roles, find_column
from nfopt.data.wording import rows_text, short
from nfopt.errors import DataError

Array = NDArray[np.float64]
Bounds = Mapping[str, tuple[float | None, float | None]]

_TIED_BY_DEFAULT = 0.5
_TIED_ON_REQUEST = 0.05


def bounds_of(
    raw: RawTable, roles: Roles, bounds: Bounds | None, log: Any
) -> dict[str, tuple[float | None, float | None]]:
    """Read `bounds` and `log`: for each column concerned its lower and upper bound, or None.

    Raises:
        DataError: If a column is unknown or named twice, or its bounds do not rise.
    """
    limits: dict[str, tuple[float | None, float | None]] = {}
    if not isinstance(bounds or {}, Mapping):
        raise DataError(f"`bounds` must be a dict of column: (low, high), not {short(bounds)}")
    for selector, pair in (bounds or {}).items():
        name = find_column(roles.features, selector, "bounds", raw.columns)
        try:
            if isinstance(pair, str):
                raise TypeError
            low, high = (_end(end) for end in pair)
        except (TypeError, ValueError):
            raise DataError(
                f"`bounds` of column {name!r} must be two numbers (low, high), not {short(pair)}"
            ) from None
        lowest = None if low is None or low == -math.inf else low
        highest = None if high is None or high == math.inf else high
        if low == math.inf or high == -math.inf or (lowest is None and highest is None):
            raise DataError(f"`bounds` of column {name!r} bound nothing: {short(pair)}")
        if lowest is not None and highest is not None and lowest >= highest:
            raise DataError(f"`bounds` of column {name!r} must rise: {short(pair)}")
        limits[name] = (lowest, highest)
    for logged in [log] if isinstance(log, str | int) else (log or ()):
        name = find_column(roles.features, logged, "log", raw.columns)
        if name in limits:
            raise DataError(f"column {name!r} stands in both `bounds` and `log`: choose one")
        limits[name] = (0.0, None)
    return limits


def _end(end: Any) -> float | None:
    """Read one end of bounds: None is open, NaN is a mistake."""
    if end is None:
        return None
    if isinstance(end, bool | str) or math.isnan(float(end)):
        raise ValueError
    return float(end)


def check_bounds(values: Array, columns: Sequence[str], hints: Sequence[ColumnHint]) -> None:
    """Refuse values on or outside their column's bounds; a tied value may lie on one.

    Raises:
        DataError: Naming column and rows.
    """
    for position, (name, hint) in enumerate(zip(columns, hints, strict=True)):
        if hint.kind == "identity":
            continue
        low = -math.inf if hint.low is None else hint.low
        high = math.inf if hint.high is None else hint.high
        beyond = np.flatnonzero(outside(values[:, position], hint))
        if len(beyond):
            raise DataError(
                f"column {name!r} is not strictly inside its bounds ({low:g}, {high:g}) in "
                f"{rows_text(beyond)}: {values[beyond[0], position]:g}; widen `bounds`, or "
                "leave `log` out"
            )


def steps_of(
    raw: RawTable,
    roles: Roles,
    seen: Sequence[checks.ColumnProfile],
    dequantise: Any,
    messages: list[str],
) -> dict[str, float]:
    """Decide which columns are dequantised, and within which step; note what was found unasked.

    Raises:
        DataError: If a column is unknown, lies on no grid, or its step is not positive.
    """
    if dequantise is False:
        return {}
    by_name = dict(zip(roles.features, seen, strict=True))
    if dequantise is not None and dequantise is not True:
        return _asked_for(raw, roles, by_name, dequantise)
    steps = {name: step for name, step in raw.steps.items() if name in by_name}
    threshold = _TIED_ON_REQUEST if dequantise else _TIED_BY_DEFAULT
    detected = {
        name: one.step
        for name, one in by_name.items()
        if name not in steps and one.step is not None and one.tied > threshold
    }
    if detected:
        shown = ", ".join(f"{name!r} (step {step:g})" for name, step in list(detected.items())[:5])
        more = f" and {len(detected) - 5:,} more" if len(detected) > 5 else ""
        messages.append(
            f"tied values on a grid are spread uniformly within the step: column"
            f"{'s' if len(detected) > 1 else ''} {shown}{more}; `dequantise=False` keeps them"
        )
    return steps | detected


def _is_step(given: object) -> bool:
    number = isinstance(given, int | float | np.number) and not isinstance(given, bool)
    return number and 0.0 < float(given) < math.inf  # type: ignore[arg-type]


def _asked_for(
    raw: RawTable, roles: Roles, by_name: Mapping[str, checks.ColumnProfile], dequantise: Any
) -> dict[str, float]:
    """Read columns, or columns with their steps; a step of None is found."""
    if isinstance(dequantise, Mapping):
        asked = list(dequantise.items())
    else:
        picked = [dequantise] if isinstance(dequantise, str | int) else dequantise
        try:
            asked = [(selector, None) for selector in picked]
        except TypeError:
            raise DataError(
                f"`dequantise` must be True, False, columns or a dict of column: step, "
                f"not {short(dequantise)}"
            ) from None
    chosen: dict[str, float] = {}
    for selector, given in asked:
        name = find_column(roles.features, selector, "dequantise", raw.columns)
        if given is None:
            grid = by_name[name].step
            if grid is None:
                raise DataError(
                    f"column {name!r} cannot be dequantised: its values lie on no regular grid; "
                    f"give the step, `dequantise={{{name!r}: step}}`"
                )
            chosen[name] = grid
        elif not _is_step(given):
            raise DataError(
                f"`dequantise` step of column {name!r} must be positive, not {short(given)}"
            )
        else:
            chosen[name] = float(given)
    return chosen
