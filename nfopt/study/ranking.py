"""Which trials may be compared: those that began alike, cold or from trained weights."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from nfopt import attributes as names
from nfopt.optuna_internals import attributes_of
from nfopt.samplers.trials import KIN

__all__ = ["KIN", "WARM", "best_of", "fairly", "kin_of", "ranked"]

WARM = "warm"
"""What `nfopt:kin` says of a trial that began from its parent's weights."""


def kin_of(trial: FrozenTrial | Trial) -> str:
    """What a trial began from: "" for a cold start."""
    return str(trial.user_attrs.get(KIN) or "")


def ranked(study: optuna.Study) -> list[FrozenTrial]:
    """Sort the complete trials by NLL, the best first; those that began warm after all others."""
    objectives = list(attributes_of(study).get(names.OBJECTIVES) or ["nll"])
    place = objectives.index("nll") if "nll" in objectives else 0
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    having = [trial for trial in complete if trial.values]
    return sorted(having, key=lambda trial: (kin_of(trial) != "", trial.values[place]))


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """Take the first of `ranked` that has a flow; None if there is none."""
    return next((trial for trial in ranked(study) if names.SPEC in trial.user_attrs), None)


def fairly(trials: Sequence[FrozenTrial], place: int) -> list[FrozenTrial]:
    """Sort trials that have values: complete ones first, and each by its place among its like.

    The r-th of n of a kin stands at r / n, whatever the kin's values are.

    Args:
        trials: With values.
        place: Of the NLL among them.
    """
    found: list[tuple[bool, float, int, FrozenTrial]] = []
    for kin in sorted({kin_of(trial) for trial in trials}):
        for state in (True, False):
            mine = [
                trial
                for trial in trials
                if kin_of(trial) == kin and (trial.state is TrialState.COMPLETE) is state
            ]
            mine.sort(key=lambda trial: (trial.values[place], trial.number))
            found += [(not state, (k + 0.5) / len(mine), t.number, t) for k, t in enumerate(mine)]
    return [trial for *_, trial in sorted(found, key=lambda each: each[:3])]
