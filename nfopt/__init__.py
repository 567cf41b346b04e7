"""nfopt: find the structure and the hyperparameters of a normalizing flow for a table of data.

The public names load their modules on first use (PEP 562), so that importing nfopt stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.2.0"

_HOME = {
    "AutoNFObjective": "nfopt.runner.autonf.objective",
    "EvolutionSampler": "nfopt.samplers",
    "Flow": "nfopt.model",
    "FlowSpec": "nfopt.spec",
    "Objective": "nfopt.study.objective",
    "RungPruner": "nfopt.samplers.pruning",
    "SearchSpace": "nfopt.space",
    "Recipe": "nfopt.spec",
    "TrainSpec": "nfopt.spec",
    "conditional": "nfopt.suggest",
    "fit": "nfopt.api",
    "load": "nfopt.api",
    "load_study": "nfopt.api",
    "search": "nfopt.api",
    "suggest_flow": "nfopt.suggest",
    "suggest_mask": "nfopt.suggest",
    "suggest_parents": "nfopt.suggest",
}

_EXTRA = dict.fromkeys(("FlowDensity", "FlowOutlier", "FlowSearch"), "nfopt.estimators")
"""What needs more than nfopt does: `import *` leaves it out."""

__all__ = ["__version__", *_HOME]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOME.get(name) or _EXTRA.get(name)
        if home is None:
            raise AttributeError(f"module 'nfopt' has no attribute {name!r}")
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted([*__all__, *_EXTRA])
