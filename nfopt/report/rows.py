"""A study's trials as rows, the input of figures and notes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.evolution.ranking import front as front_of
from nfopt.spec import FlowSpec
from nfopt.study.ranking import nll_of, nll_place, order

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Row:
    """A trial that has ended.

    Attributes:
        number: Of the trial.
        state: COMPLETE, PRUNED or FAIL.
        nll: Validation NLL at a trial's length in nats a row; None unless COMPLETE, and comparable.
        parameters: Number of weights; None if not stored.
        seconds: Its share of its population's time; 0 if not stored.
    """

    number: int
    state: str
    nll: float | None
    parameters: int | None
    seconds: float


def rows_of(trials: Iterable[FrozenTrial], objectives: Sequence[str] = ("nll",)) -> list[Row]:
    """Read the trials that have ended, in the order in which they ended."""
    place = nll_place(objectives)
    ended = [trial for trial in trials if trial.state in ENDED]
    ended.sort(
        key=lambda t: (0.0 if (e := t.datetime_complete) is None else e.timestamp(), t.number)
    )
    return [
        Row(
            number=trial.number,
            state=trial.state.name,
            nll=nll_of(trial, place),
            parameters=_whole(trial.user_attrs.get(names.PARAMETERS)),
            seconds=float(trial.user_attrs.get(names.SECONDS) or 0.0),
        )
        for trial in ended
    ]


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def columns_of(spec: FlowSpec, columns: Sequence[str]) -> Sequence[str]:
    """Name a flow's features: as the study does, or by number where it tells of other data."""
    fit = len(columns) == spec.features
    return columns if fit else [f"x{k}" for k in range(spec.features)]


def measured(rows: Iterable[Row]) -> list[tuple[Row, float]]:
    """The rows that have an NLL, with it."""
    return [(row, row.nll) for row in rows if row.nll is not None]


def ranked(rows: Iterable[Row]) -> list[tuple[Row, float]]:
    """The rows that have an NLL, with it, in the order of `nfopt.study.ranking`."""
    return sorted(measured(rows), key=lambda pair: order(pair[1], pair[0].number))


def best_of(rows: Iterable[Row]) -> Row | None:
    """The first of `ranked`, or None."""
    return next((row for row, _ in ranked(rows)), None)


def improvements(rows: Iterable[Row]) -> list[Row]:
    """Rows that were the best when they ended."""
    improved: list[Row] = []
    least = math.inf
    for row, nll in measured(rows):
        if nll < least:
            least = nll
            improved.append(row)
    return improved


def front(rows: Iterable[Row]) -> list[Row]:
    """Rows of which none has both fewer parameters and a lower NLL, the smallest first."""
    sized = [
        (row, row.parameters, nll) for row, nll in measured(rows) if row.parameters is not None
    ]
    return [sized[k][0] for k in front_of([(float(size), nll) for _, size, nll in sized])]
