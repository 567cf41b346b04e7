"""Full trainings of recipes that are known, side by side: for `fit`, `retrain` and `autonf`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

from nfopt import seeds
from nfopt.errors import StudyError
from nfopt.model.mixture import choose_mixture
from nfopt.runner import budget as plan
from nfopt.runner.context import Run
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.study.candidate import fault, stack_key
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import train_stack, validation_scores
from nfopt.training.provenance import Provenance, of_bag


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
        made: How it was trained.
    """

    finalist: Finalist
    weights: dict[str, torch.Tensor]
    scores: torch.Tensor
    seed: int
    nll: float
    nll_2se: float
    steps: int
    reason: str
    made: Provenance


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

    def run(self, finalists: Sequence[Finalist], again: int = 0) -> list[tuple[Trained, int]]:
        """Train the finalists and return what is to be mixed and how often each counts.

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
        scores = torch.stack([t.scores for t in good])
        chosen = choose_mixture(scores, self.members, self.data.weights)
        return [(good[k], times) for k, times in chosen.items()]

    def all(self, finalists: Sequence[Finalist], again: int = 0) -> list[Trained]:
        """Train all finalists once, in the order given if they share their shape.

        Args:
            finalists: To train once each, the same one more than once from different seeds.
            again: Counts the calls, so that seeds are fresh each time.

        Raises:
            KeyboardInterrupt: If the call's `stop` says so.
        """
        return self._round(finalists, self.call.left(self.deadline), (again, 0))

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
        batches = seeds.derive(self.seed, seeds.RETRAIN, *path)
        data = self.data.of_members([finalist.recipe.marginals for finalist in group])
        stack, results = train_stack(
            [finalist.spec for finalist in group],
            [finalist.train for finalist in group],
            own,
            data,
            batches=batches,
            steps=group[0].train.steps,
            seconds=seconds,
            on_progress=lambda seen: self.call.training(self.phase, group[0].spec.summary(), seen),
            should_stop=self.call.stop,
        )
        self.call.stop.check()
        scores = validation_scores(stack, data)
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
                of_bag(
                    result,
                    finalist.train,
                    finalist.recipe.marginals,
                    own[row],
                    batches=batches,
                    steps=finalist.train.steps,
                    stack=len(group),
                    timed=seconds is not None,
                )[0],
            )
            for row, (finalist, result) in enumerate(zip(group, results, strict=True))
        ]


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
