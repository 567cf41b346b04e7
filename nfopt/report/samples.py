"""Data and samples of a flow on the data's own scale, for the picture of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nfopt.data import Part, Prepared
from nfopt.flows import Stack
from nfopt.model import Flow
from nfopt.report.corner import ROWS, corner_png

Array = NDArray[np.float64]


def corner_of(flow: Flow, data: Prepared, *, title: str, seed: int = 0) -> bytes:
    """Draw a flow's samples beside training rows; a conditional flow sees the rows' own context.

    Args:
        flow: A trained flow.
        data: What it was trained on.
        title: The picture's first line.
        seed: Of the samples.
    """
    part = _some(data.parts[0])
    context = None
    if part.context is not None:
        columns = data.preprocessing.context
        mean, scale = (np.array([getattr(c, key) for c in columns]) for key in ("mean", "scale"))
        context = part.context.astype(np.float64) * scale + mean
    samples = flow.sample(len(part), seed=seed, context=context)
    rows = data.preprocessing.inverse(part.z.astype(np.float64))
    return corner_png(rows, samples, data.columns, title=title)


def member_flow(stack: Stack, member: int, data: Prepared) -> Flow:
    """Take one member of a trained stack as a flow."""
    return Flow.of(stack, data.preprocessing, members=[member])


def _some(part: Part) -> Part:
    """Take a few thousand rows, evenly spaced."""
    if len(part) <= ROWS:
        return part
    return part.take(np.linspace(0, len(part) - 1, ROWS).round().astype(np.int64))
