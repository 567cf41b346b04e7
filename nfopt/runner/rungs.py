"""Who ends at a rung: whoever is behind, unless the mixture would miss it.

What a search delivers is a mixture, and a mixture wants flows that err in different places: of two
recipes the one that is behind may be the one to train further. So a training goes on if it is in
the better half of all that have come this far, or if the greedy mixture of what is at this rung
picks it. Where few trainings fit, all go on that have the time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from nfopt import attributes as names
from nfopt.model.mixture import RungMixtures
from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace
from nfopt.samplers.pruning import to_prune
from nfopt.study.candidate import Candidate
from nfopt.study.length import MEMBERS
from nfopt.study.ranking import comparable
from nfopt.study.rows import MappedRows
from nfopt.training import Rung
from nfopt.training.evaluate import MIXTURE_ROWS, spread_rows


@dataclass
class Rungs:
    """Decides at the rungs of one worker's trainings.

    Attributes:
        data: Rows of the study.
        mixtures: Of what this worker has brought to each rung.
    """

    data: MappedRows
    mixtures: RungMixtures = field(default_factory=lambda: RungMixtures(MEMBERS))

    def prune(
        self,
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
        # further seeds of the best are to come to their end, whatever they look like on the way
        spare = {m for m, c in own.items() if names.REPEATS in c.trial.user_attrs}
        spare |= set(own) if few else self._needed(rung, own, step)
        most = None
        if left is not None and pace is not None:
            most = plan.going_on(left, pace, rung.fraction, len(own))
        return to_prune({m: values[m] for m in own}, history, spare=spare, most=most)

    def _needed(self, rung: Rung, own: Mapping[int, Candidate], step: int) -> set[int]:
        """Find whom the mixture of all that this worker has brought to a rung would miss."""
        pairs = zip(rung.members, rung.bests, strict=True)
        living = [m for m, value in pairs if m in own and math.isfinite(value)]
        if rung.scores is None or not living:
            return set()
        data = self.data.under(own[living[0]].marginals)
        weights = data.val_weights
        if weights is not None:
            weights = weights[spread_rows(MIXTURE_ROWS, data)].cpu()
        rows = self.mixtures.needed(step, rung.scores(living), weights)
        return {living[row] for row in rows}
