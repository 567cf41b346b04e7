"""Which trainings end at a rung: asynchronous successive halving, for good.

study = optuna.create_study(sampler=nfopt.EvolutionSampler(), pruner=nfopt.RungPruner())

All values seen at a rung count, those of earlier populations too, so that a poor population ends
early and a good one goes on. Optuna's states are final: who ends does not come back, which makes
this the stopping form of ASHA (Li et al. 2020).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nfopt.attributes import AGAIN
from nfopt.stored import trials_of

KEEP = 0.5  # share of all values seen at a rung that go on
FEWEST = 3  # values seen at a rung before anything is pruned


def to_prune(
    values: Mapping[int, float],
    history: Sequence[float],
    *,
    spare: Collection[int] = (),
    most: int | None = None,
) -> set[int]:
    """Choose whom to prune; lower is better.

    Args:
        values: Of the population at this rung, by member. One that is not finite is pruned.
        history: Of earlier trials at the same rung.
        spare: Members that go on whatever their value, unless it is not finite.
        most: Members that can go on at most, as there is no time for more; None: all. The best go.

    Returns:
        Members that end here.
    """
    finite = {member: value for member, value in values.items() if math.isfinite(value)}
    gone = set(values) - set(finite)
    seen = sorted([*finite.values(), *(value for value in history if math.isfinite(value))])
    if len(seen) >= FEWEST:
        threshold = seen[math.ceil(KEEP * len(seen)) - 1]
        gone |= {m for m, value in finite.items() if value > threshold and m not in spare}
    if most is not None:
        living = sorted(set(finite) - gone, key=lambda m: (m not in spare, finite[m]))
        gone |= set(living[most:])
    return gone


class RungPruner(BasePruner):
    """Prunes a trial that is in the worse half of all that have reported at its step.

    For objectives of any kind that report at the same few steps. Nothing is pruned before three
    trials have reported there; values that are not finite always are.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Say whether a trial ends at the step that it has reported last."""
        step = trial.last_step
        if step is None:
            return False
        sign = -1.0 if study.direction is StudyDirection.MAXIMIZE else 1.0
        history = [
            sign * other.intermediate_values[step]
            for other in trials_of(study)
            if other.number != trial.number
            and step in other.intermediate_values
            # what was interrupted has its value in the trial that it came back as
            and not other.user_attrs.get(AGAIN)
        ]
        return bool(to_prune({0: sign * trial.intermediate_values[step]}, history))
