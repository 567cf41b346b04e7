"""A study as the rows that figures and notes are made of, read from its trials alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.samplers.trials import began_ahead

ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Row:
    """A trial that has ended.

    Attributes:
        number: Of the trial.
        state: COMPLETE, PRUNED or FAIL.
        nll: Validation NLL at a trial's length in nats a row; None unless COMPLETE, and comparable.
        parameters: Weights, or None if it says none.
        seconds: Its share of its population's time, or 0.
    """

    number: int
    state: str
    nll: float | None
    parameters: int | None
    seconds: float


def rows_of(trials: Iterable[FrozenTrial], objectives: Sequence[str] = ("nll",)) -> list[Row]:
    """Read the trials that have ended, in the order in which they ended."""
    place = list(objectives).index("nll") if "nll" in objectives else 0
    ended = [trial for trial in trials if trial.state in ENDED]
    ended.sort(
        key=lambda t: (0.0 if (e := t.datetime_complete) is None else e.timestamp(), t.number)
    )
    return [
        Row(
            number=trial.number,
            state=trial.state.name,
            nll=_nll(trial, place),
            parameters=_whole(trial.user_attrs.get(names.PARAMETERS)),
            seconds=float(trial.user_attrs.get(names.SECONDS) or 0.0),
        )
        for trial in ended
    ]


def _nll(trial: FrozenTrial, place: int) -> float | None:
    if trial.state is not TrialState.COMPLETE or not trial.values or began_ahead(trial):
        return None
    return float(trial.values[place]) if math.isfinite(trial.values[place]) else None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def measured(rows: Iterable[Row]) -> list[tuple[Row, float]]:
    """Keep the rows that have an NLL, with it."""
    return [(row, row.nll) for row in rows if row.nll is not None]


def best_of(rows: Iterable[Row]) -> Row | None:
    """The row of the lowest NLL, or None; the earlier one of equals."""
    return min(measured(rows), key=lambda pair: pair[1], default=(None, 0.0))[0]


def improvements(rows: Iterable[Row]) -> list[Row]:
    """Rows that were the best when they ended."""
    found: list[Row] = []
    least = math.inf
    for row, nll in measured(rows):
        if nll < least:
            least = nll
            found.append(row)
    return found


def front(rows: Iterable[Row]) -> list[Row]:
    """Rows of which none has both fewer parameters and a lower NLL, the smallest first."""
    sized = [
        (row, nll, row.parameters) for row, nll in measured(rows) if row.parameters is not None
    ]
    found: list[Row] = []
    least = math.inf
    for row, nll, _ in sorted(sized, key=lambda one: (one[2], one[1])):
        if nll < least:
            least = nll
            found.append(row)
    return found
