"""Two samplers on the same masks: regret, 0 is the best known, 1 a random flow."""

import optuna
import optunahub

import nfopt

MaskTable = optunahub.load_module("benchmarks/nfopt_mask_table").MaskTable
problem = MaskTable("htru2", seed=0)
for sampler in (nfopt.EvolutionSampler(seed=0), optuna.samplers.TPESampler(seed=0)):
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.optimize(problem, n_trials=40)
    print(f"{type(sampler).__name__}: regret {problem.regret(study.best_params):.2f}")
