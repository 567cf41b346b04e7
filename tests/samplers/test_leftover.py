"""What a flow left: measured, kept with its trial, read back, and made use of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nfopt.evolution.operators.table import OPERATORS
from nfopt.evolution.pairs import MOST
from nfopt.evolution.settings import Settings
from nfopt.masks import pair_coverage, parse
from nfopt.samplers import EvolutionSampler, record_leftover
from nfopt.samplers.leftover import LEFTOVER, leftover_of, measured, packed
from nfopt.samplers.success import success
from nfopt.samplers.trials import Origin
from nfopt.space import SearchSpace

from .spaces import masks_only, space_of

DIRECTED = {name for name, operator in OPERATORS.items() if operator.directed}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def base(*pairs: tuple[int, int], features: int = 8, rows: int = 2_000) -> np.ndarray:
    """Rows in base space of which only some pairs are dependent, not linearly."""
    z = np.random.default_rng(0).normal(size=(rows, features))
    for i, j in pairs:
        z[:, j] = np.abs(z[:, i]) + 0.3 * z[:, j]
    return z.astype(np.float32)


# ---------------------------------------------------------------------------------------- measuring


def test_what_is_left_is_found_and_noise_is_not() -> None:
    found = measured(base((0, 5), (2, 3)))
    assert found is not None
    assert {*zip(found.first.tolist(), found.second.tolist(), strict=True)} == {(0, 5), (2, 3)}
    assert (found.strength > 0.3).all()
    nothing = measured(base(features=40))
    assert nothing is not None
    assert len(nothing) <= 3


def test_few_rows_say_nothing_and_wild_ones_are_left_out() -> None:
    z = base((0, 5))
    assert measured(z[:80]) is None
    z[:500, 3] = np.inf
    z[500:600, 0] = np.nan
    found = measured(z)
    assert found is not None
    assert (found.first.tolist(), found.second.tolist()) == ([0], [5])
    with pytest.raises(ValueError, match="`z` must be numbers of shape"):
        measured(z[0])


def test_the_attribute_is_small_and_reads_back() -> None:
    rng = np.random.default_rng(0)
    mix = np.eye(100) + 0.3 * rng.normal(size=(100, 100))
    found = measured(rng.normal(size=(2_000, 100)) @ mix)
    assert found is not None
    assert len(found) == MOST
    told = packed(found)
    assert len(json.dumps(told)) < 2_500
    trial = create_trial(value=0.0, user_attrs={LEFTOVER: told})
    again = leftover_of(trial, 100)
    assert again is not None
    np.testing.assert_allclose(again.matrix(), found.matrix(), atol=6e-4)
    assert leftover_of(trial, 99) is None, "of another space"


@pytest.mark.parametrize(
    "told",
    [
        None, 3, {}, {"features": 4}, {"features": 4, "pairs": "a b c"},
        {"features": 4, "pairs": "0 1"}, {"features": 4, "pairs": "0 9 100"},
        {"features": 4, "pairs": "2 1 100"}, {"features": 4, "pairs": "0 1 -5"},
        {"features": 4, "pairs": "0 1 nan"},
    ],
)  # fmt: skip
def test_an_attribute_that_makes_no_sense_is_as_none(told: object) -> None:
    found = leftover_of(create_trial(value=0.0, user_attrs={LEFTOVER: told}), 4)
    assert found is None or not len(found)


# ------------------------------------------------------------------------------------- made use of


WEIGHTS = np.triu(np.random.default_rng(1).random((8, 8)), 1)


def unparted(space: SearchSpace, params: Mapping[str, Any]) -> np.ndarray:
    """Pairs that no layer parts."""
    masks = [layer.mask for layer in space.build(params)[0].layers if hasattr(layer, "mask")]
    coverage = pair_coverage(parse(masks))
    return np.triu(coverage + coverage.T == 0, 1)


def searched(
    space: SearchSpace, *, left: bool, trials: int = 40, study: optuna.Study | None = None
) -> optuna.Study:
    """An objective of a user's own: what a flow does not part, it leaves; two layers leave some."""

    def objective(trial: optuna.Trial) -> float:
        space.suggest(trial)
        bad = WEIGHTS * unparted(space, trial.params)
        if left:
            record_leftover(trial, base(np.unravel_index(bad.argmax(), bad.shape)))
        return float(bad.sum())

    settings = Settings(screening=False, directed=0.5)
    study = study or optuna.create_study()
    study.sampler = EvolutionSampler(space, seed=0, settings=settings)
    study.optimize(objective, n_trials=trials)
    return study


