"""A study's trials as records of the evolution: each read once, running ones until they end."""

from __future__ import annotations

import bisect
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.records import Record
from nfopt.optuna_internals import fixed_parameters, set_attribute

ORIGIN = "nfopt:origin"
"""Trial attribute: `operator`, `parents` (trial numbers), `genome` (digest), maybe `replicate`."""

REPEATS = ("nfopt:retry_of", "failed_trial")
"""Trial attributes of ours and of Optuna: number of the interrupted trial that this one repeats."""

AGAIN = "nfopt:again"
"""Trial attribute: interrupted; another trial repeats it."""


class Reader:
    """Reads a study's trials incrementally."""

    def __init__(self) -> None:
        self._next = 0  # all below were read; those that may still change are open
        self._open: set[int] = set()

    def news(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Trials that are new, and those that had not ended when they were last read.

        Args:
            trials: All of a study, from `trials_of`.
        """
        news: list[FrozenTrial] = []
        for number in sorted(self._open):
            index = bisect.bisect_left(trials, number, key=_number)
            if index < len(trials) and trials[index].number == number:
                news.append(trials[index])
        start = bisect.bisect_left(trials, self._next, key=_number)
        if start < len(trials):
            last = trials[-1].number
            # A missing number belongs to a trial that another worker is writing right now.
            self._open |= set(range(self._next, last + 1))
            self._next = last + 1
        news += trials[start:]
        self._open -= {trial.number for trial in news if trial.state.is_finished()}
        return news


def _number(trial: FrozenTrial) -> int:
    return trial.number


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters that a trial has, or will have because it was enqueued with them."""
    if trial.state.is_finished():
        return trial.params
    return fixed_parameters(trial) | trial.params


def repeated(trials: Iterable[FrozenTrial]) -> set[int]:
    """Numbers of trials that others repeat, whose end is not a result of their genome."""
    numbers: set[int] = set()
    for trial in trials:
        for attributes in (trial.user_attrs, trial.system_attrs):
            given = [attributes.get(key) for key in REPEATS]
            numbers |= {number for number in given if isinstance(number, int)}
    return numbers


def interrupted(trial: FrozenTrial) -> bool:
    """Whether a failed trial was only interrupted, which is not a result of its genome."""
    return AGAIN in trial.user_attrs


@dataclass(frozen=True)
class Origin:
    """The origin of a trial's genome.

    Attributes:
        operator: As `Proposal.operator`; "" if another sampler or the user made it.
        parents: Numbers of the trials that it was made from.
        genome: Digest of the genome as it was asked.
        replicate: Whether it is another run of an earlier genome.
    """

    operator: str = ""
    parents: tuple[int, ...] = ()
    genome: str = ""
    replicate: bool = False

    @classmethod
    def of(cls, trial: FrozenTrial) -> Origin:
        """Read it from a trial."""
        fields: Mapping[str, Any] = trial.user_attrs.get(ORIGIN) or {}
        return cls(
            operator=str(fields.get("operator", "")),
            parents=tuple([int(number) for number in fields.get("parents", ())]),
            genome=str(fields.get("genome", "")),
            replicate=bool(fields.get("replicate", False)),
        )

    def write(self, study: Study, trial: FrozenTrial) -> None:
        """Write it to a running trial."""
        fields: dict[str, Any] = {
            "operator": self.operator,
            "parents": list(self.parents),
            "genome": self.genome,
        }
        fields |= {"replicate": True} if self.replicate else {}
        set_attribute(study, trial, ORIGIN, fields)


def record_of(trial: FrozenTrial, genome: Genome, directions: Sequence[StudyDirection]) -> Record:
    """A trial as a record of the evolution.

    Values that are not finite make it a failed one, as NaN does in Optuna.
    """
    signs = [-1.0 if way is StudyDirection.MAXIMIZE else 1.0 for way in directions]
    origin = Origin.of(trial)
    values: tuple[float, ...] | None = None
    match trial.state:
        case TrialState.COMPLETE:
            values = tuple([sign * x for sign, x in zip(signs, trial.values, strict=True)])
            state = "complete" if all(math.isfinite(x) for x in values) else "failed"
        case TrialState.PRUNED:
            state = "pruned"
        case TrialState.FAIL:
            state = "failed"
        case _:
            state = "running"
    rungs: dict[int, float] = {}
    if len(signs) == 1:
        reported = trial.intermediate_values.items()
        rungs = {step: signs[0] * x for step, x in reported if math.isfinite(x)}
    return Record(
        number=trial.number,
        genome=genome,
        state=state,  # type: ignore[arg-type]  # one of the four
        values=values if state == "complete" else None,
        rungs=rungs,
        violation=violation(trial),
        operator=origin.operator,
        parents=origin.parents,
    )


def violation(trial: FrozenTrial) -> float:
    """By how much a trial violates its constraints in all; 0 if it violates none."""
    if not trial.state.is_finished():
        return 0.0
    return float(sum(max(0.0, x) for x in trial.constraints.values()))


class Intersection:
    """The distributions that all complete and pruned trials have in common, but for some.

    Attributes:
        more: Whether some trials have others, too: a conditional space, or one that changed.
    """

    def __init__(self) -> None:
        self.more = False
        self._reader = Reader()
        self._common: dict[str, BaseDistribution] | None = None

    def distributions(
        self, trials: Sequence[FrozenTrial], beside: Collection[str] = ()
    ) -> dict[str, BaseDistribution]:
        """Read a study's new trials, and return the common distributions of several values.

        Args:
            trials: All of the study.
            beside: Names that do not count, whether all trials have them or not.
        """
        for trial in self._reader.news(trials):
            if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                continue
            own = trial.distributions
            if beside:
                own = {name: kind for name, kind in own.items() if name not in beside}
            self.more |= self._common is not None and own.keys() != self._common.keys()
            if self._common is None:
                self._common = dict(sorted(own.items()))
                continue
            # trials of one read share their distributions, which take long to compare
            common = {n: k for n, k in self._common.items() if (o := own.get(n)) is k or o == k}
            self.more |= len(common) < len(self._common)
            self._common = common
        return {n: kind for n, kind in (self._common or {}).items() if not kind.single()}
