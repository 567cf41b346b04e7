"""Data made with a seed: moons, rings, and a sparse nonlinear graph whose density is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_MAX_PARENTS = 3
_RINGS = 3


def moons(rows: int, seed: int, noise: float = 0.08) -> Array:
    """Make two interleaved half circles of radius 1 with Gaussian noise, shape (rows, 2)."""
    rng = np.random.default_rng([seed, 0])
    upper = rng.random(rows) < 0.5
    angle = rng.uniform(0.0, np.pi, rows)
    x = np.where(upper, np.cos(angle), 1.0 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return np.column_stack([x, y]) + rng.normal(scale=noise, size=(rows, 2))


def rings(rows: int, seed: int, noise: float = 0.08) -> Array:
    """Make three concentric circles of radius 1, 2 and 3 with Gaussian noise, shape (rows, 2)."""
    rng = np.random.default_rng([seed, 1])
    radius = 1.0 + rng.integers(_RINGS, size=rows)
    angle = rng.uniform(0.0, 2.0 * np.pi, rows)
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    return points + rng.normal(scale=noise, size=(rows, 2))


@dataclass(frozen=True, eq=False)
class SparseGraph:
    """A density that factors over a sparse acyclic graph, each factor nonlinear.

    Feature i given its parents is m_i + s_i e_i. The location m_i is a sum of sines of the
    parents, log s_i a bounded function of them, and e_i has the two-component normal mixture
    (N(-g_i, 1 - g_i^2) + N(g_i, 1 - g_i^2)) / 2, of mean 0 and variance 1; g_i is 0 for about
    half of the features. The order of the columns says nothing of the order of the graph.

    Attributes:
        adjacency: Shape (D, D), True at (i, j) where feature i depends directly on feature j.
        order: The features so that each one's parents come before it.
    """

    adjacency: NDArray[np.bool_]
    order: tuple[int, ...]
    amplitude: Array
    frequency: Array
    phase: Array
    spread: Array
    gap: Array

    @property
    def features(self) -> int:
        """D."""
        return len(self.order)

    def _location_and_scale(self, feature: int, x: Array) -> tuple[Array, Array]:
        parents = np.flatnonzero(self.adjacency[feature])
        values = x[:, parents]
        waves = np.sin(self.frequency[feature, parents] * values + self.phase[feature, parents])
        location = waves @ self.amplitude[feature, parents]
        tilt = values @ self.spread[feature, parents]
        return location, np.exp(0.7 * np.tanh(tilt) - 0.7)

    def sample(self, rows: int, seed: int) -> Array:
        """Draw independent rows, shape (rows, D)."""
        rng = np.random.default_rng([seed, 2])
        x = np.zeros((rows, self.features))
        for feature in self.order:
            gap = self.gap[feature]
            sign = rng.choice([-1.0, 1.0], size=rows)
            noise = sign * gap + np.sqrt(1.0 - gap**2) * rng.normal(size=rows)
            location, scale = self._location_and_scale(feature, x)
            x[:, feature] = location + scale * noise
        return x

    def log_prob(self, x: Array) -> Array:
        """Give the exact log-density in nats of rows of shape (n, D), shape (n,)."""
        x = np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ValueError(f"`x` must have shape (n, {self.features}), not {x.shape}")
        total = np.zeros(len(x))
        for feature in self.order:
            location, scale = self._location_and_scale(feature, x)
            noise = (x[:, feature] - location) / scale
            gap = self.gap[feature]
            variance = 1.0 - gap**2
            both = np.logaddexp(
                -((noise - gap) ** 2) / (2.0 * variance), -((noise + gap) ** 2) / (2.0 * variance)
            )
            total += both - np.log(2.0) - 0.5 * np.log(2.0 * np.pi * variance) - np.log(scale)
        return total


def sparse_graph(features: int = 16, seed: int = 3) -> SparseGraph:
    """Make a sparse nonlinear graph of D features.

    Args:
        features: D, at least 1. Each feature has at most three parents.
        seed: Fixes the graph and its functions.
    """
    if features < 1:
        raise ValueError(f"`features` must be at least 1, not {features}")
    rng = np.random.default_rng([seed, features, 3])
    order = rng.permutation(features)
    adjacency = np.zeros((features, features), dtype=np.bool_)
    for position in range(1, features):
        count = min(position, int(rng.integers(1, _MAX_PARENTS + 1)))
        adjacency[order[position], rng.choice(order[:position], size=count, replace=False)] = True
    shape = (features, features)
    gap = np.where(rng.random(features) < 0.5, 0.0, rng.uniform(0.7, 0.9, features))
    return SparseGraph(
        adjacency=adjacency,
        order=tuple(int(feature) for feature in order),
        amplitude=rng.choice([-1.0, 1.0], shape) * rng.uniform(0.6, 1.2, shape),
        frequency=rng.uniform(1.0, 2.5, shape),
        phase=rng.uniform(0.0, 2.0 * np.pi, shape),
        spread=rng.normal(scale=1.0, size=shape),
        gap=gap,
    )
