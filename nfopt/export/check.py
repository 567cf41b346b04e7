"""What all exports share: which part of a flow goes, and whether it scores alike there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from nfopt.errors import ExportError
from nfopt.model import Flow

Array = NDArray[np.float64]
Score = Callable[[Array, Array | None], NDArray[np.floating]]

ROWS, TOLERANCE = 64, 1e-5  # how many rows must score alike, and how nearly
WIDE = 1.5  # deviations of half of the rows, in the space of the flow


def chosen(flow: Flow, member: int | None) -> Flow:
    """Give one member as a flow of its own; None: the whole mixture.

    Raises:
        ValueError: If there is no such member.
    """
    if member is None:
        return flow
    if not 0 <= member < len(flow):
        raise ValueError(f"`member` must be from 0 to {len(flow) - 1}, got {member}.")
    maps = flow.preprocessings[member]
    return Flow([flow.specs[member]], [flow.weights(member)], maps, flow.info, device=flow.device)


def check_rows(flow: Flow, dtype: torch.dtype) -> tuple[Array, Array | None]:
    """Draw rows and context to score: half from the flow, half from a wide normal before its maps.

    Args:
        flow: Where they come from.
        dtype: To which they are rounded.
    """
    rng = np.random.default_rng(0)
    maps, given = flow.preprocessing, None
    if flow.context_columns:
        noise = rng.standard_normal((len(maps.context), ROWS))
        both = zip(maps.context, noise, strict=True)
        given = np.stack([column.map.inverse(values) for column, values in both], axis=1)
    half = ROWS // 2
    seen = None if given is None else given[:half]
    drawn = flow.sample(half, seed=0, context=seen, dtype=np.float64, round_ties=False)
    wide = maps.inverse(WIDE * rng.standard_normal((ROWS - half, maps.features)))
    x = _rounded(np.concatenate([drawn, wide]), dtype)
    return x, None if given is None else _rounded(given, dtype)


def agree(score: Score, flow: Flow, target: str, dtype: torch.dtype = torch.float64) -> None:
    """See that what was exported scores rows as the flow does in float64.

    Args:
        score: From rows and context to nats.
        flow: Its own.
        target: What to call it.
        dtype: In which it computes.

    Raises:
        ExportError: If a row's score is off by more than 1e-5 of it, or of a nat.
    """
    x, given = check_rows(flow, dtype)
    alike(score(x, given), flow.log_prob(x, given, dtype=np.float64), target, dtype)


def alike(
    found: NDArray[np.floating], wanted: Array, target: str, dtype: torch.dtype = torch.float64
) -> None:
    """See that scores of the same rows are alike; the rest as in `agree`."""
    with np.errstate(invalid="ignore"):
        off = np.where(found == wanted, 0.0, np.abs(found - wanted))
    if (off <= TOLERANCE * np.maximum(np.abs(wanted), 1.0)).all():
        return
    by = f"scores otherwise, by up to {off.max():.2g} nats"
    if dtype == torch.float32:
        raise ExportError(f"`dtype` float32 is too coarse for this flow: it {by}; use float64.")
    raise ExportError(f"the flow as {target} has it {by}: please report this.")


def alike_rows(found: Array, wanted: Array, target: str) -> None:
    """See that rows drawn from the same noise are alike, to 1e-5 of a column's deviations.

    Raises:
        ExportError: If they are not.
    """
    away = np.abs(wanted - np.median(wanted, axis=0))
    size = np.maximum(away, np.median(away, axis=0))
    with np.errstate(invalid="ignore"):
        off = np.where(found == wanted, 0.0, np.abs(found - wanted))
    if not (off <= TOLERANCE * size + 4 * np.spacing(np.abs(wanted))).all():
        raise ExportError(f"the flow as {target} draws other rows, by up to {off.max():.2g}.")


def _rounded(values: Array, dtype: torch.dtype) -> Array:
    return torch.from_numpy(values).to(dtype).double().numpy()
