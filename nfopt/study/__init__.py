"""Studies: create, run and resume them; plain Optuna on the outside.

study.optimize(Objective(data, space), n_trials=100)      any sampler, one flow at a time
run_search(source, Budget(minutes=10))                    populations, retraining, a saved flow
load_study(name, storage)                                 with the sampler that it was made with

The names load their modules on first use (PEP 562): whoever only opens or serves a storage has no
need of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nfopt.study.arguments import Budget, check_device
    from nfopt.study.autonf import AutoNFObjective
    from nfopt.study.deliver import run_fit, run_retrain
    from nfopt.study.objective import Objective
    from nfopt.study.results import FitResult, SearchResult
    from nfopt.study.run import run_search
    from nfopt.study.source import Source, read
    from nfopt.study.storage import DEFAULT_STORAGE, mask_text, mask_url, open_storage
    from nfopt.study.studies import load_study
    from nfopt.study.weights import kept_flow
    from nfopt.study.workers import Worked, run_worker

_HOME = {
    "DEFAULT_STORAGE": "storage",
    "AutoNFObjective": "autonf",
    "Budget": "arguments",
    "FitResult": "results",
    "Objective": "objective",
    "SearchResult": "results",
    "Source": "source",
    "Worked": "workers",
    "check_device": "arguments",
    "kept_flow": "weights",
    "load_study": "studies",
    "mask_text": "storage",
    "mask_url": "storage",
    "open_storage": "storage",
    "read": "source",
    "run_fit": "deliver",
    "run_retrain": "deliver",
    "run_search": "run",
    "run_worker": "workers",
}

__all__ = [
    "DEFAULT_STORAGE",
    "AutoNFObjective",
    "Budget",
    "FitResult",
    "Objective",
    "SearchResult",
    "Source",
    "Worked",
    "check_device",
    "kept_flow",
    "load_study",
    "mask_text",
    "mask_url",
    "open_storage",
    "read",
    "run_fit",
    "run_retrain",
    "run_search",
    "run_worker",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'nfopt.study' has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
