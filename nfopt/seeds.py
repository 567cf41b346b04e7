"""Seeds of a study's parts, derived from its one seed, so that no part disturbs another."""

from __future__ import annotations

import numpy as np
import torch

SAMPLER, WEIGHTS, BATCHES, RETRAIN, SUBSAMPLE, FOLDS = range(6)


def derive(seed: int, *path: int) -> int:
    """Derive a seed of 32 bits, by NumPy's SeedSequence, for a part of a study.

    Args:
        seed: Of the study, at least 0.
        path: One of the constants above, then trial number or the like.
    """
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU."""
    return torch.Generator().manual_seed(seed)
