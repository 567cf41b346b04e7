"""Which flows a search proposes: the most likely paths under its weights, each flow once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nfopt.autonf.options import Option, Path, layers_of

ALIKE = 16  # paths kept for each one wanted, as several may be the same flow


def most_likely(options: Sequence[Option], weights: Tensor, count: int) -> list[Path]:
    """List paths of the greatest weight that are different flows.

    Args:
        options: Of every layer.
        weights: Shape (n, m).
        count: Paths at most.

    Returns:
        The most likely first; of paths to the same flow (idle layers at other places) one.
    """
    best: list[tuple[float, Path]] = [(0.0, ())]
    for row in weights.double().clamp_min(1e-300).log().tolist():
        # exact but for `ALIKE`: the best paths begin with the best beginnings
        longer = [(value + w, (*path, k)) for value, path in best for k, w in enumerate(row)]
        best = sorted(longer, key=lambda each: (-each[0], each[1]))[: count * ALIKE]
    return distinct(options, [[path for _, path in best]])[:count]


def random_paths(
    options: Sequence[Option], places: int, count: int, generator: torch.Generator
) -> list[Path]:
    """Draw paths that are different flows, all equally likely; fewer if there are not so many."""
    found: dict[object, Path] = {}
    for _ in range(20):  # draws of `count`: enough unless nearly all flows are asked for
        drawn = torch.randint(len(options), (count, places), generator=generator).tolist()
        for path in map(tuple, drawn):
            found.setdefault(layers_of(options, path), path)
        if len(found) >= count:
            break
    return list(found.values())[:count]


def distinct(options: Sequence[Option], lists: Sequence[Sequence[Path]]) -> list[Path]:
    """Take several lists' paths in turn, each flow once."""
    found: dict[object, Path] = {}
    for rank in range(max((len(each) for each in lists), default=0)):
        for each in lists:
            if rank < len(each):
                found.setdefault(layers_of(options, each[rank]), each[rank])
    return list(found.values())
