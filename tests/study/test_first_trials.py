"""What a study tries first."""

from __future__ import annotations

import pytest
from small_study import BEST, LIMITS, RECIPES, TRAIN, flow

from nfopt.space import SearchSpace
from nfopt.spec import Recipe, TrainSpec
from nfopt.study.first_trials import check_initial, first_key, first_of, holds

WIDE = Recipe(flow("CTC", "TCT", width=32), TRAIN)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.create(3, 240, kind="coupling", limits=LIMITS, recipes=RECIPES)


def test_recipes_of_the_space_in_their_order_and_once(space: SearchSpace) -> None:
    found = first_of(space, [WIDE, *RECIPES, BEST])
    assert [each.flow for each in found] == [each.flow for each in RECIPES]
    assert not holds(space, WIDE)
    assert all(holds(space, recipe) for recipe in found)


def test_a_space_without_recipes_begins_in_its_middle(space: SearchSpace) -> None:
    (only,) = first_of(space, [WIDE])
    assert holds(space, only)


def test_training_is_as_the_space_says(space: SearchSpace) -> None:
    long = TrainSpec(steps=999, batch_size=64, learning_rate=5e-3)
    (recipe,) = first_of(space, [Recipe(BEST.flow, long)])
    spec, train = recipe.flow, recipe.train
    assert spec == BEST.flow
    assert train.steps == TRAIN.steps


def test_an_initial_flow_outside_is_refused(space: SearchSpace) -> None:
    check_initial(RECIPES, space)
    with pytest.raises(ValueError, match=r"`initial` flow 2 can't be tried: .*width is 32"):
        check_initial([BEST, WIDE], space)


def test_keys_tell_first_trials_apart() -> None:
    assert len({first_key(recipe) for recipe in [*RECIPES, WIDE, BEST]}) == 3
