"""What a study fixes once, so that its trials compare: a population's size, a trial's length."""

from __future__ import annotations

import msgspec

from nfopt.errors import StudyError

RUNGS = (0.125, 0.25, 0.5, 1.0)  # of a trial's steps; the rate is constant until 0.7 of them
DEFAULT_MINUTES = 10.0  # with neither `minutes` nor `trials`
MEMBERS = 8  # distinct flows of a mixture at most
FOLDS = 5  # of a trial where rows are few
FEW_ROWS = 3000  # training rows below which they are
BAG_MEMBERS = 10  # flows of a mixture of such trials at most
SEARCH_ROWS = 200_000  # training rows of the search at most
SEARCH_VAL_ROWS = 25_000  # validation rows of the search at most, where training rows are cut


class Length(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a study fixes once: the population's size and the length of a trial.

    Attributes:
        size: Members of a population, P, where a number of trials is the budget.
        folds: Flows of a trial, each of which holds out another fold of the rows; 0: a trial is one
            flow.
        steps: Optimiser steps of every trial that is not pruned; None in studies of nfopt 0.1,
            whose trials were a share of a training, or some seconds.
        share: Of nfopt 0.1: the share.
        seconds: Of nfopt 0.1: the seconds of a population.
        full: Of nfopt 0.1.
        stacked: Of nfopt 0.1.
    """

    size: int
    steps: int | None = None
    folds: int = 0
    share: float | None = None
    seconds: float | None = None
    full: float | None = None
    stacked: float | None = None

    def check(self, study: str) -> None:
        """Refuse to go on with trials of another length: their values don't compare.

        Raises:
            StudyError: If the study was made by nfopt 0.1.
        """
        if self.steps is None:
            raise StudyError(
                f"`study` {study!r} was made by nfopt 0.1, whose trials were parts of a training:"
                " its trials can be looked at and retrained; to search on, take another name."
            )


msgspec.json.Decoder(Length)  # read now: two threads that do it at once crash msgspec
