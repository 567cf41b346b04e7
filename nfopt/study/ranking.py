"""The order of a study's trials, the best first."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.optuna_internals import attributes_of
from nfopt.samplers.trials import began_ahead


def comparable(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Leave out trials of older studies that began from another one's weights."""
    return [trial for trial in trials if not began_ahead(trial)]


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Sort the complete trials by validation NLL, the best first."""
    objectives = list(attributes_of(study).get(names.OBJECTIVES) or ["nll"])
    place = objectives.index("nll") if "nll" in objectives else 0
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    having = [trial for trial in comparable(complete) if trial.values]
    return sorted(having, key=lambda trial: trial.values[place])


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """Take the first of `ranked` that has a flow; None if there is none."""
    return next((trial for trial in ranked(study) if names.SPEC in trial.user_attrs), None)
