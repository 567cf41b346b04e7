"""Score rows with the members of a stack, each behind marginal maps of its own; far rows too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nfopt.data import LinePart, Preprocessing
from nfopt.flows import Stack
from nfopt.model.chunks import chunks, log_prob

Array = NDArray[np.float64]
ROWS = 65_536  # rows that are mapped at a time
FAR = 1e3  # deviations from which on what single precision can't say is density 0


def score(stack: Stack, maps: Sequence[Preprocessing], rows: LinePart) -> Array:
    """Score rows on the data's own scale.

    Args:
        stack: P flows.
        maps: The preprocessing of each.
        rows: n rows on the line, see `Preprocessing.to_line`.

    Returns:
        Nats, shape (P, n). A row without density has -inf: outside the bounds, or so far away that
        its density is below what double precision holds.
    """
    log_p = np.empty((len(stack), len(rows)))
    for chunk in chunks(len(rows), ROWS):
        log_p[:, chunk] = _chunk(stack, maps, rows.take(np.arange(len(rows))[chunk]))
    return log_p


def _chunk(stack: Stack, maps: Sequence[Preprocessing], rows: LinePart) -> Array:
    distinct = list(dict.fromkeys(maps))
    which = [distinct.index(one) for one in maps]
    mapped = [one.from_line(rows.line, rows.logdet) for one in distinct]
    seen = None
    if rows.context is not None:
        seen = _stacked([one.forward_context(rows.context) for one in distinct], which)
    x = _stacked([z for z, _ in mapped], which)
    log_p = _log_prob(stack, x, seen)
    wrong = ~np.isfinite(log_p).all(axis=0) & np.isfinite(rows.logdet)
    if wrong.any():
        exact = stack.to(dtype=torch.float64)
        far = x[..., wrong, :]
        again = _log_prob(exact, far, None if seen is None else seen[..., wrong, :])
        gone = np.isnan(again) & (np.abs(far) > FAR).any(axis=-1)
        log_p[:, wrong] = np.where(gone, -np.inf, again)
    return log_p + np.stack([logdet for _, logdet in mapped])[which]


def _stacked(each: Sequence[Array], which: Sequence[int]) -> Array:
    """Give what all members see, (n, D), or where they differ each one's, (P, n, D)."""
    return each[0] if len(each) == 1 else np.stack(each)[list(which)]


def _log_prob(stack: Stack, x: Array, context: Array | None) -> Array:
    def tensor(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(stack.device, stack.dtype)

    seen = None if context is None else tensor(context)
    log_p: Array = log_prob(stack, tensor(x), seen).double().cpu().numpy()
    return log_p


def mixed(scores: Array, shares: Sequence[float] | None = None) -> Array:
    """Log-density of the mixture of K members, (K, n) to (n,); without shares all count alike."""
    share = np.full(len(scores), 1 / len(scores)) if shares is None else np.asarray(shares)
    highest = scores.max(axis=0)
    shift = np.where(np.isfinite(highest), highest, 0.0)
    with np.errstate(divide="ignore"):  # no density in any member: -inf
        found: Array = np.log(share @ np.exp(scores - shift)) + shift
    return found


def check_shares(given: Sequence[float] | None, members: int) -> tuple[float, ...] | None:
    """Scale shares to sum 1; None where all are alike."""
    if given is None:
        return None
    shares = [float(share) for share in given]
    sound = all(share > 0 for share in shares) and sum(shares) < float("inf")
    if len(shares) != members or not sound:
        raise ValueError(f"`shares` must be {members} positive numbers, got {shares[:9]}.")
    if len(set(shares)) == 1:
        return None
    return tuple(share / sum(shares) for share in shares)
