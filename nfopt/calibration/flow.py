"""Calibration of a flow that nfopt trained, on rows that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nfopt.calibration.core import Ranks, Uniformity, sbc_ranks, tarp_ranks, uniformity
from nfopt.model import Flow
from nfopt.model.arguments import check_seed
from nfopt.model.inputs import read_rows

ALL = "all together (TARP)"
ROWS = 1_000  # at most
SAMPLES = 200  # of each row
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Calibration:
    """Ranks of n held-out rows among L samples of a conditional density.

    Attributes:
        names: D.
        samples: L.
        ranks: By column (SBC), shape (n, D).
        together: By distance from random points (TARP), shape (n,).
        seed: Of the samples, the points, and of what stands for chance in `tests`.
    """

    names: tuple[str, ...]
    samples: int
    ranks: Ranks
    together: Ranks
    seed: int = 0

    def every(self) -> dict[str, Ranks]:
        """Give the ranks of each column, and of all together, by name."""
        return {**dict(zip(self.names, self.ranks.T, strict=True)), ALL: self.together}

    def tests(self) -> dict[str, Uniformity]:
        """Test each column, and all together, for uniform ranks."""
        rng = np.random.default_rng([self.seed, 1])
        return {name: uniformity(ranks, self.samples, rng) for name, ranks in self.every().items()}


def calibrate(
    flow: Flow, theta: Any, x: Any, *, samples: int = SAMPLES, rows: int = ROWS, seed: int = 0
) -> Calibration:
    """Rank the rows' values among samples of the flow given their context.

    Args:
        flow: A conditional one.
        theta: Rows that it was not trained on, as `Flow.log_prob` takes them, shape (n, D).
        x: Their context, shape (n, C).
        samples: L, drawn for each row.
        rows: Of more, so many are chosen at random.
        seed: Of everything random.

    Raises:
        ValueError: If the flow has no context, there are too few rows, or a shape is wrong.
    """
    check_seed(seed)
    if not flow.context_columns:
        raise ValueError("`flow` must be conditional: without context there is nothing to cover.")
    for name, count, least in (("samples", samples, 1), ("rows", rows, FEWEST_ROWS)):
        if count < least:
            raise ValueError(f"`{name}` must be at least {least}, got {count}.")
    values, context = read_rows(theta, x, flow.columns, flow.context_columns, flow.origin)
    assert context is not None
    if len(values) < FEWEST_ROWS:
        raise ValueError(f"`theta` must have at least {FEWEST_ROWS} rows, got {len(values)}.")
    rng = np.random.default_rng(seed)
    if len(values) > rows:
        chosen = np.sort(rng.choice(len(values), size=rows, replace=False))
        values, context = values[chosen], context[chosen]
    given = np.repeat(context, samples, axis=0)
    drawn = flow.sample(len(given), seed=seed, context=given)
    drawn = drawn.reshape(len(values), samples, values.shape[1])
    return Calibration(
        names=flow.columns,
        samples=samples,
        ranks=sbc_ranks(values, drawn, rng),
        together=tarp_ranks(values, drawn, rng),
        seed=seed,
    )
