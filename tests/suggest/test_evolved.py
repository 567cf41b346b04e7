"""What anyone's objective suggests is searched as masks and edges, wherever the study goes on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FixedTrial, TrialState

from nfopt.evolution.operators.table import OPERATORS
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.trials import ORIGIN

from .objectives import OBJECTIVES, depth, graph, layers

MASKS = {"flips", "swap", "columns", "complement", "redraw", "exchange_layers"}
EDGES = {"add_edges", "remove_edges", "redirect_edges", "budgets"}
ORDERS = {"reverse_order", "insert_in_order", "swap_in_order"}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def run(name: str, trials: int, sampler: BaseSampler | None = None, **more: object) -> optuna.Study:
    study = optuna.create_study(sampler=sampler or EvolutionSampler(seed=0), **more)
    study.optimize(OBJECTIVES[name], n_trials=trials)
    return study


def operators(study: optuna.Study, first: int = 0) -> Counter[str]:
    origins = [trial.user_attrs.get(ORIGIN, {}) for trial in study.trials[first:]]
    return Counter(name for made in origins for name in made.get("operator", "").split("+"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("layers", MASKS),
        ("depth", MASKS),
        ("graph", EDGES | ORDERS),
        ("either", {"part", "flips", "swap"}),
    ],
)
def test_masks_and_edges_have_their_own_operators(name: str, expected: set[str]) -> None:
    study = run(name, 45)
    made = operators(study)
    assert made.keys() >= expected - {"complement", "redraw", "swap_in_order", "exchange_layers"}
    of_masks = sum(made[name] for name in expected)
    assert of_masks >= 15
    # no word of bits is a number to take steps in
    words = [p for p in study.trials[-1].params if ".mask" in p or ".edges" in p]
    assert words
    assert made.keys() <= OPERATORS.keys() | {"", "first", "random", "replicate"}


@pytest.mark.parametrize("name", ["layers", "depth", "graph"])
def test_they_are_better_than_chance(name: str) -> None:
    """Bits that were numbers to the evolution are not: the last trials are as bad as the first."""
    evolved, drawn = run(name, 60), run(name, 60, RandomSampler(seed=0))
    assert evolved.best_value < 0.7 * drawn.best_value
    last = np.median([trial.value for trial in evolved.trials[-20:]])
    assert last < np.median([trial.value for trial in drawn.trials])


def test_masks_of_which_no_data_are_known_begin_at_random() -> None:
    """Named designs are so much alike that the model learns little from them."""
    begun = [run("layers", 10, EvolutionSampler(seed=seed)) for seed in (0, 1)]
    assert all(operators(study, first=1) == {"random": 9} for study in begun)
    one, other = ({tuple(t.params.items()) for t in study.trials} for study in begun)
    assert not one & other


def test_masks_that_a_trial_lacks_tell_no_two_apart() -> None:
    study = run("depth", 50)
    seen = Counter(
        tuple(sorted(trial.params.items()))
        for trial in study.trials
        if not trial.user_attrs.get(ORIGIN, {}).get("replicate")
    )
    assert max(seen.values()) == 1, "a mutation of a mask that is not used is a wasted trial"
    for trial in study.trials:
        assert sum(".mask" in p for p in trial.params) == trial.params["depth"]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_sampler_made_anew_goes_on_the_same(name: str) -> None:
    whole = [trial.params for trial in run(name, 27).trials]
    study = run(name, 13)
    for trials in (8, 6):
        study.sampler = EvolutionSampler(seed=0)
        study.optimize(OBJECTIVES[name], n_trials=trials)
    assert [trial.params for trial in study.trials] == whole


ANOTHER = """
import optuna, sys
from nfopt.samplers import EvolutionSampler
sys.path.insert(0, {tests!r})
from suggest.objectives import layers
study = optuna.load_study(study_name="s", storage={url!r}, sampler=EvolutionSampler(seed=0))
study.optimize(layers, n_trials=4)
"""


def test_another_process_goes_on_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    whole = run("layers", 16)
    study = run("layers", 12, storage=url, study_name="s")
    code = ANOTHER.format(tests=str(Path(__file__).parents[1]), url=url)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [trial.params for trial in study.trials] == [trial.params for trial in whole.trials]
    assert operators(study, 12).keys() & MASKS


def test_threads_share_it() -> None:
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    study.optimize(depth, n_trials=30, n_jobs=4)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert sum(operators(study)[name] for name in MASKS) >= 8


def test_two_workers_each_learn_what_the_other_suggests() -> None:
    """The one of two samplers whose trials have two layers is told of the third by the study."""
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    other = optuna.load_study(study_name=study.study_name, storage=study._storage)
    other.sampler = EvolutionSampler(seed=1)
    for _ in range(12):
        study.optimize(depth, n_trials=1)
        other.optimize(depth, n_trials=1)
    asked = other.sampler.infer_relative_search_space(other, study.trials[-1])
    assert {f"layer_{n}.mask" for n in range(1, 7)} <= asked.keys()


def test_a_copy_of_a_study_is_gone_on_with() -> None:
    storage = optuna.storages.InMemoryStorage()
    run("graph", 12, storage=storage, study_name="a")
    optuna.copy_study(
        from_study_name="a", from_storage=storage, to_storage=storage, to_study_name="b"
    )
    study = optuna.load_study(study_name="b", storage=storage, sampler=EvolutionSampler(seed=0))
    study.optimize(graph, n_trials=8)
    assert operators(study, 12).keys() & EDGES


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_best_trial_can_be_looked_at_again(name: str) -> None:
    objective = OBJECTIVES[name]
    for sampler in (EvolutionSampler(seed=0), RandomSampler(seed=0)):  # both encodings
        study = run(name, 12, sampler)
        assert objective(study.best_trial) == study.best_value  # type: ignore[arg-type]
        assert objective(FixedTrial(study.best_params)) == study.best_value  # type: ignore[arg-type]


def test_what_is_enqueued_is_tried() -> None:
    study = optuna.create_study(sampler=EvolutionSampler(seed=0))
    best = {"rate": 1e-2} | dict(zip([f"layer_{n}.mask" for n in range(1, 5)],
                                     (170, 85, 240, 15), strict=True))  # fmt: skip
    study.enqueue_trial(best)
    study.optimize(layers, n_trials=20)
    assert study.trials[0].value == 0.0
    assert {0} & {n for t in study.trials[2:] for n in t.user_attrs[ORIGIN]["parents"]}
