"""Whether rows that a flow has not seen look like its base when they are mapped there.

A row x of a mixture is mapped by member k, drawn with the probability that the mixture gives it,
w_k p_k(x) / sum_j w_j p_j(x). If the mixture is the truth, z = f_k(x) then follows the base
exactly, since (k, z) -> x is how it samples. The probability integral transform u_d = F(z_d) of
each coordinate is then uniform (Dawid 1984), and so is that of the radius, chi2_D(|z|^2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nfopt.data import LinePart
from nfopt.model import Flow
from nfopt.spec import Base, StudentT

Array = NDArray[np.float64]

ROWS = 4_000  # that are mapped at most
CHUNK = 1_000
DRAWS = 4_000  # of the band
LEVEL = 0.95


@dataclass(frozen=True)
class Uniforms:
    """Rows in base space, each number uniform if the flow is right.

    Attributes:
        coordinates: Shape (n, D).
        radius: Shape (n,).
        weights: Of the rows, or None.
        lost: Rows without a density under any member, which are left out.
    """

    coordinates: Array
    radius: Array
    weights: Array | None
    lost: int = 0


def uniforms(flow: Flow, rows: LinePart, seed: int = 0) -> Uniforms:
    """Map rows to the base and through its distribution function.

    Args:
        flow: One flow or a mixture.
        rows: Of a prepared table; evenly spaced ones where there are more than `ROWS`.
        seed: Of the members that map them.
    """
    if len(rows) > ROWS:
        rows = rows.take(np.linspace(0, len(rows) - 1, ROWS).round().astype(np.int64))
    scores, every = flow.members_scores(rows), len(rows)
    rows, scores = _dense(rows, scores)
    shares = np.array(flow.shares or [1 / len(flow)] * len(flow))[:, None]
    likely = shares * np.exp(scores - scores.max(axis=0, initial=-np.inf))
    climbing = (likely / likely.sum(axis=0)).cumsum(axis=0)
    drawn = (np.random.default_rng(seed).random(len(rows)) > climbing[:-1]).sum(axis=0)
    found = np.empty((len(rows), len(flow.columns)))
    for stack in flow.stacks:
        for place, member in enumerate(stack.positions):
            at = np.flatnonzero(drawn == member)
            alone, maps = stack.select([place]), flow.preprocessings[member]
            for start in range(0, len(at), CHUNK):
                some = rows.take(at[start : start + CHUNK])
                seen = None if some.context is None else maps.forward_context(some.context)
                z, _ = maps.from_line(some.line, some.logdet)
                tensors = [None if v is None else _tensor(v, alone) for v in (z, seen)]
                with torch.no_grad():
                    base, _ = alone.forward(*tensors)  # type: ignore[arg-type]
                values = base[0].double().cpu()
                found[at[start : start + CHUNK]] = distribution(alone.base, values).numpy()
    radius = torch.special.ndtri(torch.from_numpy(found)).square().sum(dim=1)
    half = torch.tensor(found.shape[1] / 2, dtype=torch.float64)
    weights = None if rows.weights is None else rows.weights.astype(np.float64)
    outside = torch.special.gammainc(half, radius / 2).numpy()
    return Uniforms(found, outside, weights, every - len(rows))


def _dense(rows: LinePart, scores: Array) -> tuple[LinePart, Array]:
    """Leave out rows that no member gives a density."""
    kept = np.flatnonzero(np.isfinite(scores.max(axis=0)))
    return (rows, scores) if len(kept) == len(rows) else (rows.take(kept), scores[:, kept])


def _tensor(values: Array, like: object) -> Tensor:
    device, dtype = like.device, like.dtype  # type: ignore[attr-defined]
    return torch.from_numpy(np.ascontiguousarray(values)).to(device, dtype)


def distribution(base: Base, z: Tensor) -> Tensor:
    """The base's distribution function of each number, in double precision."""
    if not isinstance(base, StudentT):
        normal: Tensor = torch.special.ndtr(z)
        return normal
    # with t = sqrt(df) tan(a) the density is proportional to cos(a)^(df - 1)
    angle = np.linspace(-math.pi / 2, math.pi / 2, 20_001)[1:-1]
    density = np.cos(angle) ** (base.df - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    at = np.arctan(z.numpy() / math.sqrt(base.df))
    return torch.from_numpy(np.interp(at, angle, mass / mass[-1]))


def histogram(values: Array, weights: Array | None, bins: int) -> Array:
    """The share of the rows in each bin of [0, 1], times the number of bins: 1 if uniform."""
    counts = np.histogram(values, bins, range=(0.0, 1.0), weights=weights)[0].astype(float)
    return np.asarray(bins * counts / max(counts.sum(), 1e-300))


def band(rows: float, bins: int) -> float:
    """How far from 1 the farthest bin of uniform rows lies with a probability of `LEVEL`.

    Args:
        rows: How many; of weighted ones the effective number, (sum w)^2 / sum w^2.
        bins: Of the histogram.
    """
    count = max(1, round(rows))
    drawn = np.random.default_rng(0).multinomial(count, [1 / bins] * bins, size=DRAWS)
    return float(np.quantile(np.abs(drawn * (bins / count) - 1).max(axis=1), LEVEL))


def effective(weights: Array | None, rows: int) -> float:
    """The number of rows that weigh alike and tell as much."""
    return float(rows) if weights is None else float(weights.sum() ** 2 / (weights**2).sum())
