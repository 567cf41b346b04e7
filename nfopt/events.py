"""What a search tells while it runs. A face shows it; nothing here prints.

A callback takes one `Event`; unknown kinds should be ignored, more may come.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nfopt.data import Prepared
from nfopt.spec import FlowSpec, TrainSpec

if TYPE_CHECKING:
    import optuna

    from nfopt.autonf import History
    from nfopt.flows import Stack
    from nfopt.training import MemberResult


@dataclass(eq=False)
class Closing:
    """The time that a call has left after training, and what was left out for lack of it.

    Scores, the round trip and saving are done in any case, and training leaves the time for them.
    What is of use but not needed (what sampling costs, pictures) asks first, with the seconds that
    it is expected to take; what does not fit is left out, and said.

    Attributes:
        ends: Clock time at which the call is to be over; None: it has all the time.
        tell: Gets a line for each thing that is left out.
        clock: Seconds.
        inverse: Seconds that the way from the base to a few rows takes one flow, as measured before
            training; 0 where it is not worth a thought.
        sampling: Seconds that 1,000 samples take, once that was measured.
        left_out: What was left out, in words.
    """

    ends: float | None = None
    tell: Callable[[str], None] = lambda text: None
    clock: Callable[[], float] = time.monotonic
    inverse: float = 0.0
    sampling: float | None = None
    left_out: list[str] = field(default_factory=list)

    def left(self) -> float:
        """Seconds that are left; negative once the time is over, inf without a limit."""
        return math.inf if self.ends is None else self.ends - self.clock()

    def fits(self, what: str, seconds: float = 0.0) -> bool:
        """Say whether there is time for something; what has none is said, and counted as left out.

        Args:
            what: In words, as "the picture of samples".
            seconds: That it is expected to take.
        """
        if self.left() > seconds:
            return True
        self.left_out.append(what)
        self.tell(f"{what} is left out: there is no time for it")
        return False


@dataclass(frozen=True)
class Notice:
    """One line that the user should read (a subsample, a group that is too small, a gap)."""

    text: str


@dataclass(frozen=True)
class Started:
    """The study is open and the search begins.

    Attributes:
        study: Its name.
        storage: The storage's URL with the password masked, or its kind.
        sampler: Name of the sampler.
        population: Members of a full population, P.
        trials: COMPLETE + PRUNED trials that the study already has.
        budget_trials: The total to reach, or None.
        budget_seconds: Wall-clock seconds of the whole call, or None.
        resumed: The study existed before.
        data: What is searched on, if the teller has it.
    """

    study: str
    storage: str
    sampler: str
    population: int
    trials: int
    budget_trials: int | None
    budget_seconds: float | None
    resumed: bool
    data: Prepared | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Training:
    """Where a population or the retraining is; about five times a second.

    Attributes:
        phase: "search", "retrain" or "fit".
        what: The structure in words.
        members: Members in training.
        step: Steps done.
        share: Share of this run that is over, 0 to 1.
        nll: Lowest last validation NLL of the members, in nats a row, or None.
        seconds: Wall-clock seconds since the call began.
    """

    phase: str
    what: str
    members: int
    step: int
    share: float
    nll: float | None
    seconds: float


@dataclass(frozen=True)
class RungReached:
    """A population was compared.

    Attributes:
        fraction: Share of a trial's length.
        values: Validation NLL by trial number.
        pruned: Trial numbers that end here.
    """

    fraction: float
    values: dict[int, float]
    pruned: tuple[int, ...]


@dataclass(frozen=True)
class Member:
    """A trial whose training has ended, and which is told right after.

    Attributes:
        trial: Running; only until it is told can its attributes be written.
        spec: Its flow.
        train: Its training at full length.
        marginals: Its maps.
        seed: Of its weights.
        rungs: Validation NLL by rung, in percent of a trial's length.
        result: How it ended; `result.member` is its row in the stack.
    """

    trial: optuna.Trial
    spec: FlowSpec
    train: TrainSpec
    marginals: str
    seed: int
    rungs: Mapping[int, float]
    result: MemberResult


@dataclass(frozen=True)
class GroupTrained:
    """A stack has trained; its trials are told right after.

    Attributes:
        members: Its trials.
        stack: With each member's best weights; not to be kept.
        seconds: Wall-clock seconds since the call began.
    """

    members: tuple[Member, ...]
    stack: Stack
    seconds: float


@dataclass(frozen=True)
class BatchTold:
    """A population's trials are told to the study.

    Attributes:
        numbers: Trial numbers of this population.
        complete: How many are COMPLETE.
        pruned: How many are PRUNED.
        failed: How many are FAIL.
        groups: Sizes of the stacks that they were trained in.
        trials: COMPLETE + PRUNED trials of the study.
        best_number: Number of the best trial, or None.
        best_nll: Its validation NLL at the fidelity of a trial, in nats a row, or None.
        seconds: Wall-clock seconds since the call began.
    """

    numbers: tuple[int, ...]
    complete: int
    pruned: int
    failed: int
    groups: tuple[int, ...]
    trials: int
    best_number: int | None
    best_nll: float | None
    seconds: float


@dataclass(frozen=True)
class SearchEnded:
    """A trial's differentiable search and its race are over; the trial is told right after this.

    Attributes:
        trial: It can still be written to.
        spec: The winner's flow.
        history: Of the search, all of it; None where nothing was searched by gradient.
    """

    trial: optuna.Trial
    spec: FlowSpec
    history: History | None


@dataclass(frozen=True)
class Finalists:
    """These are trained in full, from seeds of their own.

    Attributes:
        numbers: Trial numbers; None is the recipe where it is no trial of the study.
        summaries: Their structures in words.
        seconds: Wall-clock seconds that it may take, or None.
    """

    numbers: tuple[int | None, ...]
    summaries: tuple[str, ...]
    seconds: float | None


@dataclass(frozen=True)
class Mixed:
    """The search is over; these flows make up the mixture.

    Attributes:
        numbers: Of their trials, the best alone first.
        times: How often each counts.
        summaries: Their structures in words.
        trained: Flows that it was chosen from.
    """

    numbers: tuple[int, ...]
    times: tuple[int, ...]
    summaries: tuple[str, ...]
    trained: int


@dataclass(frozen=True)
class Done:
    """Everything is saved.

    Attributes:
        number: Trial number of the winner, or None.
        validation_nll: Nats a row, of the flow that is saved.
        test_nll: Nats a row.
        test_nll_2se: Two standard errors of it.
        seconds: Wall-clock seconds since the call began.
        out: Where the flow is, or None.
        closing: What there is time for now.
    """

    number: int | None
    validation_nll: float
    test_nll: float
    test_nll_2se: float
    seconds: float
    out: str | None
    closing: Closing = field(default_factory=Closing)


Event = (
    Notice
    | Started
    | Training
    | RungReached
    | GroupTrained
    | BatchTold
    | SearchEnded
    | Finalists
    | Mixed
    | Done
)
OnEvent = Callable[[Event], None]
Watch = Callable[[OnEvent, object], AbstractContextManager[OnEvent]]
"""Gives, for a callback and the storage, the callback of a worker that does more, such as draw."""


def ignore(event: Event) -> None:
    """Do nothing: the callback where none was given."""
