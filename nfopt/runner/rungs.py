"""Who ends at a rung: the worse half of all that have come this far, where many trainings fit.

What a search delivers is a mixture, and a mixture wants flows that err in different places. As long
as few trainings fit, all go on that have the time: pruning them for further seeds of the best one
loses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from optuna.trial import FrozenTrial

from nfopt import attributes as names
from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace
from nfopt.samplers.pruning import to_prune
from nfopt.study.candidate import Candidate
from nfopt.study.ranking import comparable
from nfopt.training import Rung


def choose_pruned(
    rung: Rung,
    own: Mapping[int, Candidate],
    trials: Iterable[FrozenTrial],
    left: float | None,
    pace: Pace | None,
    few: bool = False,
) -> set[int]:
    """Choose whom to prune.

    Args:
        rung: What was reached.
        own: The trials of its members, those that are still ours.
        trials: All of the study.
        left: Seconds that are left for trainings, or None.
        pace: Of a full training of these, where time counts.
        few: So few trainings fit that none is pruned for another.
    """
    step = round(100 * rung.fraction)
    values = dict(zip(rung.members, rung.bests, strict=True))
    numbers = {candidate.number for candidate in own.values()}
    history = [
        trial.intermediate_values[step]
        for trial in comparable(trials)
        # what was interrupted has its value in the trial that it came back as
        if step in trial.intermediate_values
        and trial.number not in numbers
        and not trial.user_attrs.get(names.AGAIN)
        # the rate of the last further seeds may fall earlier than that of the others
        and names.REPEATS not in trial.user_attrs
    ]
    # further seeds are to come to their end, whatever they look like on the way
    spare = {m for m, c in own.items() if few or names.REPEATS in c.trial.user_attrs}
    most = None
    if left is not None and pace is not None:
        most = plan.going_on(left, pace, rung.fraction, len(own))
    return to_prune({m: values[m] for m in own}, history, spare=spare, most=most)
