"""Search a structure with an objective of your own: which column depends on which, by BIC."""

from __future__ import annotations

import numpy as np
import optuna

import nfopt
from nfopt.data import load

optuna.logging.set_verbosity(optuna.logging.WARNING)
rows = load("magic").values[:2000]
rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
COUNT, D = rows.shape


def bic(trial: optuna.Trial) -> float:
    """A Gaussian network: each column is regressed on its parents (Schwarz 1978)."""
    parents = nfopt.suggest_parents(trial, "network", D, most=4, encoding="packed")
    score = 0.0
    for column, others in enumerate(parents):
        known = np.column_stack([np.ones(COUNT), rows[:, list(others)]])
        rest = rows[:, column] - known @ np.linalg.lstsq(known, rows[:, column], rcond=None)[0]
        score += COUNT * np.log(np.mean(rest**2)) + len(others) * np.log(COUNT)
    return float(score / COUNT)


for sampler in (optuna.samplers.RandomSampler(seed=0), nfopt.EvolutionSampler(seed=0)):
    study = optuna.create_study(sampler=sampler)
    study.optimize(bic, n_trials=150)
    print(f"{type(sampler).__name__:<17} BIC a row after 150 trials: {study.best_value:.3f}")

# what the parameters mean stands in the study, so any worker's sampler knows it
print(study.user_attrs)
made = {trial.user_attrs["nfopt:origin"]["operator"].split("+")[0] for trial in study.trials}
print("trials were made by", ", ".join(sorted(made)))
best = nfopt.suggest_parents(study.best_trial, "network", D, most=4)
print("parents of each column:", dict(enumerate(best)))
