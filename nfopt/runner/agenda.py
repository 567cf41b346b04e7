"""What a worker trains next: first trials, offspring, or further seeds of what is worth more.

A budget in trials takes the first trials, then offspring. One in minutes does so while there is
time to compare them and still train the best again, see `nfopt.runner.budget`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.distributed.lease import ours
from nfopt.distributed.queue import counted
from nfopt.flows.cost import train_cost
from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, Recipe
from nfopt.stored import recipe_of, trials_of, usable
from nfopt.study.candidate import stack_key
from nfopt.study.first_trials import first_key
from nfopt.study.length import MEMBERS
from nfopt.study.ranking import best_of, ranked

Params = dict[str, Any]


@dataclass(frozen=True)
class Next:
    """The next population.

    Attributes:
        count: Trials at most; 0: there is nothing to begin any more.
        offspring: Whether the sampler is asked for what is not in the queue.
    """

    count: int
    offspring: bool = True


@dataclass
class Agenda:
    """Decides what one worker trains next, and queues what is not the sampler's to propose.

    Attributes:
        study: The study.
        space: What is searched.
        size: Members of a population, where trials are the budget.
        recipe: The best that is known without a search.
        first: What is tried first: the portfolio and the caller's own.
        pace: Seconds of a training of the best recipe, or None where time does not count.
        left: Seconds that are left for trainings, or None.
        total: Of them, when this worker began; None until it asks.
        all_first: All first trials were asked.
        favourites: Gives the mixture of what this worker has trained: trial -> times picked.
        bags: A trial is a flow a fold, a whole stack; structures come in turn, as where rows are
            few they matter most.
        must: One training is begun though the time may be over, where the study has none: what
            `nfopt search` delivers was trained.
    """

    study: optuna.Study
    space: SearchSpace
    size: int
    recipe: Recipe
    first: Sequence[Recipe] = ()
    pace: Pace | None = None
    left: Callable[[], float | None] = lambda: None
    total: float | None = None
    all_first: bool = False
    favourites: Callable[[], Mapping[int, int]] = dict
    bags: bool = False
    must: bool = False
    _params: dict[str, Params] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.bags:
            self.first = in_turn(self.first)

    def decide(self, trials: Sequence[FrozenTrial] | None, budget: int | None) -> Next:
        """Say what comes next, and queue it unless something waits already.

        Args:
            trials: All of the study; None: not read, as the end of a budget in trials is far.
            budget: COMPLETE + PRUNED trials to reach, or None.
        """
        left = self.left()
        pending = {} if self.all_first or trials is None else self._pending(trials)
        self.all_first |= trials is not None and not pending
        if left is None or self.pace is None:
            count = self._fair(self.size, trials, budget, len(pending))
            if count and pending:
                self._queue_first(next(iter(pending.values()))[:count])
            return Next(count)
        if self.total is None:
            self.total = left
        if self.few:
            count = self._portfolio(left, self.pace, pending, trials, budget)
            return Next(count, False) if count else self._seeds(left, self.pace, trials, budget)
        size = plan.compared_size(self.total, left, self.pace)
        count = self._fair(size, trials, budget, 1)
        if not count:
            return self._seeds(left, self.pace, trials, budget)
        if pending:
            self._queue_first(next(iter(pending.values()))[:count])
        return Next(count)

    @property
    def few(self) -> bool:
        """Whether so few trainings fit that all of them are for the mixture: none is pruned."""
        if self.pace is None or self.total is None:
            return False
        return plan.fitting(self.total, self.pace) < plan.SEARCH

    def _portfolio(
        self,
        left: float,
        pace: Pace,
        pending: Mapping[tuple[object, ...], list[tuple[str, Params]]],
        trials: Sequence[FrozenTrial] | None,
        budget: int | None,
    ) -> int:
        """Queue what `fit` would train next; 0 if it does not fit, or nothing is left of it."""
        if not pending:
            return 0
        group = next(iter(pending.values()))[: 1 if self.bags else None]
        own = pace.times(self.dearness(self.space.build(group[0][1]).flow))
        count = plan.stack_fitting(left, own, MEMBERS)
        if left > 0 and best_of(self.study) is None:
            count = max(1, count)  # one training is begun, however short
        group = group[: self._fair(count, trials, budget, 1)]
        self._queue_first(group)
        return len(group)

    # ------------------------------------------------------------------------------- further seeds

    def _seeds(
        self, left: float, pace: Pace, trials: Sequence[FrozenTrial] | None, budget: int | None
    ) -> Next:
        """Queue further seeds; at least one training is begun, however short."""
        worthiest = self._worthiest(plan.MOST_SEEDS)
        own = pace.times(self.dearness(worthiest[0].flow))
        count = plan.stack_fitting(left, own, plan.MOST_SEEDS)
        if (left > 0 or self.must) and best_of(self.study) is None:
            count = max(1, count)
        self.must = False
        count = self._fair(count, trials, budget, 1)
        if count and not trials_of(self.study, TrialState.WAITING):
            asked = {t.user_attrs.get(names.FIRST) for t in trials_of(self.study)}
            for recipe in worthiest[:count]:
                key = first_key(recipe)
                attribute = names.REPEATS if key in asked else names.FIRST
                self.study.enqueue_trial(self.space.params_of(recipe), user_attrs={attribute: key})
                asked.add(key)
        return Next(count, offspring=False)

    def _worthiest(self, count: int) -> list[Recipe]:
        """List what further seeds are to be of.

        As seats are given to parties by their votes (d'Hondt), by the share that a recipe has in
        the mixture and how often it was trained. All are of the shape of the first, so that they
        are trained as one stack.
        """
        picked = self.favourites()
        recipes: dict[str, Recipe] = {}
        votes: dict[str, int] = defaultdict(int)
        seats: dict[str, int] = defaultdict(int)
        for trial in ranked(self.study):
            if names.SPEC in trial.user_attrs and usable(trial):
                recipe = recipe_of(trial)
                key = first_key(recipe)
                recipes.setdefault(key, recipe)
                seats[key] += 1
                votes[key] += picked.get(trial.number, 0)
        wanted = [key for key in recipes if votes[key]] or [*recipes][:1]
        if not wanted:
            return self._untried(count)

        def worth(key: str) -> float:
            return votes[key] / (1 + seats[key])

        first = recipes[max(wanted, key=worth)]
        shape = stack_key(first.flow, first.train)
        stacked = [k for k in wanted if stack_key(recipes[k].flow, recipes[k].train) == shape]
        found: list[Recipe] = []
        for _ in range(count):
            key = max(stacked, key=worth)
            seats[key] += 1
            found.append(recipes[key])
        return found

    def _untried(self, count: int) -> list[Recipe]:
        """Take the first recipes of one shape, as nothing was trained yet."""
        first = [self.recipe, *(one for one in self.first if one != self.recipe)]
        shape = stack_key(self.recipe.flow, self.recipe.train)
        alike = [one for one in first if stack_key(one.flow, one.train) == shape]
        return (alike * count)[:count]

    def dearness(self, spec: FlowSpec) -> float:
        """How many times as long as the best recipe's a step of a flow takes, as it is counted."""
        own = train_cost(self.recipe.flow)
        return train_cost(spec) / own if own else 1.0

    # --------------------------------------------------------------------------------- first trials

    def _queue_first(self, first: Sequence[tuple[str, Params]]) -> None:
        if trials_of(self.study, TrialState.WAITING):
            return
        for key, params in first:
            self.study.enqueue_trial(params, user_attrs={names.FIRST: key})

    def _pending(
        self, trials: Sequence[FrozenTrial]
    ) -> dict[tuple[object, ...], list[tuple[str, Params]]]:
        """Keys and parameters of the first trials that were never asked, by their shape."""
        done = {trial.user_attrs.get(names.FIRST) for trial in trials}
        pending: dict[tuple[object, ...], list[tuple[str, Params]]] = {}
        for recipe in self.first:
            key = first_key(recipe)
            if key not in done:
                params = self._params.get(key) or self.space.params_of(recipe)
                self._params[key] = params  # which takes a while where there are many columns
                shape = tuple(params[name] for name in self.space.shape_parameters)
                pending.setdefault(shape, []).append((key, params))
        return pending

    def _fair(
        self, size: int, trials: Sequence[FrozenTrial] | None, budget: int | None, shapes: int
    ) -> int:
        """Cut a population to this worker's share of the trials that are still open."""
        if budget is None or trials is None or not size:
            return size
        # those that other processes train will count
        running = [t for t in trials if t.state is TrialState.RUNNING and ours(t)]
        open_trials = max(0, budget - counted(trials) - len(running))
        # few trials are shared among the first ones that are still to lead a population
        fair = max(1, open_trials // max(1, shapes))
        workers = {repr(t.user_attrs.get(names.WORKER)) for t in running}
        mine = math.ceil(open_trials / (1 + len(workers)))
        return min(size, open_trials, fair, mine)


def in_turn(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Order recipes so that each shape has one before any has its second."""
    shapes: dict[object, list[Recipe]] = {}
    for recipe in recipes:
        shapes.setdefault(stack_key(recipe.flow, recipe.train), []).append(recipe)
    rounds = zip_longest(*shapes.values())
    return [recipe for one in rounds for recipe in one if recipe is not None]
