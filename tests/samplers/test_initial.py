"""First members of a search over edges: the most dependent parents, along an order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import optuna

from nfopt.evolution.genome.genome import Genome
from nfopt.samplers import EvolutionSampler
from nfopt.samplers.codec import Codec
from nfopt.samplers.initial import design_names, designed, strength
from nfopt.samplers.trials import ORIGIN
from nfopt.space import SearchSpace
from nfopt.spec import Autoregressive

from .spaces import FIXED

FREE = {**FIXED, "kind": "adjacency", "depth": 1, "orders": "searched"}


def chained(features: int = 6) -> np.ndarray:
    """Each feature follows the one behind it: the last is the root."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(400, features))
    for feature in reversed(range(features - 1)):
        values[:, feature] += 2 * values[:, feature + 1]
    return values


def test_designs_of_edges_are_drawn_by_the_data() -> None:
    for limits in ({"kind": "adjacency", "edges": True}, FREE):
        space = SearchSpace.for_data(chained(), limits=limits)
        weights = strength(space)
        assert weights is not None
        assert weights[2].argmax() in (1, 3)
        codec = Codec(space.distributions(), space)
        names = design_names(codec)
        assert {"all_parents", "parents_1", "parents_4"} <= set(names)
        assert ("ordered_parents_2" in names) is (limits is FREE)


def test_designs_with_a_free_order_keep_the_strongest_predecessors() -> None:
    space = SearchSpace.for_data(chained(), limits=FREE)
    codec = Codec(space.distributions(), space)
    assert space.guide is not None
    rng = np.random.default_rng(0)
    like = codec.layout.repaired(Genome(codec.layout.inactive_values))
    for name, order in (("parents_1", range(6)), ("ordered_parents_1", space.guide.order)):
        genome = designed(codec, name, like, rng)
        assert genome.order is not None
        assert genome.parents is not None
        assert tuple(genome.order) == tuple(order)
        # along any order of a chain's features all but the first have a parent
        assert sorted(genome.parents.sum(axis=1)) == [0, 1, 1, 1, 1, 1]


def test_an_order_that_has_no_name_is_searched() -> None:
    """A planted chain in a scrambled order; each edge too many or missing costs 1."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = SearchSpace.create(6, 300, limits=FREE)
    planted = np.zeros((6, 6), dtype=bool)
    scrambled = (3, 0, 5, 1, 4, 2)
    for parent, child in pairwise(scrambled):
        planted[child, parent] = True

    def off(trial: optuna.Trial) -> float:
        (layer,) = space.suggest(trial).flow.layers
        assert isinstance(layer, Autoregressive)
        return float((layer.adjacency() != planted).sum())

    best = {}
    for name, sampler in (
        ("evolution", EvolutionSampler(space, seed=0)),
        ("random", optuna.samplers.RandomSampler(seed=0)),
    ):
        study = optuna.create_study(sampler=sampler)
        study.optimize(off, n_trials=150)
        best[name] = study.best_value
    assert best["evolution"] < best["random"]
    assert best["evolution"] <= 1
    study = optuna.create_study(sampler=EvolutionSampler(space, seed=0))
    study.optimize(off, n_trials=60)
    made = {trial.user_attrs.get(ORIGIN, {}).get("operator", "") for trial in study.trials}
    assert made & {"reverse_order", "insert_in_order", "swap_in_order"}
    assert made & {"add_edges", "remove_edges", "redirect_edges"}