def operators(study: optuna.Study) -> set[str]:
    return {name for t in study.trials for name in Origin.of(t).operator.split("+")}


@pytest.mark.parametrize("encoding", ["packed", "bits"])
def test_directed_mutation_fires_in_a_users_own_objective(encoding: str) -> None:
    space = masks_only(8, 2).encoded(encoding)
    study = searched(space, left=True)
    assert operators(study) & DIRECTED
    assert not operators(searched(space, left=False)) & DIRECTED
    alone = [t for t in study.trials if Origin.of(t).operator == "condition"]
    assert alone
    for trial in alone:  # the one pair that the parent left is parted now
        told = leftover_of(study.trials[Origin.of(trial).parents[0]], 8)
        assert told is not None
        pair = int(told.first[0]), int(told.second[0])
        assert not unparted(space, trial.params)[pair]


def test_edges_are_directed_too() -> None:
    space = space_of("adjacency, edges", 5)

    def objective(trial: optuna.Trial) -> float:
        space.suggest(trial)
        record_leftover(trial, base((0, 1), features=5))
        return float(trial.number)

    study = optuna.create_study(
        sampler=EvolutionSampler(space, seed=0, settings=Settings(directed=0.5))
    )
    study.optimize(objective, n_trials=40)
    assert "link" in operators(study)


def test_a_study_that_is_taken_up_again_directs_in_the_same_way() -> None:
    space = masks_only(8, 2)
    whole = searched(space, left=True, trials=30)
    assert {name for t in whole.trials[16:] for name in Origin.of(t).operator.split("+")} & DIRECTED
    part = searched(space, left=True, trials=16)
    again = searched(space, left=True, trials=14, study=part)
    assert [t.params for t in again.trials] == [t.params for t in whole.trials]


# --------------------------------------------------------------------------------- what it brought


def test_the_shares_that_improve_are_counted_from_the_study() -> None:
    space = masks_only(4, 2)
    study = optuna.create_study(sampler=EvolutionSampler(space, seed=0))
    study.set_user_attr("nfopt:space", json.loads(space.to_json()))
    names = space.distributions()

    def add(value: float, masks: tuple[int, int], operator: str = "", *parents: int) -> None:
        origin = {"operator": operator, "parents": list(parents), "genome": ""}
        study.add_trial(
            create_trial(
                params=dict(zip(names, masks, strict=True)),
                distributions=names,
                value=None if np.isnan(value) else value,
                state=TrialState.FAIL if np.isnan(value) else TrialState.COMPLETE,
                user_attrs={"nfopt:origin": origin},
            )
        )

    add(1.0, (3, 12), "first")
    add(2.0, (5, 10), "random")
    add(0.5, (6, 9), "condition", 0)
    add(3.0, (1, 14), "swap+condition", 0)
    add(0.9, (2, 13), "swap", 0)
    add(1.5, (4, 11), "flips", 1, 0)
    add(0.1, (8, 7), "cross_layers", 0, 1)
    add(float("nan"), (7, 8), "flips", 0)
    add(1.1, (3, 12), "replicate", 0)
    found = success(study)
    assert (found.directed.children, found.directed.improved) == (2, 1)
    assert (found.blind.children, found.blind.improved) == (3, 1)
    assert (found.crossed.children, found.crossed.improved) == (1, 1)
    assert found.blind.share == pytest.approx(1 / 3)
    assert {name: (s.children, s.improved) for name, s in found.operators.items()} == {
        "condition": (2, 1), "swap": (2, 1), "flips": (2, 0), "cross_layers": (1, 1),
    }  # fmt: skip


def test_a_study_without_children_has_no_shares() -> None:
    study = optuna.create_study()
    assert success(study).operators == {}
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    assert success(study).directed.share is None
