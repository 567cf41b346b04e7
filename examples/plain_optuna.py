"""Use nfopt's objective in a plain Optuna study, with any sampler and pruner of Optuna."""

from __future__ import annotations

import optuna

import nfopt

optuna.logging.set_verbosity(optuna.logging.WARNING)
# a short training a trial; TPE gets a parameter for each bit of a mask, the evolution whole words
objective = nfopt.Objective("moons", share=0.03)
study = optuna.create_study(
    direction="minimize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
)
study.optimize(objective, n_trials=6)

for trial in study.trials:
    value = "-" if trial.value is None else f"{trial.value:.3f}"
    print(f"trial {trial.number}: {trial.state.name:<8} validation NLL {value}")

bits = [name for name in study.best_params if ".mask." in name]
print(f"\n{len(bits)} bits of masks, among them {', '.join(bits[:2])}")

# the best trial's parameters are a flow and its training, as plain data
recipe = objective.space.build(study.best_params)
print(f"\nbest: {recipe.flow.summary()}, learning rate {recipe.train.learning_rate:.1e}")
result = nfopt.fit("moons", flow=recipe, minutes=0.2, out="nfopt-runs/example-optuna")
print(f"trained for 12 seconds: test NLL {result.test_nll:.3f} ± {result.test_nll_2se:.3f}")
