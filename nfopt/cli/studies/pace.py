"""The pace of a study: trials a minute, and the time left in its budget."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

LATEST = 30  # trials that the pace is measured on
COUNTED = ("COMPLETE", "PRUNED")


def trials_a_minute(trials: Sequence[FrozenTrial]) -> float | None:
    """Measure the pace of the latest trials that count, over all workers.

    Args:
        trials: All of a study.

    Returns:
        COMPLETE + PRUNED trials a minute, from the start of the first of the latest ones to the
        end of the last; None if none has ended.
    """
    times: list[tuple[datetime, datetime]] = [
        (trial.datetime_complete, trial.datetime_start)
        for trial in trials
        if trial.state.name in COUNTED and trial.datetime_complete and trial.datetime_start
    ]
    latest = sorted(times)[-LATEST:]
    if not latest:
        return None
    seconds = (latest[-1][0] - min(start for _, start in latest)).total_seconds()
    return 60.0 * len(latest) / seconds if seconds > 0 else None


def seconds_left(
    budget: Mapping[str, Any],
    counted: int,
    pace: float | None,
    *,
    running: int,
    now: float | None = None,
) -> float | None:
    """Estimate the seconds that a search still takes.

    Args:
        budget: The study's attribute: `trials`, and `until` in seconds since 1970.
        counted: COMPLETE + PRUNED trials.
        pace: Trials a minute.
        running: Trials in training.
        now: Seconds since 1970; for tests.

    Returns:
        Seconds, 0 if the budget is met; None if it can't be known, or nothing is in training.
    """
    limits = []  # seconds until each part of the budget is met
    wanted = budget.get("trials")
    if wanted is not None:
        if counted >= wanted:
            return 0.0
        if pace:
            limits.append(60.0 * (wanted - counted) / pace)
    until = budget.get("until")
    if until is not None:
        limits.append(max(0.0, float(until) - (time.time() if now is None else now)))
    return min(limits) if limits and running else None


def worker_rows(study: Any) -> list[dict[str, Any]]:
    """The workers of a study with their trials, as plain data.

    Args:
        study: An Optuna study.

    Returns:
        `host`, `pid`, `alive` (None: it is on another machine), the numbers of its `trials`, and
        `beat`, the counter of its lease (None: it has none).
    """
    from nfopt.distributed.lease import workers

    return [
        {
            "host": None if one.worker is None else one.worker.host,
            "pid": None if one.worker is None else one.worker.pid,
            "alive": one.alive,
            "trials": list(one.numbers),
            "beat": one.beat,
        }
        for one in workers(study)
    ]
