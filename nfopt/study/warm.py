"""Children that begin from their parent's trained weights: `nfopt search --warm-children`.

A child of one operator or more, whose parent began cold, is of the same shape, and has its weights
kept (see `weights`), begins from these and is trained for half of a trial's length. It is marked
with `nfopt:kin`, and compared with its like alone: by the rungs, by the sampler, and when finalists
are chosen, which are always trained cold. Children of such trials begin cold again, so that what is
compared has had the same training, and both kinds go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from nfopt import attributes as names
from nfopt.distributed.queue import trials_of
from nfopt.errors import StudyError
from nfopt.evolution.operators.table import OPERATORS
from nfopt.flows import Stack
from nfopt.flows.inherit import inherit
from nfopt.samplers.trials import Origin
from nfopt.spec import FlowSpec
from nfopt.study import stored
from nfopt.study.candidate import Candidate
from nfopt.study.ranking import KIN, WARM, kin_of
from nfopt.study.weights import kept_flow

SHARE = 0.5
"""Of a trial's length that such a trial is trained for."""

Start = tuple[FlowSpec, Mapping[str, torch.Tensor]]


def parent_of(trial: FrozenTrial) -> int | None:
    """Number of the trial whose weights a trial could begin from, kept or not."""
    if names.WARM_FROM in trial.user_attrs:  # repeats one that did
        told = trial.user_attrs[names.WARM_FROM]
        return told if isinstance(told, int) else None
    origin = Origin.of(trial)
    made = not OPERATORS.keys().isdisjoint(origin.operator.split("+"))
    return origin.parents[0] if made and origin.parents and not origin.replicate else None


class WarmStarts:
    """Finds what children begin from, and marks them.

    Args:
        study: The study.
        wanted: Whether children begin from their parents' weights at all.
    """

    def __init__(self, study: optuna.Study, *, wanted: bool) -> None:
        self._study, self._wanted = study, wanted
        self._starts: dict[int, Start] = {}

    def begin(self, candidates: Sequence[Candidate]) -> None:
        """Find the weights that candidates begin from; those that have none begin cold."""
        self._starts.clear()
        trials = trials_of(self._study) if self._wanted else []
        for candidate in candidates:
            start = self._start(candidate, trials) if self._wanted else None
            if start is not None:
                self._starts[candidate.number] = start
            self._mark(candidate, warm=start is not None)

    def resume(self, candidates: Sequence[Candidate]) -> None:
        """Mark candidates that go on from a checkpoint as what they were before."""
        for candidate in candidates:
            told = self._stored(candidate).user_attrs.get(names.WARM_FROM)
            self._mark(candidate, warm=told is not None)

    def is_warm(self, candidate: Candidate) -> bool:
        """Say whether a candidate begins from weights."""
        return candidate.number in self._starts

    def apply(self, stack: Stack, members: Sequence[Candidate | None]) -> None:
        """Give the members of a fresh stack the weights that they begin from."""
        for row, member in enumerate(members):
            if member is not None and member.number in self._starts:
                inherit(stack, row, *self._starts[member.number])

    def _stored(self, candidate: Candidate) -> FrozenTrial:
        """Read a trial again: what a sampler wrote, the trial at hand does not know."""
        return self._study._storage.get_trial(candidate.trial._trial_id)

    def _start(self, candidate: Candidate, trials: Sequence[FrozenTrial]) -> Start | None:
        number = parent_of(trials[candidate.number])
        if number is None or not 0 <= number < len(trials):
            return None
        parent = trials[number]
        if kin_of(parent) or names.SPEC not in parent.user_attrs:
            return None
        spec = FlowSpec.from_json(parent.user_attrs[names.SPEC])
        if spec.shape_key() != candidate.spec.shape_key():
            return None
        try:
            return spec, kept_flow(self._study, number).weights()
        except (ValueError, StudyError):  # no longer kept, broken, or a store that is away
            return None

    def _mark(self, candidate: Candidate, *, warm: bool) -> None:
        attributes: dict[str, Any] = {}
        if warm:
            attributes = {KIN: WARM, names.WARM_FROM: parent_of(self._stored(candidate))}
        elif candidate.trial.user_attrs.get(names.WARM_FROM) is not None:
            attributes = {names.WARM_FROM: None}  # it repeats one that began warm, and can't
        try:
            stored.write(candidate.trial, attributes)
        except UpdateFinishedTrialError:
            candidate.lose()
