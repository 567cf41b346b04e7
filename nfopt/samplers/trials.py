"""What the evolution learns from a study: each trial read once, running ones until they end."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.records import Record
from nfopt.optuna_internals import fixed_parameters, set_attribute

ORIGIN = "nfopt:origin"
"""Trial attribute: `operator`, `parents` (trial numbers), `genome` (digest), maybe `replicate`."""

BEGAN_FROM = "nfopt:kin"
"""Trial attribute of older studies: "warm" if the trial began from another one's weights."""

REPEATS = ("nfopt:retry_of", "failed_trial")
"""Trial attributes of ours and of Optuna: number of the interrupted trial that this one repeats."""

AGAIN = "nfopt:again"
"""Trial attribute: interrupted, to come back in another trial."""


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
        found: list[FrozenTrial] = []
        for number in sorted(self._open):
            place = bisect.bisect_left(trials, number, key=_number)
            if place < len(trials) and trials[place].number == number:
                found.append(trials[place])
        start = bisect.bisect_left(trials, self._next, key=_number)
        if start < len(trials):
            last = trials[-1].number
            # A number that is not there yet is one that another worker is just writing.
            self._open |= set(range(self._next, last + 1))
            self._next = last + 1
        found += trials[start:]
        self._open -= {trial.number for trial in found if trial.state.is_finished()}
        return found


def _number(trial: FrozenTrial) -> int:
    return trial.number


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters that a trial has, or will have because it was enqueued with them."""
    if trial.state.is_finished():
        return trial.params
    return fixed_parameters(trial) | trial.params


def repeated(trials: Iterable[FrozenTrial]) -> set[int]:
    """Numbers of trials that others repeat: their end says nothing of their genome."""
    found: set[int] = set()
    for trial in trials:
        for attributes in (trial.user_attrs, trial.system_attrs):
            told = [attributes.get(key) for key in REPEATS]
            found |= {number for number in told if isinstance(number, int)}
    return found


def interrupted(trial: FrozenTrial) -> bool:
    """Whether a failed trial was only interrupted, which says nothing of its genome."""
    return AGAIN in trial.user_attrs


def began_ahead(trial: FrozenTrial | Trial) -> bool:
    """Whether a trial began from another one's weights, as some of an older study did.

    Its value says nothing of its genome: it is compared with no other.
    """
    return bool(trial.user_attrs.get(BEGAN_FROM))


@dataclass(frozen=True)
class Origin:
    """Where a trial's genome comes from.

    Attributes:
        operator: As `Proposal.operator`; "" if another sampler or the user made it.
        parents: Numbers of the trials that it was made from.
        genome: Digest of the genome as it was asked.
        replicate: Whether it is meant to run again what ran before.
    """

    operator: str = ""
    parents: tuple[int, ...] = ()
    genome: str = ""
    replicate: bool = False

    @classmethod
    def of(cls, trial: FrozenTrial) -> Origin:
        """Read it from a trial."""
        told: Mapping[str, Any] = trial.user_attrs.get(ORIGIN) or {}
        return cls(
            operator=str(told.get("operator", "")),
            parents=tuple([int(number) for number in told.get("parents", ())]),
            genome=str(told.get("genome", "")),
            replicate=bool(told.get("replicate", False)),
        )

    def write(self, study: Study, trial: FrozenTrial) -> None:
        """Write it to a running trial."""
        told: dict[str, Any] = {
            "operator": self.operator,
            "parents": list(self.parents),
            "genome": self.genome,
        }
        told |= {"replicate": True} if self.replicate else {}
        set_attribute(study, trial, ORIGIN, told)


def record_of(trial: FrozenTrial, genome: Genome, directions: Sequence[StudyDirection]) -> Record:
    """Write a trial as a record of the evolution.

    Values that are not finite make a trial a failed one, as NaN does in Optuna.
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
    """By how much a trial's constraints are broken; 0 if by nothing."""
    if not trial.state.is_finished():
        return 0.0
    return float(sum(max(0.0, x) for x in trial.constraints.values()))


class Intersection:
    """The distributions that all trials which told something have in common.

    Attributes:
        more: Some trials have others, too: a conditional space, or one that changed.
    """

    def __init__(self) -> None:
        self.more = False
        self._reader = Reader()
        self._found: dict[str, Any] | None = None

    def distributions(self, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Read what is new of a study, and return those of more than one value, by name."""
        for trial in self._reader.news(trials):
            if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                continue
            own = trial.distributions
            self.more |= self._found is not None and own.keys() != self._found.keys()
            if self._found is None:
                self._found = dict(sorted(own.items()))
            elif any(own.get(name) != kind for name, kind in self._found.items()):
                self.more = True
                self._found = {n: kind for n, kind in self._found.items() if own.get(n) == kind}
        return {n: kind for n, kind in (self._found or {}).items() if not kind.single()}
