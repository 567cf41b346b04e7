"""Masks suggested in anyone's objective, beside the same bits as numbers, TPE and random draws.

    python studies/mask_table/suggested.py                       # both tables, with noise: an hour
    python studies/mask_table/suggested.py --seeds 8 16 --methods masks bits
    python studies/mask_table/suggested.py --no-noise

On the OptunaHub benchmark of this repository, each sampler from nothing; regret of the best trial.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optunahub import load_local_module

import nfopt

PACKAGE = Path(__file__).parents[2] / "optunahub" / "package"
METHODS = ("masks", "bits", "tpe", "random")


def sampler(method: str, seed: int) -> optuna.samplers.BaseSampler:
    """Give the sampler of a method."""
    if method == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if method == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return nfopt.EvolutionSampler(seed=seed)


def regret(problem: Any, method: str, seed: int, trials: int) -> float:
    """Optimise once; give the regret of the best trial: 0 is the best known, 1 random pairs."""
    study = optuna.create_study(directions=problem.directions, sampler=sampler(method, seed))

    def bits(trial: optuna.Trial) -> float:
        """The same parameters, of which nothing says that they are letters of masks."""
        params = {name: trial.suggest_int(name, 0, 1) for name in problem.search_space}
        return float(problem.evaluate(params))

    study.optimize(bits if method == "bits" else problem, n_trials=trials)
    return float(problem.regret(study.best_params))


def main() -> None:
    """Print mean and standard error over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tables", nargs="+", default=["htru2", "higgs35k"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--seeds", nargs=2, type=int, default=(0, 5), metavar=("FROM", "BELOW"))
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--no-noise", action="store_true")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    module = load_local_module("benchmarks/nfopt_mask_table", registry_root=str(PACKAGE))
    for method in given.methods:
        for name in given.tables:
            found = [
                regret(
                    module.MaskTable(name, seed=seed, noise=not given.no_noise),
                    method,
                    seed,
                    given.trials,
                )
                for seed in range(*given.seeds)
            ]
            spread = np.std(found, ddof=1) / len(found) ** 0.5 if len(found) > 1 else np.nan
            print(f"{method}, {name}: {np.mean(found):.3f} ± {spread:.3f}", flush=True)


if __name__ == "__main__":
    main()
