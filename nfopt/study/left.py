"""What dependence trained flows leave in base space, measured on validation rows of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from nfopt.flows import Stack
from nfopt.samplers.leftover import LEFTOVER, ROWS, measured, packed
from nfopt.space import SearchSpace
from nfopt.training import MemberResult, TrainData
from nfopt.training.evaluate import in_parts

ENDED = ("complete", "pruned")


def changes_by_it(space: SearchSpace) -> bool:
    """Say whether a space has masks or edges that the evolution could change accordingly."""
    return space.plan.masked or space.plan.edges


@torch.no_grad()
def leftovers(
    stack: Stack, results: Sequence[MemberResult], data: TrainData
) -> dict[int, Mapping[str, Any]]:
    """Measure what the members of a stack leave.

    Args:
        stack: Trained.
        results: How each member's training ended.
        data: Of which validation rows are looked at, 2,000 at most, evenly spaced.

    Returns:
        The attribute, by name, of each member that ended well; none where rows are too few.
    """
    rows = len(data.val)
    index = torch.linspace(0, rows - 1, min(rows, ROWS), device=data.val.device).round().long()
    x = data.val[index]
    context = None if data.val_context is None else data.val_context[index]
    ended = [result.member for result in results if result.status in ENDED]
    if not ended:
        return {}
    z = in_parts(stack.select(ended), lambda part: part.forward(x, context)[0].movedim(0, -1))
    tables = np.moveaxis(z.cpu().numpy(), -1, 0)
    found = {member: measured(table) for member, table in zip(ended, tables, strict=True)}
    return {member: {LEFTOVER: packed(p)} for member, p in found.items() if p is not None}
