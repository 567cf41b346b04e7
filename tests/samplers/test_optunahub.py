"""The OptunaHub packages: what the registry asks for, and that they run where there is no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import optunahub
import pytest
from optuna.samplers import RandomSampler

from nfopt.samplers import EvolutionSampler
from nfopt.samplers.trials import ORIGIN

ROOT = Path(__file__).parents[2]
REGISTRY = ROOT / "optunahub" / "package"
PACKAGES = sorted(
    str(path.parent.relative_to(REGISTRY)) for path in REGISTRY.glob("*/*/__init__.py")
)
KEYS = ("author", "title", "description", "tags", "optuna_versions", "license")

# No part of torch can be imported; the example's module comes from the folder, not the network.
ALONE = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ImportError("no torch here")
sys.meta_path.insert(0, Without())
try:
    import torch
except ImportError:
    pass
else:
    raise SystemExit("torch was there")
import optuna, optunahub
optuna.logging.set_verbosity(optuna.logging.ERROR)
def local(package):
    return optunahub.load_local_module(package, registry_root={registry!r})
optunahub.load_module = local
code = open({example!r}).read()
exec(compile(code, "example.py", "exec"), {{"__name__": "__main__"}})
assert "torch" not in sys.modules
"""


def test_both_packages_are_looked_at() -> None:
    assert PACKAGES == ["benchmarks/nfopt_mask_table", "samplers/nfopt_evolution"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_what_the_registry_asks_for(name: str) -> None:
    package = REGISTRY / name
    for file in ("README.md", "LICENSE", "__init__.py", "example.py", "requirements.txt", "tests"):
        assert (package / file).exists(), file
    assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    front = (package / "README.md").read_text().split("---\n")[1]
    assert tuple(re.findall(r"^(\w+):", front, re.MULTILINE)) == KEYS
    assert "license: MIT License" in front


@pytest.mark.parametrize("name", PACKAGES)
def test_its_example_runs_without_torch(name: str) -> None:
    code = ALONE.format(registry=str(REGISTRY), example=str(REGISTRY / name / "example.py"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    numbers = [float(word) for word in re.findall(r"\d+\.\d+", done.stdout)]
    assert min(numbers) < 1.0


# ------------------------------------------------------------------------------------ the benchmark


@pytest.fixture(scope="module")
def problem() -> Any:
    module = optunahub.load_local_module("benchmarks/nfopt_mask_table", registry_root=str(REGISTRY))
    return module.MaskTable("htru2", noise=False)


def test_the_evolution_knows_its_masks(problem: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    best = {}
    for sampler in (EvolutionSampler(seed=0), RandomSampler(seed=0)):
        study = optuna.create_study(directions=problem.directions, sampler=sampler)
        study.optimize(problem, n_trials=60)
        assert study.best_trial.distributions == problem.search_space
        assert study.best_value == problem.truth(study.best_params)
        best[type(sampler)] = problem.regret(study.best_params)
        if isinstance(sampler, EvolutionSampler):
            made = {t.user_attrs.get(ORIGIN, {}).get("operator", "") for t in study.trials}
            assert any(name in each for each in made for name in ("swap", "flips"))
    assert best[EvolutionSampler] < best[RandomSampler]


def test_its_objective_is_what_it_evaluates(problem: Any) -> None:
    drawn = optuna.create_study(sampler=RandomSampler(seed=1)).ask(problem.search_space)
    value = problem.evaluate(drawn.params)
    assert value == problem.truth(drawn.params)
    assert problem(optuna.trial.FixedTrial(drawn.params)) == value
    assert problem.regret(drawn.params) > 0
