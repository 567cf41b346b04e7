"""Draw rows from a mixture: each from a member drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nfopt.data import Preprocessing
from nfopt.flows import Stack
from nfopt.model.chunks import chunks, drawn_rows
from nfopt.model.score import ROWS

Array = NDArray[np.float64]


def draw(
    stacks: Sequence[Stack],
    maps: Sequence[Preprocessing],
    shares: Sequence[float] | None,
    n: int,
    context: Array | None,
    seed: int | None,
    precision: torch.dtype,
) -> Array:
    """Draw rows on the data's own scale, shape (n, D).

    Args:
        stacks: K flows, grouped by shape.
        maps: The preprocessing of each.
        shares: Of each in the mixture; None: all alike.
        n: Rows.
        context: Shape (n, C), or None.
        seed: The same gives the same rows on the same machine; None: fresh ones.
        precision: Of the way from the base.
    """
    rng = np.random.default_rng(seed)
    if shares is None:
        drawn = rng.integers(len(maps), size=n)
    else:
        drawn = rng.choice(len(maps), size=n, p=shares)
    device = stacks[0].device
    generator = torch.Generator(device).manual_seed(int(rng.integers(1 << 62)))
    values = np.empty((n, maps[0].features))
    for stack in stacks:
        for row, member in enumerate(stack.positions):
            wanted = np.flatnonzero(drawn == member)
            # a copy is laid out anew, which takes a second where columns are many
            alone = stack if len(stack) == 1 else stack.select([row])
            alone = alone if alone.dtype == precision else alone.to(dtype=precision)
            for chunk in chunks(len(wanted), min(ROWS, drawn_rows(alone))):
                at = wanted[chunk]
                own = None
                if context is not None:
                    seen = maps[member].forward_context(context[at])
                    own = torch.from_numpy(seen).to(device, precision)
                z = alone.sample(len(at), generator, own)[0]
                values[at] = maps[member].inverse(z.double().cpu().numpy())
    return values
