"""Hand a trained flow on to zuko: an ordinary zuko flow (needs `pip install -e ".[zuko]"`)."""

from __future__ import annotations

import numpy as np
import torch

import nfopt
from nfopt.data import load
from nfopt.export import export_zuko, write_zuko

flow = nfopt.fit("moons", minutes=0.2, out="nfopt-runs/example-zuko").flow
x = load("moons").values[:1000]

zuko_flow = export_zuko(flow)
print(f"{type(zuko_flow).__module__}.{type(zuko_flow).__name__}")
with torch.no_grad():
    theirs = zuko_flow().log_prob(torch.from_numpy(x)).numpy()
    new = zuko_flow().sample((3,))
print(f"greatest difference of log_prob over {len(x):,} rows:"
      f" {np.abs(theirs - flow.log_prob(x)).max():.1e} nats")  # fmt: skip
print(f"three rows drawn by zuko:\n{new.numpy().round(2)}")

# for others: three files that load without nfopt
print(f"written: {write_zuko(flow, 'nfopt-runs/example-zuko/zuko')}")
