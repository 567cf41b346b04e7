"""The end of a search: retrain the best candidates with fresh seeds, choose on validation data.

All finalists are trained cold, for the same share of the time. What time that leaves trains the
best of them again from other seeds. What is kept is the best of all on validation data, or the
mixture of several, see `nfopt.runner.ensemble`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import optuna
import torch
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt import seeds
from nfopt.errors import StudyError
from nfopt.events import Training
from nfopt.model import log_prob
from nfopt.runner import budget as plan
from nfopt.runner.context import Run
from nfopt.runner.ensemble import choose_members
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.stored import recipe_of, trials_of, usable
from nfopt.study.candidate import fault, stack_key
from nfopt.study.first_trials import first_key
from nfopt.study.length import FINALISTS
from nfopt.study.ranking import comparable, nll_place, order
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import train_stack
from nfopt.training import Progress

RECIPE_PLACE = 1  # among the finalists, from 0, at most: short trials favour what learns fast


@dataclass(frozen=True)
class Finalist:
    """A flow that is worth a full training.

    Attributes:
        number: Its trial, or None for a recipe that is no trial of the study.
        recipe: Its flow, its training at full length, its marginal maps.
    """

    number: int | None
    recipe: Recipe

    @property
    def spec(self) -> FlowSpec:
        """Its flow."""
        return self.recipe.flow

    @property
    def train(self) -> TrainSpec:
        """Its training at full length."""
        return self.recipe.train


@dataclass(frozen=True, eq=False)
class Trained:
    """A finalist after a full training.

    Attributes:
        finalist: Which one.
        weights: Its best weights.
        scores: Log-density of the validation rows, shape (M,), on the data's own scale.
        seed: Of its first weights.
        nll: Validation NLL, nats a row.
        nll_2se: Two standard errors of it.
        steps: It was trained for.
        reason: Why it can't be used, or "".
    """

    finalist: Finalist
    weights: dict[str, torch.Tensor]
    scores: torch.Tensor
    seed: int
    nll: float
    nll_2se: float
    steps: int
    reason: str


def choose_finalists(
    study: optuna.Study,
    recipe: Recipe,
    objectives: Sequence[str] = ("nll",),
    count: int = FINALISTS,
    *,
    trusted: bool = True,
) -> list[Finalist]:
    """Choose the best trials by validation NLL, with distinct specs, and always the recipe.

    Args:
        study: The study.
        recipe: The best recipe that the space has.
        objectives: What the study's values are.
        count: Trials to choose.
        trusted: Whether the trials were long enough to rank the recipe behind others.

    Returns:
        Finalists, the best first; the recipe second unless it is the best, or first where
        the trials are not to be trusted.
    """
    place = nll_place(objectives)
    trials = [
        trial
        for trial in comparable(trials_of(study))
        if trial.values and names.SPEC in trial.user_attrs and names.TRAIN in trial.user_attrs
    ]
    trials.sort(
        key=lambda t: (t.state is not TrialState.COMPLETE, *order(t.values[place], t.number))
    )
    chosen: dict[str, Finalist] = {}
    recipe_trial, key = None, first_key(recipe)
    for trial in trials:
        if trial.user_attrs.get(names.FIRST) == key:
            recipe_trial = trial.number
        # a pruned trial's value is of a lower rung: only where nothing better is known
        good = trial.state is TrialState.COMPLETE or not chosen
        if len(chosen) < count and good and usable(trial):
            own = Finalist(trial.number, recipe_of(trial))
            chosen.setdefault(f"{own.spec.digest()} {own.recipe.marginals}", own)
    finalists = list(chosen.values())
    numbers = [each.number for each in finalists]
    # a trial may have the recipe's flow and another training
    known = recipe_trial is not None and recipe_trial in numbers
    place = numbers.index(recipe_trial) if known else len(finalists)
    own = finalists.pop(place) if known else Finalist(recipe_trial, recipe)
    finalists.insert(min(place, RECIPE_PLACE), own)
    if not trusted:
        finalists.sort(key=lambda each: each.number != recipe_trial)
    return finalists


def first_round(
    finalists: Sequence[Finalist], recipe: Recipe, count: int, flows: int
) -> list[Finalist]:
    """Choose what is trained first.

    Args:
        finalists: The best first.
        recipe: The best recipe that the space has.
        count: How many of them.
        flows: Flows in all; where that is more than `count`, the best finalist and the recipe have
            half of the places each, because short trials favour what learns fast.
    """
    chosen = list(finalists[:count])
    if flows <= count:
        return chosen
    other = next((each for each in finalists if each.recipe == recipe), chosen[0])
    return chosen[:1] * (flows - flows // 2) + [other] * (flows // 2)


@dataclass
class Retraining:
    """Full trainings of finalists.

    Attributes:
        data: All rows, on the device to train on.
        seed: Of the study.
        call: What this is a part of.
        deadline: Clock time at which it must be over, or None. A flow is never trained for longer
            than its full steps: past them a small table is learnt by heart.
        more: Trainings of the best one from other seeds at most, if time is left.
        members: Flows to keep at most, as a mixture where that is better on validation data.
        phase: For the events.
    """

    data: MappedRows
    seed: int
    call: Run
    deadline: float | None = None
    more: int = 0
    members: int = 1
    phase: str = "retrain"

    def run(self, finalists: Sequence[Finalist], again: int = 0) -> list[Trained]:
        """Train the finalists and return the best, first, and what is to be mixed with it.

        Args:
            finalists: To train once each, the same one more than once from different seeds.
            again: Counts the calls for one study, so that seeds are fresh each time.

        Raises:
            KeyboardInterrupt: If the call's `stop` says so.
            StudyError: If none can be used.
        """
        began = self.call.clock()
        trained = self._round(finalists, self.call.left(self.deadline), (again, 0))
        each = (self.call.clock() - began) / len(finalists)
        best, more = _best(trained), self.more
        while more > 0:
            seconds = self.call.left(self.deadline)
            fitting = 0 if seconds is None else int(seconds / (plan.FITS * max(each, 1e-9)))
            if fitting < 1:
                break
            # side by side: a stack costs less a member than one flow after the other
            group = [best.finalist] * min(more, fitting)
            trained += self._round(group, seconds, (again, 1 + self.more - more))
            best, more = _best(trained), more - len(group)
        good = sorted(_good(trained), key=lambda each: each.nll)
        weights = self.data.under(best.finalist.recipe.marginals).val_weights
        chosen = choose_members(torch.stack([t.scores for t in good]), self.members, weights)
        return [good[k] for k in chosen]

    def all(self, finalists: Sequence[Finalist]) -> list[Trained]:
        """Train all finalists once, in the order given if they share their shape.

        Raises:
            KeyboardInterrupt: If the call's `stop` says so.
        """
        return self._round(finalists, self.call.left(self.deadline), (0, 0))

    def _round(
        self, finalists: Sequence[Finalist], seconds: float | None, path: tuple[int, int]
    ) -> list[Trained]:
        stacks: dict[tuple[Hashable, ...], list[Finalist]] = {}
        for finalist in finalists:
            key = stack_key(finalist.spec, finalist.train)
            stacks.setdefault(key, []).append(finalist)
        ends = self.call.clock() + (seconds or 0.0)
        trained: list[Trained] = []
        waiting = len(finalists)
        for position, group in enumerate(stacks.values()):
            self.call.stop.check()
            share = None
            if seconds is not None:
                # of what is really left, so that a stack that ended early leaves its time
                share = (ends - self.call.clock()) * len(group) / waiting
            trained += self._stack(group, share, (*path, position))
            waiting -= len(group)
        return trained

    def _stack(
        self, group: Sequence[Finalist], seconds: float | None, path: tuple[int, ...]
    ) -> list[Trained]:
        own = [seeds.derive(self.seed, seeds.RETRAIN, *path, k) for k in range(len(group))]
        data = self.data.of_members([finalist.recipe.marginals for finalist in group])
        stack, results = train_stack(
            [finalist.spec for finalist in group],
            [finalist.train for finalist in group],
            own,
            data,
            batches=seeds.derive(self.seed, seeds.RETRAIN, *path),
            steps=group[0].train.steps,
            seconds=seconds,
            on_progress=lambda progress: self._progress(group, progress),
            should_stop=self.call.stop,
        )
        self.call.stop.check()
        x, context, _, logdet = data.validation()
        scores = log_prob(stack, x, context).double()
        scores = (scores if logdet is None else scores + logdet).cpu()
        return [
            Trained(
                finalist,
                stack.weights(row),
                scores[row],
                own[row],
                result.nll,
                result.nll_2se,
                result.steps,
                self.data.fault(finalist.recipe.marginals) or fault(result),
            )
            for row, (finalist, result) in enumerate(zip(group, results, strict=True))
        ]

    def _progress(self, group: Sequence[Finalist], progress: Progress) -> None:
        seen = [nll for nll in progress.nlls if nll is not None]
        self.call.on_event(
            Training(
                phase=self.phase,
                what=group[0].spec.summary(),
                members=len(progress.members),
                step=progress.step,
                share=progress.share,
                nll=min(seen, default=None),
                seconds=self.call.elapsed(),
            )
        )


def _good(trained: Sequence[Trained]) -> list[Trained]:
    good = [each for each in trained if not each.reason]
    if not good:
        raise StudyError(
            f"None of {len(trained)} retrained flows can be used"
            f" ({trained[-1].reason}): limit the search with `space`, or look at the data."
        )
    return good


def _best(trained: Sequence[Trained]) -> Trained:
    return min(_good(trained), key=lambda each: each.nll)
