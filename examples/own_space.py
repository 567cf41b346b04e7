"""Limit what is searched: a TOML file, the same in Python, and what a space gives."""

from __future__ import annotations

import tempfile
from pathlib import Path

import optuna

import nfopt
from nfopt.data import load
from nfopt.space import read_limits

optuna.logging.set_verbosity(optuna.logging.WARNING)
LIMITS = """
kind = "coupling"            # masks are searched; depth, width, maps and training too
depth = [2, 4]               # a range
width = 32                   # a single value: not searched
maps = ["affine", "spline"]  # choices
idle = true                  # masks may have features that a layer neither reads nor changes
pairs = false
learning_rate = [1e-3, 1e-2]
steps = 700
"""

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "space.toml"
    path.write_text(LIMITS)
    limits = read_limits(path)
    # what the command line calls `nfopt search DATA --space space.toml --trials 12`
    result = nfopt.search("sparse_graph:D=5,n=3000", trials=12, space=path, study="example-own")
print(f"after 12 trials: {result.flow.specs[0].summary()}, test NLL {result.test_nll:.3f}")
print("its masks:", ", ".join(getattr(layer, "mask", "-") for layer in result.flow.specs[0].layers))

# the same space as an object: from data and limits to parameters, flows, and back
space = nfopt.SearchSpace.for_data(load("sparse_graph:D=5,n=3000").values, limits=limits)
print(f"\n{len(space.parameters)} parameters, {space.mask_bits} bits of masks:")
for name, domain in space.parameters.items():
    print(f"  {name:<16} {domain}")
trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
recipe = space.suggest(trial)
assert space.build(space.params_of(recipe)) == recipe
print(f"a random flow of it: {recipe.flow.summary()}, {recipe.flow.parameter_count():,} parameters")
