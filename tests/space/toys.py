"""Search spaces of every kind, data to make them for, and random trials of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna

from nfopt.space import SearchSpace
from nfopt.spec import Affine, Conditioner, Coupling

optuna.logging.set_verbosity(optuna.logging.WARNING)

EVERYTHING = ["coupling", "autoregressive", "elementwise", "planar", "radial", "identity"]
MIXING = ["none", "reverse", "permutation", "lu", "reverse_lu", "permutation_lu"]
MAPS = ["additive", "affine", "spline"]

# Each kind of space is one line; the contract in test_search_space.py runs over all of them.
SPACES: dict[str, dict[str, Any]] = {
    "coupling": {"kind": "coupling"},
    "coupling, bits": {"kind": "coupling", "encoding": "bits", "depth": [1, 3]},
    "coupling, each mask its own": {"kind": "coupling", "pairs": False},
    "coupling, idle": {"kind": "coupling", "idle": True, "mixing": "none"},
    "coupling, idle, bits": {"kind": "coupling", "idle": True, "encoding": "bits", "depth": 2},
    "coupling, all mixing": {"kind": "coupling", "mixing": MIXING},
    "layers": {"kind": "layers"},
    "layers, all kinds": {"kind": "layers", "layers": EVERYTHING, "mixing": MIXING},
    "layers, all designs": {
        "kind": "layers",
        "masks": ["parity", "halves", "binary_code", "dependence"],
    },
    "adjacency": {"kind": "adjacency"},
    "adjacency, all mixing": {"kind": "adjacency", "mixing": MIXING},
    "adjacency, few parents": {"kind": "adjacency", "parents": [1, 2]},
    "adjacency, edges": {"kind": "adjacency", "edges": True, "mixing": MIXING},
    "adjacency, edges, bits": {"kind": "adjacency", "edges": True, "encoding": "bits"},
    "adjacency, a free order": {"kind": "adjacency", "orders": "searched", "mixing": MIXING},
    "adjacency, there and back, bits": {
        "kind": "adjacency",
        "orders": ["searched_reverse", "searched"],
        "encoding": "bits",
    },
    "full": {},
    "full, all kinds": {"layers": EVERYTHING, "mixing": MIXING, "maps": MAPS},
    "full, idle and edges": {"idle": True, "edges": True, "mixing": ["none", "lu"]},
    "full, training": {
        "steps": [100, 1000],
        "clip": [1, 10],
        "patience": [0, 5],
        "optimiser": ["adam", "adamw"],
        "schedule": ["cosine", "one_cycle"],
        "base": ["normal", "student_t"],
        "bound": [3, 8],
    },
}


def data(D: int, n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(D)
    return rng.normal(size=(n, D)) @ rng.normal(size=(D, D))


def make(name: str, D: int) -> SearchSpace:
    return SearchSpace.for_data(data(D), limits=SPACES[name])


def trials(space: SearchSpace, count: int, seed: int = 0) -> list[optuna.trial.Trial]:
    sampler = optuna.samplers.RandomSampler(seed=seed)
    study = optuna.create_study(sampler=sampler)
    return [study.ask() for _ in range(count)]


def coupling(mask: str, **options: Any) -> Coupling:
    return Coupling(mask=mask, map=options.pop("map", Affine()), conditioner=Conditioner(**options))
