"""The order of a study's trials, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.samplers.trials import began_ahead
from nfopt.stored import attributes_of, trials_of, usable


def objectives_of(study: optuna.Study) -> list[str]:
    """Read what a study's values are; of one that nfopt did not make, the first is the NLL."""
    return [str(name) for name in attributes_of(study).get(names.OBJECTIVES) or ["nll"]]


def nll_place(objectives: Sequence[str]) -> int:
    """Say which of a trial's values is the NLL."""
    return list(objectives).index("nll") if "nll" in objectives else 0


def order(nll: float, number: int) -> tuple[float, int]:
    """Give what trials are sorted by: the lower NLL first, of equal ones the earlier trial."""
    return nll, number


def comparable(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Leave out trials of older studies that began from another one's weights."""
    return [trial for trial in trials if not began_ahead(trial)]


def nll_of(trial: FrozenTrial, place: int = 0) -> float | None:
    """Read the NLL that a trial is ranked by; None unless it is complete, comparable and finite.

    Args:
        trial: Of any state.
        place: Of the NLL among the values.
    """
    if trial.state is not TrialState.COMPLETE or not trial.values or began_ahead(trial):
        return None
    return float(trial.values[place]) if math.isfinite(trial.values[place]) else None


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Sort the complete trials by validation NLL, the best first."""
    place = nll_place(objectives_of(study))
    complete = trials_of(study, TrialState.COMPLETE)
    found = [(nll, trial) for trial in complete if (nll := nll_of(trial, place)) is not None]
    found.sort(key=lambda pair: order(pair[0], pair[1].number))
    return [trial for _, trial in found]


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """Take the first of `ranked` that has a flow; None if there is none."""
    return next((t for t in ranked(study) if names.SPEC in t.user_attrs and usable(t)), None)
