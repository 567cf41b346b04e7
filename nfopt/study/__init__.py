"""Studies: create, run and resume them; plain Optuna on the outside.

study.optimize(Objective(data, space), n_trials=100)      any sampler, one flow at a time
run_search(source, Budget(minutes=10))                    populations, retraining, a saved flow
load_study(name, storage)                                 with the sampler that it was made with
"""

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
