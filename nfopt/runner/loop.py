"""The search itself: ask a population, train it with rungs, tell it, until the budget is met.

Any number of workers run this loop on one study, the process of `nfopt search` among them. They
meet only in the storage: see `queue` (what may be taken), `leases` (who is gone), `checkpoints`
(what is gone on with).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.distributed.checkpoints import SECONDS as CHECKPOINT_SECONDS
from nfopt.distributed.checkpoints import Checkpoints
from nfopt.distributed.lease import BEATS, SECONDS, Lease, Observer, ours
from nfopt.distributed.queue import WorkQueue, counted, missing
from nfopt.errors import StudyError
from nfopt.events import BatchTold
from nfopt.runner import budget as plan
from nfopt.runner.agenda import Agenda, Next
from nfopt.runner.ask import Asker
from nfopt.runner.budget import Pace
from nfopt.runner.context import Run
from nfopt.runner.poll import Polling
from nfopt.runner.trainer import Trainer
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.stored import trials_of
from nfopt.study.candidate import Candidate, groups, release
from nfopt.study.length import Length
from nfopt.study.ranking import nll_place
from nfopt.study.rows import MappedRows
from nfopt.study.sampler import StudySampler
from nfopt.study.weights import KeptFlows

MOST_FAILURES = 3  # populations in a row without a single counted trial
FAR = 100  # populations for which the budget has room still, so that nobody need count it
POLL = 1.0  # seconds between two looks at the others, at most
LAST_WORDS = 1.0  # seconds after the end that others have to tell their trials

Budget = tuple[int | None, float | None]  # trials; clock time at which the search must be over


@dataclass
class Search:
    """One worker on one study.

    Attributes:
        study: With a `StudySampler`.
        space: What is searched.
        data: Rows of the search, on the device to train on.
        length: The population's size and a trial's length.
        seed: Of the study.
        call: What this is a part of.
        recipe: The best that is known without a search.
        trials: COMPLETE + PRUNED to reach, or None.
        deadline: Clock time at which the search must be over, or None.
        first: Recipes and initial specs that the space has, to be tried first.
        pace: Seconds of a training of the best recipe, where time is the budget.
        objectives: What the study's values are; rungs prune where it is one.
        lease_seconds: That others wait for a sign of life.
        checkpoint_seconds: Between two checkpoints of a population.
        budget: Gives trials and deadline anew before each population, as another process may change
            them; None: they stay.
        waits: For others that run; else it ends when there is nothing left to ask.
        trainer: What trains a population.
        kept: The flows of its best trials, once it runs.
    """

    study: optuna.Study
    space: SearchSpace
    data: MappedRows
    length: Length
    seed: int
    call: Run
    recipe: Recipe
    trials: int | None = None
    deadline: float | None = None
    first: Sequence[Recipe] = ()
    pace: Pace | None = None
    objectives: Sequence[str] = ("nll",)
    lease_seconds: float = SECONDS
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    budget: Callable[[], Budget] | None = None
    waits: bool = True
    trainer: type[Trainer] = Trainer
    _trial_overhead: float = plan.TRIAL_OVERHEAD  # seconds to ask and tell a trial, measured
    _barren: int = 0
    _waiting: bool = False
    _exhausted: bool = False
    _agenda: Agenda = field(init=False)
    kept: KeptFlows = field(init=False)
    _trainer: Trainer = field(init=False)

    def run(self) -> None:
        """Search until the budget is met; no trial of ours is left running, whatever happens.

        Raises:
            KeyboardInterrupt: If `stop` says so; what was in training comes back on resume.
            StudyError: If populations fail, one after the other, altogether.
        """
        place = nll_place(self.objectives)
        self._looking = Polling(self.study, place, self.lease_seconds)
        self._observer = Observer(self.lease_seconds)
        lease = Lease(self.study, self.lease_seconds, self._observer)
        self._queue = WorkQueue(self.study, lease, self.trials)
        self._asker = Asker(self._queue, self.space, self.seed)
        on_event = self.call.on_event
        checkpoints = Checkpoints(self.study, lease, on_event, self.checkpoint_seconds)
        self.kept = KeptFlows(self.study, checkpoints, self.data, place)
        self._agenda = Agenda(
            study=self.study,
            space=self.space,
            size=self.length.size,
            recipe=self.recipe,
            first=self.first,
            pace=self.pace,
            left=self._time_left,
            favourites=self.kept.favourites,
            bags=self.data.bag > 1,
            must=self.budget is None,
        )
        self._trainer = self.trainer(
            queue=self._queue,
            data=self.data,
            length=self.length,
            objectives=self.objectives,
            call=self.call,
            deadline=self.deadline,
            checkpoints=checkpoints,
            kept=self.kept,
            pace=self.pace,
            dearness=self._agenda.dearness,
            few=lambda: self._agenda.few,
        )
        try:
            with lease.beating():
                while self._step():
                    pass
        finally:
            checkpoints.close()
        self._look_at_groups()

    def _step(self) -> bool:
        """Train a population, or wait for others; False if there is nothing more to do."""
        self.call.stop.check()
        if self.budget is not None:
            self.trials, self.deadline = self.budget()
            self._queue.budget, self._trainer.deadline = self.trials, self.deadline
        trials = self._look()
        chosen = self._next(trials)
        if chosen.count == 0:
            return self._wait(self._looking.poll() if trials is None else trials)
        self._waiting = False
        if not self._population(chosen):
            self._pause(0.05)  # others were faster
        return True

    def _look(self) -> list[FrozenTrial] | None:
        """Read the study, and take over what was left behind; None if a look can wait."""
        far = self.trials is None or self.trials - self._looking.made > FAR * self.length.size
        if far and self._agenda.all_first and not self._waiting and not self._looking.due():
            return None
        trials = self._looking.poll()
        dead = self._queue.reap(self._observer, trials)
        if not dead:
            return trials
        self.call.notice(f"{len(dead)} trials of a worker that is gone come back")
        return self._looking.poll()

    def _population(self, chosen: Next) -> int:
        """Ask, train and tell a population; return how many trials it had."""
        started = self.call.clock()
        waiting = self._queue.next(chosen.count)
        origin = None if waiting is None else waiting.origin
        candidates: list[Candidate] = []
        self._trainer.saving = None
        self._queue.lease.drop()
        try:
            if waiting is not None:
                candidates = self._asker.take(waiting)
            fresh = origin is None or (candidates and names.CHECKPOINT not in origin.user_attrs)
            if fresh and chosen.offspring:
                candidates = self._asker.fill(chosen.count, candidates)
            self.call.stop.check()
            trained = self._trainer.train(candidates, origin) if candidates else 0.0
            self._agenda.pace = self._trainer.pace  # as it was seen now
        except KeyboardInterrupt:
            reason = self.call.stop.reason or "stopped"
            release(self._queue, candidates, f"interrupted ({reason})")
            raise
        except BaseException as error:
            release(self._queue, candidates, f"{type(error).__name__}: {error}", again=False)
            self._trainer.abandon()
            raise
        finally:
            self._queue.lease.drop()
        if candidates:
            self._trial_overhead = (self.call.clock() - started - trained) / len(candidates)
            self._tell_batch(candidates)
        return len(candidates)

    # --------------------------------------------------------------------------------------- budget

    def _next(self, trials: Sequence[FrozenTrial] | None) -> Next:
        """Say what the next population is."""
        chosen = self._agenda.decide(trials, self.trials)
        untried = self._untried() if chosen.offspring else None
        return chosen if untried is None else replace(chosen, count=min(chosen.count, untried))

    def _time_left(self) -> float | None:
        """Seconds that are left for trainings, asking and telling a trial taken off."""
        left = self.call.left(self.deadline)
        return None if left is None else left - self._trial_overhead

    def _untried(self) -> int | None:
        """Count the flows of a small finite space that are still to train; None: there are many."""
        sampler = self.study.sampler
        left = sampler.left(self.study) if isinstance(sampler, StudySampler) else None
        if left is None:
            return None
        waiting = trials_of(self.study, TrialState.WAITING)
        if not left and not waiting and not self._exhausted:
            self._exhausted = True
            self.call.notice("every flow that `space` allows has been tried: the search ends")
        return left + len(waiting)

    def _wait(self, trials: Sequence[FrozenTrial]) -> bool:
        """Wait a moment for what others train; False if there is nothing to wait for.

        Args:
            trials: As they were read when it was decided that there is nothing to train. A second
                reading could show that what another worker trained has just come back: neither
                running, nor taken by this one.
        """
        running = [t for t in trials if t.state is TrialState.RUNNING and ours(t)]
        others = running + missing(trials)
        met = self.trials is not None and counted(trials) >= self.trials
        late = self.call.over(self.deadline, LAST_WORDS)
        if not others or met or late or not self.waits:
            self._queue.tidy(trials)
            return False
        if not self._waiting:
            self._waiting = True
            self.call.notice(
                f"waiting for {len(others)} trials that other workers train (or Ctrl-C)"
            )
        self._pause(min(POLL, self.lease_seconds / BEATS))
        return True

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.call.stop.check()
            time.sleep(min(left, 0.1))

    # -------------------------------------------------------------------------------------- telling

    def _tell_batch(self, candidates: Sequence[Candidate]) -> None:
        states = Counter(candidate.state for candidate in candidates)
        self._looking.add(candidates)
        best = self._looking.best
        self.call.on_event(
            BatchTold(
                numbers=tuple(candidate.number for candidate in candidates),
                complete=states[TrialState.COMPLETE],
                pruned=states[TrialState.PRUNED],
                failed=states[TrialState.FAIL],
                groups=tuple(len(group) for group in groups(candidates)),
                trials=self._looking.counted,
                best_number=None if best is None else best[0],
                best_nll=None if best is None else best[1],
                seconds=self.call.elapsed(),
            )
        )
        done = states[TrialState.COMPLETE] + states[TrialState.PRUNED]
        lost = any(candidate.lost for candidate in candidates)
        self._barren = 0 if done or lost or self._trainer.late() else self._barren + 1
        if self._barren >= MOST_FAILURES:
            last = candidates[-1].trial
            reason = last.user_attrs.get(names.REASON, "no reason is known")
            raise StudyError(
                f"The last {self._barren} populations failed altogether (trial {last.number}:"
                f" {reason}): limit the search with `space`, or look at the data."
            )

    @property
    def mean_group(self) -> float:
        """Mean number of trials that trained as one stack in this call; nan before the first."""
        sizes = self._trainer.group_sizes
        return sum(sizes) / len(sizes) if sizes else math.nan

    def _look_at_groups(self) -> None:
        if len(self._trainer.group_sizes) > 2 and self.mean_group < self.length.size / 2:
            self.call.notice(
                f"stacks had {self.mean_group:.1f} trials on average, less than half of the"
                f" population of {self.length.size}: the search was slower than it could be"
            )
