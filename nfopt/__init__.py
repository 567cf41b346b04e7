"""nfopt: find the structure and the hyperparameters of a normalizing flow for a table of data.

The public names load their modules on first use (PEP 562), so that importing nfopt stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers, editors and the pages of docs/api read these
    from nfopt.api import fit as fit
    from nfopt.api import load as load
    from nfopt.api import load_study as load_study
    from nfopt.api import search as search
    from nfopt.estimators import FlowDensity as FlowDensity
    from nfopt.estimators import FlowOutlier as FlowOutlier
    from nfopt.estimators import FlowSearch as FlowSearch
    from nfopt.model import Flow as Flow
    from nfopt.runner.autonf.objective import AutoNFObjective as AutoNFObjective
    from nfopt.samplers import EvolutionSampler as EvolutionSampler
    from nfopt.samplers.pruning import RungPruner as RungPruner
    from nfopt.space import SearchSpace as SearchSpace
    from nfopt.spec import FlowSpec as FlowSpec
    from nfopt.spec import Recipe as Recipe
    from nfopt.spec import TrainSpec as TrainSpec
    from nfopt.study.objective import Objective as Objective
    from nfopt.suggest import suggest_flow as suggest_flow
    from nfopt.suggest import suggest_mask as suggest_mask
    from nfopt.suggest import suggest_parents as suggest_parents
    from nfopt.suggest.conditional import conditional as conditional

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
    "conditional": "nfopt.suggest.conditional",
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
