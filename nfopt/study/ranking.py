"""The order of a study's trials, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.stored import attributes_of, began_ahead, trials_of, usable


def objectives_of(study: optuna.Study) -> list[str]:
    """Names of a study's objectives; of a study that nfopt did not create, just the NLL."""
    return [str(name) for name in attributes_of(study).get(names.OBJECTIVES) or ["nll"]]


def nll_place(objectives: Sequence[str]) -> int:
    """Index of the NLL among a trial's values."""
    return list(objectives).index("nll") if "nll" in objectives else 0


def order(nll: float, number: int) -> tuple[float, int]:
    """The sort key of trials: the lower NLL first, of equal ones the earlier trial."""
    return nll, number


def comparable(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Trials without those of older studies that began from another one's weights."""
    return [trial for trial in trials if not began_ahead(trial)]


def nll_of(trial: FrozenTrial, place: int = 0) -> float | None:
    """The NLL that a trial is ranked by; None unless it is complete, comparable and finite.

    Args:
        trial: Of any state.
        place: Index of the NLL among the values.
    """
    if trial.state is not TrialState.COMPLETE or not trial.values or began_ahead(trial):
        return None
    return float(trial.values[place]) if math.isfinite(trial.values[place]) else None


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """The complete trials by validation NLL, the best first."""
    place = nll_place(objectives_of(study))
    complete = trials_of(study, TrialState.COMPLETE)
    pairs = [(nll, trial) for trial in complete if (nll := nll_of(trial, place)) is not None]
    pairs.sort(key=lambda pair: order(pair[0], pair[1].number))
    return [trial for _, trial in pairs]


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The first of `ranked` that has a flow, or None."""
    return next((t for t in ranked(study) if names.SPEC in t.user_attrs and usable(t)), None)
