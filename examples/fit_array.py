"""Fit a flow to an array without a search; score rows, draw new ones, save and load."""

from __future__ import annotations

import numpy as np

import nfopt

# 4,000 rows of three columns whose density is known: two of them follow the first
rng = np.random.default_rng(0)
noise = rng.normal(size=(4000, 3))
x = noise * [1.0, 0.2, 0.5]
x[:, 1] += np.sin(2 * x[:, 0])
x[:, 2] += x[:, 0] ** 2
truth = -0.5 * (noise**2).sum(axis=1) - 1.5 * np.log(2 * np.pi) - np.log(0.2 * 0.5)

result = nfopt.fit(x, minutes=0.4, out="nfopt-runs/example-fit")
print(result.flow)
print(f"test log-likelihood: {-result.test_nll:.3f} ± {result.test_nll_2se:.3f} nats a row")
print(f"the true density has {truth.mean():.3f} on all rows")

flow = nfopt.load("nfopt-runs/example-fit")  # the folder is all that is needed
new = flow.sample(2000, seed=1)
print(f"loaded again: the same scores: {np.allclose(flow.log_prob(x), result.flow.log_prob(x))}")
print(f"correlation of column 2 with the square of column 0: in the data"
      f" {np.corrcoef(x[:, 0] ** 2, x[:, 2])[0, 1]:.2f}, in new rows"
      f" {np.corrcoef(new[:, 0] ** 2, new[:, 2])[0, 1]:.2f}")  # fmt: skip

far = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
print(f"log-density of a likely and of an odd row: {flow.log_prob(far).round(1)}")
