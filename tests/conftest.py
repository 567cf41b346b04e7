"""What holds for every test: one thread a process, and hypothesis without a clock."""

from __future__ import annotations

import os

# Before the first import of torch or numpy: two test processes share the machine's cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from hypothesis import settings

# No deadline: a shared machine makes any wall-clock limit on one example a coin toss.
# Derandomised: the same commit gives the same verdict.
settings.register_profile("nfopt", deadline=None, derandomize=True, database=None)
settings.load_profile("nfopt")
