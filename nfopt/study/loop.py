"""The search itself: ask a population, train it with rungs, tell it, until the budget is met."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState

from nfopt.errors import StudyError
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study import attributes as names
from nfopt.study import plan, seeds
from nfopt.study.batch import (
    Candidate,
    ask_population,
    groups,
    reap,
    release,
    report,
    requeue,
    tell,
)
from nfopt.study.events import (
    BatchTold,
    GroupTrained,
    Member,
    Notice,
    OnEvent,
    RungReached,
    Training,
    ignore,
)
from nfopt.study.plan import Length
from nfopt.study.prune import to_prune
from nfopt.study.stacks import train_stack
from nfopt.study.stop import Stop
from nfopt.training import Progress, Rung, TrainData

COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
MOST_FAILURES = 3  # populations in a row without a single counted trial


@dataclass
class Search:
    """One worker on one study.

    Attributes:
        study: With a `StudySampler`.
        space: What is searched.
        data: Rows of the search, on the device to train on.
        length: The population's size and a trial's length.
        seed: Of the study.
        stop: Asked while training; see `nfopt.study.stop`.
        trials: COMPLETE + PRUNED to reach, or None.
        deadline: Clock time at which the search must be over, or None.
        first: Recipes and initial specs that the space has, the best recipe first; each leads a
            population of its own shape, and the first one is never pruned.
        objectives: What the study's values are; rungs prune where it is one.
        on_event: Told of everything.
        began: Clock time of the whole call's start.
        clock: Seconds.
    """

    study: optuna.Study
    space: SearchSpace
    data: TrainData
    length: Length
    seed: int
    stop: Stop
    trials: int | None = None
    deadline: float | None = None
    first: Sequence[tuple[FlowSpec, TrainSpec]] = ()
    objectives: Sequence[str] = ("nll",)
    on_event: OnEvent = ignore
    began: float = 0.0
    clock: Callable[[], float] = time.monotonic
    group_sizes: list[int] = field(default_factory=list)
    _member_seconds: float | None = None  # measured, where a trial's length is in steps
    _trial_overhead: float = plan.TRIAL_OVERHEAD  # seconds to ask and tell a trial, measured
    _barren: int = 0

    def run(self) -> None:
        """Search until the budget is met; no trial of ours is left running, whatever happens.

        Raises:
            KeyboardInterrupt: If `stop` says so; what was in training comes back on resume.
            StudyError: If populations fail, one after the other, altogether.
        """
        self._reap()
        while True:
            self.stop.check()
            count = self._next_size()
            if count == 0:
                break
            started = self.clock()
            self._enqueue_first(count)
            candidates = ask_population(self.study, self.space, count, self.seed)
            try:
                self.stop.check()
                trained = 0.0
                for group in groups(candidates):
                    trained += self._train(group)
                    self.stop.check()
            except KeyboardInterrupt:
                release(self.study, candidates, f"interrupted ({self.stop.reason or 'stopped'})")
                raise
            except BaseException as error:
                release(self.study, candidates, f"{type(error).__name__}: {error}", again=False)
                raise
            self._trial_overhead = (self.clock() - started - trained) / len(candidates)
            self._tell_batch(candidates)
        self._look_at_groups()

    # --------------------------------------------------------------------------------------- budget

    def counted(self) -> int:
        """Count COMPLETE + PRUNED trials of the study."""
        return len(self.study.get_trials(deepcopy=False, states=COUNTED))

    def _next_size(self) -> int:
        """Say how many trials the next population has; 0 if there is none."""
        size = self.length.size
        if self.trials is not None:
            # those that other processes train will count
            running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            others = [t for t in running if (w := names.Worker.of(t)) is not None and w.alive()]
            open_trials = max(0, self.trials - self.counted() - len(others))
            # few trials are shared among the first ones that are still to lead a population
            fair = max(1, open_trials // max(1, len(self._pending())))
            size = min(size, open_trials, fair)
        if size and self.deadline is not None:
            expected = self.length.seconds_of(size)
            if expected is None and self._member_seconds is not None:
                expected = self._member_seconds * size
            left = self.deadline - self.clock() - size * self._trial_overhead
            if not plan.may_start(left, expected):
                return 0
        return size

    def _reap(self) -> None:
        dead, unknown = reap(self.study)
        if dead:
            self.on_event(Notice(f"{len(dead)} trials of a killed process come back"))
        if unknown:
            self.on_event(
                Notice(f"{len(unknown)} running trials may be another machine's: left alone")
            )

    # --------------------------------------------------------------------------------- first trials

    def _enqueue_first(self, count: int) -> None:
        """Queue the next first trial, and those of its shape, unless something waits already."""
        if self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            return
        for key, params in next(iter(self._pending().values()), [])[:count]:
            self.study.enqueue_trial(params, user_attrs={names.FIRST: key})

    def _pending(self) -> dict[tuple[object, ...], list[tuple[str, dict[str, Any]]]]:
        """Keys and parameters of the first trials that were never asked, by their shape."""
        trials = self.study.get_trials(deepcopy=False)
        done = {trial.user_attrs.get(names.FIRST) for trial in trials}
        pending: dict[tuple[object, ...], list[tuple[str, dict[str, Any]]]] = {}
        for spec, train in self.first:
            key = names.first_key(spec, train)
            if key not in done:
                params = self.space.params_of(spec, train)
                shape = tuple(params[name] for name in self.space.shape_parameters)
                pending.setdefault(shape, []).append((key, params))
        return pending

    # ------------------------------------------------------------------------------------- training

    def _train(self, group: Sequence[Candidate]) -> float:
        """Train and tell a group; return the seconds of the training."""
        began = self.clock()
        full = group[0].train.steps
        stack, results = train_stack(
            [c.spec for c in group],
            [c.train for c in group],
            [c.seed for c in group],
            self.data,
            batches=seeds.derive(self.seed, seeds.BATCHES, group[0].number),
            steps=self.length.steps_of(full),
            seconds=self._seconds(len(group)),
            on_rung=lambda rung: self._rung(group, rung),
            on_progress=lambda progress: self._progress(group, progress),
            should_stop=self._over,
        )
        self.group_sizes.append(len(group))
        taken = self.clock() - began
        self._member_seconds = taken / len(group)
        members = [
            Member(c.trial, c.spec, c.train, c.seed, dict(c.rungs), result)
            for c, result in zip(group, results, strict=True)
        ]
        self.on_event(GroupTrained(tuple(members), stack, self.clock() - self.began))
        for candidate, result in zip(group, results, strict=True):
            if self.stop() and result.status in ("interrupted", "complete"):
                continue  # the caller releases it; an interrupted run has not scored its members
            state = tell(self.study, candidate, result, self.objectives, stopped="out of time")
            if result.status == "interrupted" and state is TrialState.FAIL:
                requeue(self.study, candidate.number)  # it never came to a rung: for the next time
        return taken

    def _seconds(self, members: int) -> float | None:
        seconds = self.length.seconds_of(members)
        if seconds is not None and self.deadline is not None:
            left = self.deadline - self.clock()
            if plan.may_start(left, seconds):
                return min(seconds, left)  # the schedule ends a little earlier
        return seconds  # if it is far too late for that, the deadline stops it at its last rung

    def _late(self) -> bool:
        return self.deadline is not None and self.clock() > self.deadline + plan.GRACE

    def _over(self) -> bool:
        return self.stop() or self._late()

    def _rung(self, group: Sequence[Candidate], rung: Rung) -> set[int]:
        values = dict(zip(rung.members, rung.bests, strict=True))
        if len(self.objectives) > 1 or rung.fraction >= 1.0:
            return set()
        step = round(100 * rung.fraction)
        own = {candidate.number for candidate in group}
        history = [
            trial.intermediate_values[step]
            for trial in self.study.get_trials(deepcopy=False)
            if step in trial.intermediate_values and trial.number not in own
        ]
        for member, value in values.items():
            report(self.study, group[member], rung.fraction, value)
        # the best recipe is what every other trial is compared with
        spare = [m for m in values if self._leads(group[m])]
        pruned = to_prune(values, history, spare=spare)
        numbers = {group[m].number: value for m, value in values.items()}
        gone = tuple(sorted(group[m].number for m in pruned))
        self.on_event(RungReached(rung.fraction, numbers, gone))
        return pruned

    def _leads(self, candidate: Candidate) -> bool:
        key = candidate.trial.user_attrs.get(names.FIRST)
        return key is not None and key == names.first_key(*self.first[0])

    def _progress(self, group: Sequence[Candidate], progress: Progress) -> None:
        seen = [nll for nll in progress.nlls if nll is not None]
        self.on_event(
            Training(
                phase="search",
                what=group[0].spec.summary(),
                members=len(progress.members),
                step=progress.step,
                share=progress.share,
                nll=min(seen, default=None),
                seconds=self.clock() - self.began,
            )
        )

    # -------------------------------------------------------------------------------------- telling

    def _tell_batch(self, candidates: Sequence[Candidate]) -> None:
        trials = self.study.get_trials(deepcopy=False)
        own = [trials[candidate.number] for candidate in candidates]
        states = Counter(trial.state for trial in own)
        complete = [t for t in trials if t.state is TrialState.COMPLETE and t.values]
        place = list(self.objectives).index("nll")
        best = min(complete, key=lambda t: t.values[place], default=None)
        self.on_event(
            BatchTold(
                numbers=tuple(candidate.number for candidate in candidates),
                complete=states[TrialState.COMPLETE],
                pruned=states[TrialState.PRUNED],
                failed=states[TrialState.FAIL],
                groups=tuple(len(group) for group in groups(candidates)),
                trials=sum(trial.state in COUNTED for trial in trials),
                best_number=None if best is None else best.number,
                best_nll=None if best is None else best.values[place],
                seconds=self.clock() - self.began,
            )
        )
        counted = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
        self._barren = 0 if counted or self._late() else self._barren + 1
        if self._barren >= MOST_FAILURES:
            reason = own[-1].user_attrs.get(names.REASON, "no reason is known")
            raise StudyError(
                f"The last {self._barren} populations failed altogether (trial {own[-1].number}:"
                f" {reason}): limit the search with `space`, or look at the data."
            )

    @property
    def mean_group(self) -> float:
        """Mean number of trials that trained as one stack in this call; nan before the first."""
        sizes = self.group_sizes
        return sum(sizes) / len(sizes) if sizes else math.nan

    def _look_at_groups(self) -> None:
        if len(self.group_sizes) > 2 and self.mean_group < self.length.size / 2:
            self.on_event(
                Notice(
                    f"stacks had {self.mean_group:.1f} trials on average, less than half of the"
                    f" population of {self.length.size}: the search was slower than it could be"
                )
            )
