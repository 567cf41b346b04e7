"""What a trial costs in Optuna, in milliseconds of CPU, beside so many finished trials in memory.

Ask, suggest 20 parameters and tell, for EvolutionSampler and Optuna's own samplers in one run. The
objective is smooth with noise, so the evolution's screening model predicts: the dear case.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from nfopt.samplers import EvolutionSampler

TWENTY: dict[str, BaseDistribution] = {
    **{f"real_{n}": FloatDistribution(0.0, 1.0) for n in range(10)},
    **{f"whole_{n}": IntDistribution(1, 64, log=True) for n in range(5)},
    **{f"choice_{n}": CategoricalDistribution(("a", "b", "c", "d")) for n in range(5)},
}
SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "evolution": lambda: EvolutionSampler(seed=0),
    "classic": lambda: EvolutionSampler(seed=0, preset="classic"),
    "tpe": lambda: TPESampler(seed=0),
    "nsga2": lambda: NSGAIISampler(seed=0),
    "random": lambda: RandomSampler(seed=0),
}


def value(params: dict[str, Any], rng: np.random.Generator) -> float:
    reals = sum((x - 0.3) ** 2 for n, x in params.items() if n.startswith("real"))
    wholes = sum(x / 64 for n, x in params.items() if n.startswith("whole"))
    choices = sum("abcd".index(x) / 4 for n, x in params.items() if n.startswith("choice"))
    return float(reals + wholes + choices + 0.05 * rng.normal())


def filled(finished: int, rng: np.random.Generator) -> optuna.Study:
    study = optuna.create_study()
    random = RandomSampler(seed=1)
    blank = study._storage.get_trial(study._storage.create_new_trial(study._study_id))
    for _ in range(finished):
        params = {n: random.sample_independent(study, blank, n, d) for n, d in TWENTY.items()}
        done = optuna.create_trial(params=params, distributions=TWENTY, values=[value(params, rng)])
        study._storage.create_new_trial(study._study_id, done)
    return study


def measure(sampler: BaseSampler, finished: int, trials: int) -> tuple[float, float]:
    """CPU milliseconds of a trial, and of the first one, which reads the study."""
    rng = np.random.default_rng(0)
    study = filled(finished, rng)
    study.sampler = sampler

    def one() -> float:
        start = time.process_time()
        trial = study.ask(TWENTY)
        spent = time.process_time() - start
        found = value(trial.params, rng)
        start = time.process_time()
        study.tell(trial, found)
        return spent + time.process_time() - start

    first = one()
    return 1e3 * float(np.mean([one() for _ in range(trials)])), 1e3 * first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--samplers", nargs="+", default=list(SAMPLERS), choices=SAMPLERS)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("| sampler | finished | a trial, ms | the first, ms |")
    print("|---|---|---|---|")
    for name in options.samplers:
        for finished in options.finished:
            each, first = measure(SAMPLERS[name](), finished, options.trials)
            print(f"| {name} | {finished:,} | {each:.1f} | {first:.0f} |", flush=True)


if __name__ == "__main__":
    main()
