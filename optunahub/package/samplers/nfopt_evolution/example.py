"""A noisy function of mixed parameters, and a structure that is searched bit by bit."""

import optuna
import optunahub

module = optunahub.load_module("samplers/nfopt_evolution")


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 8)
    kind = trial.suggest_categorical("kind", ["relu", "tanh", "silu"])
    return (x - 1) ** 2 + abs(rate - 1e-3) * 100 + (layers - 4) ** 2 / 10 + (kind != "silu")


study = optuna.create_study(sampler=module.EvolutionSampler(seed=0))
study.optimize(objective, n_trials=100)
print(study.best_trial.value, study.best_trial.params)
