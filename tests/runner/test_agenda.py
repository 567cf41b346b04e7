"""What a worker trains next, on studies in memory: no clock, no training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from small_study import LIMITS, RECIPES, STEPS, TRAIN, flow, table

from nfopt import attributes as names
from nfopt.runner.agenda import Agenda, Next, in_turn
from nfopt.runner.budget import MOST_SEEDS, Pace
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.study.first_trials import first_key

FIRST = [*RECIPES, Recipe(flow("TCC", "CTT"), TRAIN), Recipe(flow("TTC", "CCT"), TRAIN)]
PACE = Pace(alone=10.0, stacked=4.0)
SHAPES = [2, 3, 2, 2]  # layers of the first trials


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.for_data(
        table(), kind="coupling", limits=LIMITS | {"steps": STEPS}, recipes=FIRST
    )


class Desk:
    """A study whose trials are told without a training."""

    def __init__(self, space: SearchSpace, left: float | None = None, **more: Any) -> None:
        self.study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        self.space, self.seconds = space, left
        first = [space.build(space.params_of(recipe)) for recipe in FIRST]
        given: dict[str, Any] = {
            "size": 4,
            "recipe": first[0],
            "first": first,
            "pace": None if left is None else PACE,
        }
        self.agenda = Agenda(
            study=self.study, space=space, left=lambda: self.seconds, **(given | more)
        )

    def decide(self, budget: int | None = None) -> Next:
        return self.agenda.decide(self.study.get_trials(deepcopy=False), budget)

    def waiting(self) -> list[dict[str, Any]]:
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [trial.user_attrs for trial in trials]

    def tell(self, count: int, nll: Callable[[int], float] = float) -> None:
        """Ask and tell so many trials."""
        for _ in range(count):
            trial = self.study.ask()
            recipe = self.space.suggest(trial)
            trial.set_user_attr(names.SPEC, recipe.flow.to_json())
            trial.set_user_attr(names.TRAIN, recipe.train.to_json())
            trial.set_user_attr(names.MARGINALS, recipe.marginals)
            self.study.tell(trial, nll(trial.number))

    def keys(self, places: Sequence[int]) -> list[str]:
        return [first_key(self.agenda.first[place]) for place in places]


def test_first_trials_come_by_their_shape(space: SearchSpace) -> None:
    desk = Desk(space)
    assert desk.decide(100) == Next(4)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([0, 2, 3])
    desk.tell(4)
    assert desk.decide(100) == Next(4)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([1])
    desk.tell(4)
    assert desk.decide(100) == Next(4)
    assert desk.waiting() == []
    assert desk.agenda.all_first


def test_what_waits_already_is_not_queued_again(space: SearchSpace) -> None:
    desk = Desk(space)
    desk.decide(100)
    desk.decide(100)
    assert len(desk.waiting()) == 3


@pytest.mark.parametrize("budget", [1, 2, 5, 11])
def test_a_budget_in_trials_is_exact(space: SearchSpace, budget: int) -> None:
    desk = Desk(space)
    while chosen := desk.decide(budget):
        if not chosen.count:
            break
        desk.tell(chosen.count)
    assert len(desk.study.trials) == budget


def test_few_trials_are_shared_among_the_shapes(space: SearchSpace) -> None:
    desk = Desk(space)
    assert desk.decide(2) == Next(1), "one for each of two shapes"


def test_what_others_train_counts(space: SearchSpace) -> None:
    desk = Desk(space)
    desk.tell(8)
    desk.decide(100)
    for _ in range(3):
        running = desk.study.ask()
        running.set_user_attr(names.LEASE, {"beat": 1})
        running.set_user_attr(names.WORKER, "another")
    waiting = desk.waiting()
    assert waiting == []
    assert desk.decide(16) == Next(3), "half of the five that are open"
    assert desk.decide(11) == Next(0)


def test_much_time_is_for_first_trials_offspring_and_seeds_in_turn(space: SearchSpace) -> None:
    desk = Desk(space, left=300.0)
    assert desk.decide() == Next(6)
    desk.tell(6)
    desk.seconds = 260.0
    assert desk.decide() == Next(6)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([1])
    desk.tell(6)
    desk.seconds = 220.0
    assert desk.decide() == Next(6)
    assert desk.waiting() == []
    desk.tell(6, nll=lambda number: -float(number))
    desk.seconds = 130.0  # less than the share of the seeds
    chosen = desk.decide()
    assert chosen == Next(MOST_SEEDS, offspring=False)
    seeds = desk.waiting()
    assert len(seeds) == MOST_SEEDS
    best = desk.study.best_trial
    repeated = {one.get(names.REPEATS) or one.get(names.FIRST) for one in seeds}
    assert len(repeated) == 1
    params = [t.system_attrs["fixed_params"] for t in desk.study.get_trials() if not t.params]
    assert all(each == best.params for each in params)


def test_seeds_of_a_trial_of_the_study_are_all_repeats(space: SearchSpace) -> None:
    desk = Desk(space, left=300.0)
    desk.decide()
    desk.tell(6)  # the lower the earlier: the recipe is the best
    desk.seconds = 100.0
    desk.decide()
    assert [one.get(names.REPEATS) for one in desk.waiting()] == desk.keys([0]) * MOST_SEEDS


def test_what_is_left_at_the_end_makes_a_few_seeds_more(space: SearchSpace) -> None:
    desk = Desk(space, left=300.0)
    desk.decide()
    desk.tell(6)
    desk.seconds = 7.0
    assert desk.decide() == Next(2, offspring=False), "as dear as one"


def test_nothing_is_begun_that_cannot_end(space: SearchSpace) -> None:
    desk = Desk(space, left=300.0)
    desk.decide()
    desk.tell(6)
    desk.seconds = 6.0
    assert desk.decide() == Next(0, offspring=False)
    assert desk.waiting() == []
    desk.seconds = -5.0
    assert desk.decide().count == 0


def test_of_a_few_trainings_the_portfolio_alone_is_asked(space: SearchSpace) -> None:
    desk = Desk(space, left=40.0)  # ten
    assert desk.agenda.few is False, "nothing is known yet"
    assert desk.decide() == Next(3, offspring=False)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([0, 2, 3])
    assert desk.agenda.few
    desk.tell(3)
    desk.seconds = 28.0
    assert desk.decide() == Next(1, offspring=False)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([1]), "the next shape"
    desk.tell(1)
    desk.seconds = 18.0
    assert desk.decide() == Next(5, offspring=False), "then seeds"
    assert {names.REPEATS} == {key for one in desk.waiting() for key in one}


def test_of_less_than_two_trainings_two_are_begun_that_cost_no_more(space: SearchSpace) -> None:
    desk = Desk(space, left=7.5)
    assert desk.decide() == Next(2, offspring=False)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([0, 2])


def test_of_three_trainings_three_recipes_are_trained(space: SearchSpace) -> None:
    desk = Desk(space, left=12.0)
    assert desk.decide() == Next(3, offspring=False)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([0, 2, 3])


def test_where_time_is_very_short_one_is_trained(space: SearchSpace) -> None:
    desk = Desk(space, left=0.5)
    assert desk.decide() == Next(1, offspring=False)
    assert [one[names.FIRST] for one in desk.waiting()] == desk.keys([0])
    desk.tell(1)
    assert desk.decide().count == 0


def test_a_deeper_flow_is_dearer(space: SearchSpace) -> None:
    desk = Desk(space, left=20.0)
    deep = Recipe(flow("CTC", "TCT", "CTC"), TRAIN)
    assert desk.agenda.dearness(deep.flow) > 1.2
    assert desk.agenda.dearness(desk.agenda.recipe.flow) == 1.0


def test_seeds_are_of_the_recipes_that_the_mixture_wants_more_than_it_has(
    space: SearchSpace,
) -> None:
    desk = Desk(space, left=300.0, favourites=lambda: {0: 5, 2: 2})
    desk.decide()
    desk.tell(6)
    desk.seconds = 100.0
    recipes = [desk.study.trials[number].params for number in (0, 2)]
    assert desk.decide() == Next(6, offspring=False)
    queued = [t.system_attrs["fixed_params"] for t in desk.study.trials if not t.params]
    # 5/2, 5/3, 5/4, then 2/2 before 5/6 and so on
    assert [recipes.index(params) for params in queued] == [0, 0, 0, 0, 1, 0]


def test_each_shape_has_one_before_any_has_its_second() -> None:
    zero, one, two, three = FIRST
    assert in_turn([zero, two, three, one]) == [zero, one, two, three]


def test_bags_of_each_structure_come_in_turn(space: SearchSpace) -> None:
    desk = Desk(space, left=30.0, bags=True)  # seven
    order = []
    for left in (30.0, 26.0, 22.0, 18.0):
        desk.seconds = left
        assert desk.decide() == Next(1, offspring=False)
        order += [
            desk.agenda.first.index(recipe)
            for recipe in desk.agenda.first
            if first_key(recipe) == desk.waiting()[0].get(names.FIRST)
        ]
        desk.tell(1)
    assert order == [0, 1, 2, 3]
    depths = [len(recipe.flow.layers) for recipe in desk.agenda.first]
    assert depths == [2, 3, 2, 2], "one of each shape before the second of the first"
    desk.seconds = 14.0
    assert desk.decide().offspring is False
    assert all(names.REPEATS in one for one in desk.waiting())


def test_a_study_without_a_flow_trains_one_though_the_time_is_over(space: SearchSpace) -> None:
    desk = Desk(space, left=-5.0)
    assert desk.decide() == Next(0, offspring=False)
    desk = Desk(space, left=-5.0, must=True)
    assert desk.decide() == Next(1, offspring=False)
    assert desk.decide() == Next(0, offspring=False), "once is enough"
