"""Spaces and objectives that take no training, one line each."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna

from nfopt.space import SearchSpace

# Everything that is no structure, held fixed.
FIXED: dict[str, Any] = {
    "marginals": "asinh",
    "width": 8, "hidden_layers": 1, "maps": "affine", "mixing": "none", "activation": "relu",
    "residual": False, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 0.0, "dropout": 0.0,
}  # fmt: skip

SPACES: dict[str, dict[str, Any]] = {
    "coupling": {"kind": "coupling"},
    "coupling, bits": {"kind": "coupling", "encoding": "bits", "depth": [1, 3]},
    "coupling, each mask its own": {"kind": "coupling", "pairs": False, "mixing": ["none", "lu"]},
    "coupling, idle": {"kind": "coupling", "idle": True, "mixing": "none"},
    "layers, all kinds": {
        "kind": "layers",
        "layers": ["coupling", "autoregressive", "elementwise", "planar", "identity"],
        "masks": ["parity", "halves"],
    },
    "adjacency": {"kind": "adjacency"},
    "adjacency, edges": {"kind": "adjacency", "edges": True, "mixing": ["none", "permutation"]},
    "adjacency, one order": {
        "kind": "adjacency", "edges": True, "mixing": "lu", "orders": "dependence"
    },
    "adjacency, a free order": {
        "kind": "adjacency", "orders": ["searched", "searched_reverse"], "mixing": ["none", "lu"]
    },
    "full": {},
    "full, idle and edges": {
        "idle": True, "edges": True, "layers": ["coupling", "autoregressive", "identity"]
    },
}  # fmt: skip


def space_of(name: str, features: int = 5) -> SearchSpace:
    rng = np.random.default_rng(features)
    data = rng.normal(size=(200, features)) @ rng.normal(size=(features, features))
    return SearchSpace.for_data(data, limits=SPACES[name])


def masks_only(features: int, depth: int, *, pairs: bool = False, **limits: Any) -> SearchSpace:
    """A space of masks and of nothing else: features * depth bits."""
    given = {**FIXED, "depth": depth, "pairs": pairs, **limits}
    return SearchSpace.create(features, 240, kind="coupling", limits=given)


def drawn(space: SearchSpace, seed: int) -> dict[str, Any]:
    """Parameters at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask(space.distributions())
    return trial.params


def ones(trial: optuna.Trial, space: SearchSpace) -> float:
    """How many features the masks transform, layer by layer weighed; the fewer the better."""
    flow = space.suggest(trial).flow
    masks = [layer.mask for layer in flow.layers if hasattr(layer, "mask")]
    return float(sum((1 + i) * mask.count("T") for i, mask in enumerate(masks)))
