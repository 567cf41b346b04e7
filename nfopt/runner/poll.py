"""Polling of a study by a worker, at a limited share of the worker's time.

A poll reads every new and every running trial, row by row. Beside populations that take seconds
this is negligible. Where many workers share trials that cost nothing, it would be most of their
work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt.distributed.queue import COUNTED, counted
from nfopt.stored import began_ahead, trials_of
from nfopt.study.candidate import Candidate
from nfopt.study.ranking import order

SHARE = 0.1  # of a worker's time for polls that are not necessary


class Polling:
    """A worker's knowledge of a study since its last poll.

    Args:
        study: The study.
        place: Index of the NLL among the values.
        longest: Seconds between two polls at most.
        clock: Seconds, monotonic.

    Attributes:
        counted: COMPLETE + PRUNED trials: those of the last poll, and this worker's own since.
        best: Number and NLL of the best COMPLETE one of these, or None.
        made: The least number of trials, of any state, that the study has.
    """

    def __init__(
        self,
        study: optuna.Study,
        place: int = 0,
        longest: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counted, self.made = 0, 0
        self.best: tuple[int, float] | None = None
        self._study, self._place, self._longest, self._clock = study, place, longest, clock
        self._next = -1.0

    def due(self) -> bool:
        """Whether a poll is due that is not otherwise necessary."""
        return self._clock() >= self._next

    def poll(self) -> list[FrozenTrial]:
        """Read all trials, by number."""
        began = self._clock()
        trials = trials_of(self._study)
        ended = self._clock()
        self._next = ended + min((ended - began) / SHARE, self._longest)
        self.counted, self.made, self.best = counted(trials), len(trials), None
        for trial in trials:
            if not began_ahead(trial):
                self._note(trial.number, trial.state, trial.values)
        return trials

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Count trials that this worker told."""
        for candidate in candidates:
            self.made = max(self.made, candidate.number + 1)
            if not candidate.lost:
                self.counted += candidate.state in COUNTED
                self._note(candidate.number, candidate.state, candidate.values)

    def _note(self, number: int, state: TrialState, values: list[float] | None) -> None:
        if state is TrialState.COMPLETE and values:
            nll = values[self._place]
            if self.best is None or order(nll, number) < order(self.best[1], self.best[0]):
                self.best = (number, nll)
