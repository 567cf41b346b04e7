"""A conditional flow: the density of some columns given others."""

from __future__ import annotations

import numpy as np
import pandas as pd

import nfopt

# the resolution of a toy detector: both measured columns become sharper with the energy
rng = np.random.default_rng(0)
energy = rng.uniform(1.0, 10.0, 4000)
width = 1.0 / np.sqrt(energy)
frame = pd.DataFrame(
    {
        "energy": energy,
        "measured": energy + width * rng.normal(size=4000),
        "angle": 0.3 * np.sin(energy) + 0.2 * width * rng.normal(size=4000),
    }
)

result = nfopt.fit(frame, context=["energy"], minutes=0.4, out="nfopt-runs/example-conditional")
print(result.flow)
for value in (2.0, 8.0):
    new = result.flow.sample(4000, context=[value], seed=0)
    print(
        f"given energy {value}: measured has mean {new[:, 0].mean():.2f} and spread"
        f" {new[:, 0].std():.2f}; true are {value:.2f} and {1 / np.sqrt(value):.2f}"
    )

# columns are found by name, those of the context too
print("log-density of the first three rows:", result.flow.log_prob(frame.head(3)).round(2))
