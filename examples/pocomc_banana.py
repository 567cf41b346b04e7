"""Give pocoMC a structure that nfopt found: the evidence of a banana-shaped posterior.

Needs `pip install -e ".[zuko]" pocomc`. pocoMC trains the flow itself, on its own particles; nfopt
says which flow, from an earlier posterior of the same kind.
"""

from __future__ import annotations

import numpy as np
import pocomc
import scipy.stats

import nfopt
from nfopt.export import factory

WIDTH, BEND = 0.3, 1.5  # of the banana, and how far it reaches along its first axis
LOW, HIGH = np.array([-6.0, -5.0]), np.array([6.0, 25.0])


def log_likelihood(x: np.ndarray) -> np.ndarray:
    """A ridge along the parabola x1 = x0^2; rows (n, 2) to nats (n,)."""
    return -0.5 * ((x[:, 1] - x[:, 0] ** 2) / WIDTH) ** 2 - 0.5 * (x[:, 0] / BEND) ** 2


# an earlier posterior, of which there are rows: somewhat wider
rng = np.random.default_rng(0)
first = rng.normal(0, 1.2 * BEND, 4000)
earlier = np.stack([first, first**2 + rng.normal(0, 1.5 * WIDTH, 4000)], axis=1)
result = nfopt.search(
    earlier,
    trials=4,
    study="example-banana",
    space={"kind": "coupling", "depth": [2, 4], "width": 32, "steps": 400},
)
print(result.flow)

make = factory(result.flow)  # (features, context) to an untrained zuko flow
prior = pocomc.Prior(
    [scipy.stats.uniform(low, high - low) for low, high in zip(LOW, HIGH, strict=True)]
)
sampler = pocomc.Sampler(
    prior=prior,
    likelihood=log_likelihood,
    vectorize=True,
    flow=make(2),
    n_effective=512,
    n_active=256,
    random_state=0,
)
sampler.run(n_total=2048, n_evidence=2048, progress=False)
found, error = sampler.evidence()

axes = [np.linspace(low, high, 3001) for low, high in zip(LOW, HIGH, strict=True)]
grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
exact = np.log(np.exp(log_likelihood(grid)).mean())
print(f"log evidence by pocoMC: {found:.2f} ± {error:.2f}, by a grid: {exact:.2f}")
assert abs(found - exact) < 0.5
