"""Which members of a population end at a rung: asynchronous successive halving, pure functions.

All values seen at a rung count, those of earlier populations too, so that a poor population ends
early and a good one goes on (after Li et al. 2020, ASHA; there with a fixed share, as here).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

KEEP = 0.5  # share of all values seen at a rung that go on
FEWEST = 4  # values seen at a rung before anything is pruned


def to_prune(
    values: Mapping[int, float], history: Sequence[float], *, spare: Collection[int] = ()
) -> set[int]:
    """Choose whom to prune; lower is better.

    Args:
        values: Of the population at this rung, by member. One that is not finite is pruned.
        history: Of earlier trials at the same rung.
        spare: Members that go on whatever their value, unless it is not finite.

    Returns:
        Members that end here.
    """
    finite = {member: value for member, value in values.items() if math.isfinite(value)}
    gone = set(values) - set(finite)
    seen = sorted([*finite.values(), *(value for value in history if math.isfinite(value))])
    if len(seen) < FEWEST:
        return gone
    threshold = seen[math.ceil(KEEP * len(seen)) - 1]
    return gone | {m for m, value in finite.items() if value > threshold and m not in spare}
