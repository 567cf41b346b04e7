"""What training tells: while it runs, at rungs, and at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec

Status = Literal["running", "complete", "pruned", "failed", "interrupted"]


@dataclass(frozen=True)
class Progress:
    """Where a run is, for a progress bar.

    Attributes:
        step: Steps done by the members now in training.
        steps: Steps that they will have done at the end; an estimate where time is the limit.
        share: Share of the run that is over, 0 to 1.
        seconds: Wall-clock seconds so far, over all restarts.
        members: Members now in training.
        nlls: Their last validation NLL, in nats a row; None before the first check.
    """

    step: int
    steps: int
    share: float
    seconds: float
    members: tuple[int, ...]
    nlls: tuple[float | None, ...]


@dataclass(frozen=True)
class Rung:
    """A share of the run at which members are compared.

    Attributes:
        fraction: The share, 0 to 1.
        step: Steps done.
        members: Members still in training.
        nlls: Their validation NLL at this step, in nats a row; may be inf or nan.
        bests: The lowest so far of each (inf if none was finite).
    """

    fraction: float
    step: int
    members: tuple[int, ...]
    nlls: tuple[float, ...]
    bests: tuple[float, ...]


class Record(msgspec.Struct):
    """What is known of a member while it trains; plain data for the checkpoint.

    `best_rows` is the number of validation rows behind `best`, `waited` the checks since it was
    reached.
    """

    status: Status = "running"
    reason: str = ""
    best: float | None = None
    best_2se: float | None = None
    best_step: int = 0
    best_rows: int = 0
    last: float | None = None
    waited: int = 0
    steps: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, float]] = []


@dataclass(frozen=True)
class MemberResult:
    """How a member ended; its best weights are in its row of the stack.

    Attributes:
        member: Its row.
        status: "complete" (also after an early stop), "pruned", "failed" or "interrupted".
        reason: Why, in words, where it is not simply complete.
        nll: Validation NLL of its best weights, in nats a row, over all validation rows (inf if
            none was finite). On the data's own scale if `TrainData.val_logdet` was given, else on
            the scale of the rows.
        nll_2se: Two standard errors of it.
        steps: Steps it was trained for.
        best_step: The step of its best weights.
        seconds: Its share of the wall-clock time.
        curve: Step and validation NLL of each check (finite ones).
        round_trip: Largest absolute error of up to 200 validation rows taken to the base and back
            (inf if not finite; nan after an interruption).
    """

    member: int
    status: Status
    reason: str
    nll: float
    nll_2se: float
    steps: int
    best_step: int
    seconds: float
    curve: tuple[tuple[int, float], ...]
    round_trip: float


def result_of(member: int, record: Record, round_trip: float) -> MemberResult:
    """Turn a record into the result of a member."""
    status, reason = record.status, record.reason
    if status == "running":
        status = "interrupted"
    if status == "complete" and record.best is None:
        status, reason = "failed", "validation NLL never finite"
    return MemberResult(
        member=member,
        status=status,
        reason=reason,
        nll=math.inf if record.best is None else record.best,
        nll_2se=math.nan if record.best_2se is None else record.best_2se,
        steps=record.steps,
        best_step=record.best_step,
        seconds=record.seconds,
        curve=tuple(record.curve),
        round_trip=round_trip,
    )
