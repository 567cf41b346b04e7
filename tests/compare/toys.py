"""Rivals that fit in no time, and a table for them."""

from __future__ import annotations

import itertools

import numpy as np

from nfopt.compare.rival import Clock, Fitted, Rival
from nfopt.data import Part, Prepared, load, prepare, split


def table(rows: int = 300, *, context: bool = False) -> Prepared:
    """Three columns, the last one an exponential of the others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 3))
    x[:, 2] = np.exp(0.5 * x[:, 2] + x[:, 0])
    loaded = load(x, context=[0] if context else None)
    return prepare(loaded, split(loaded, seed=0), 0)


def ticking(seconds: float, tick: float) -> Clock:
    """A clock on which each look takes the same time, so that machines are equally fast."""
    looks = itertools.count()
    return Clock(seconds, lambda: tick * next(looks))


def normal(data: Prepared, shift: float = 0.0, holes: int = 0) -> Fitted:
    """A standard normal on mapped columns, moved; the first rows of each part have no density."""

    def log_prob(part: Part) -> np.ndarray:
        z = part.z.astype(np.float64) - shift
        scores = part.logdet - 0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1)
        scores[:holes] = -np.inf
        return scores

    nll = -float(np.mean(log_prob(data.part("val"))[holes:]))
    return Fitted(log_prob, lambda count: np.zeros(count), 6, "normal", [(0.5, nll + 1), (1, nll)])


def rival(name: str, shift: float = 0.0, holes: int = 0, **more: object) -> Rival:
    """A rival that is `normal`."""

    def fit(data: Prepared, clock: Clock, seed: int) -> Fitted:
        return normal(data, shift, holes)

    return Rival(name, f"toy {name}", fit, **more)  # type: ignore[arg-type]


def broken(data: Prepared, clock: Clock, seed: int) -> Fitted:
    """Fail as a peer may."""
    raise RuntimeError("no luck\nand a second line")


BROKEN = Rival("broken", "fails", broken)
ABSENT = rival("absent", needs=("no_such_package_anywhere",))
