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
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.data import Preprocessing
from nfopt.distributed.checkpoints import SECONDS as CHECKPOINT_SECONDS
from nfopt.distributed.checkpoints import Checkpoints
from nfopt.distributed.lease import BEATS, SECONDS, Lease, Observer, ours
from nfopt.distributed.queue import COUNTED, WorkQueue, counted
from nfopt.errors import StudyError
from nfopt.events import BatchTold
from nfopt.runner import budget as plan
from nfopt.runner.ask import Asker
from nfopt.runner.context import Run
from nfopt.runner.poll import Polling
from nfopt.runner.trainer import Trainer
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.stored import trials_of
from nfopt.study.candidate import Candidate, groups, release
from nfopt.study.first_trials import first_key
from nfopt.study.length import Length
from nfopt.study.ranking import nll_place
from nfopt.study.rows import MappedRows
from nfopt.study.sampler import StudySampler
from nfopt.study.weights import BestWeights

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
        trials: COMPLETE + PRUNED to reach, or None.
        deadline: Clock time at which the search must be over, or None.
        first: Recipes and initial specs that the space has, the best recipe first; each leads a
            population of its own shape, and the first one is never pruned.
        leader: `first_key` of the best recipe, where `first` does not say.
        objectives: What the study's values are; rungs prune where it is one.
        preprocessing: Gives the fitted maps, so that the best trials can be kept as flows.
        lease_seconds: That others wait for a sign of life.
        checkpoint_seconds: Between two checkpoints of a population.
        budget: Gives trials and deadline anew before each population, as another process may change
            them; None: they stay.
        waits: For others that run; else it ends when there is nothing left to ask.
        trainer: What trains a population.
    """

    study: optuna.Study
    space: SearchSpace
    data: MappedRows
    length: Length
    seed: int
    call: Run
    trials: int | None = None
    deadline: float | None = None
    first: Sequence[Recipe] = ()
    leader: str | None = None
    objectives: Sequence[str] = ("nll",)
    preprocessing: Callable[[str], Preprocessing] | None = None
    lease_seconds: float = SECONDS
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    budget: Callable[[], Budget] | None = None
    waits: bool = True
    trainer: type[Trainer] = Trainer
    _trial_overhead: float = plan.TRIAL_OVERHEAD  # seconds to ask and tell a trial, measured
    _barren: int = 0
    _waiting: bool = False
    _exhausted: bool = False
    _all_first: bool = False  # all first trials were asked
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
        self._trainer = self.trainer(
            queue=self._queue,
            data=self.data,
            length=self.length,
            objectives=self.objectives,
            call=self.call,
            deadline=self.deadline,
            leader=first_key(self.first[0]) if self.first else self.leader,
            checkpoints=checkpoints,
            best=BestWeights(self.study, checkpoints, self.preprocessing, place),
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
        count = self._next_size(trials)
        if count == 0:
            return self._wait()
        self._waiting = False
        if not self._population(count, trials):
            self._pause(0.05)  # others were faster
        return True

    def _look(self) -> list[FrozenTrial] | None:
        """Read the study, and take over what was left behind; None if a look can wait."""
        far = self.trials is None or self.trials - self._looking.made > FAR * self.length.size
        if far and self._all_first and not self._waiting and not self._looking.due():
            return None
        trials = self._looking.poll()
        dead = self._queue.reap(self._observer, trials)
        if not dead:
            return trials
        self.call.notice(f"{len(dead)} trials of a worker that is gone come back")
        return self._looking.poll()

    def _population(self, count: int, trials: Sequence[FrozenTrial] | None) -> int:
        """Ask, train and tell a population; return how many trials it had."""
        started = self.call.clock()
        self._enqueue_first(count, trials)
        waiting = self._queue.next(count)
        origin = None if waiting is None else waiting.origin
        candidates: list[Candidate] = []
        self._trainer.saving = None
        self._queue.lease.drop()
        try:
            if waiting is not None:
                candidates = self._asker.take(waiting)
            if origin is None or (candidates and names.CHECKPOINT not in origin.user_attrs):
                candidates = self._asker.fill(count, candidates)
            self.call.stop.check()
            trained = self._trainer.train(candidates, origin) if candidates else 0.0
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

    def _next_size(self, trials: Sequence[FrozenTrial] | None) -> int:
        """Say how many trials the next population has; 0 if there is none.

        Args:
            trials: All of the study; None: not read, as the end is far.
        """
        size = self.length.size
        untried = self._untried()
        if untried is not None:
            size = min(size, untried)
        if self.trials is not None and trials is not None:
            # those that other processes train will count
            running = [t for t in trials if t.state is TrialState.RUNNING and ours(t)]
            open_trials = max(0, self.trials - counted(trials) - len(running))
            # few trials are shared among the first ones that are still to lead a population
            fair = max(1, open_trials // max(1, len(self._pending(trials))))
            workers = {repr(t.user_attrs.get(names.WORKER)) for t in running}
            mine = math.ceil(open_trials / (1 + len(workers)))
            size = min(size, open_trials, fair, mine)
        if size and self.deadline is not None:
            expected = self.length.seconds_of(size)
            if expected is None and self._trainer.member_seconds is not None:
                expected = self._trainer.member_seconds * size
            left = self.deadline - self.call.clock() - size * self._trial_overhead
            if not plan.may_start(left, expected):
                return 0
        return size

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

    def _wait(self) -> bool:
        """Wait a moment for what others train; False if there is nothing to wait for."""
        running = trials_of(self.study, TrialState.RUNNING)
        others = [trial for trial in running if ours(trial)]
        met = self.trials is not None and (len(trials_of(self.study, *COUNTED)) >= self.trials)
        late = self.call.over(self.deadline, LAST_WORDS)
        if not others or met or late or not self.waits:
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

    # --------------------------------------------------------------------------------- first trials

    def _enqueue_first(self, count: int, trials: Sequence[FrozenTrial] | None) -> None:
        """Queue the next first trial, and those of its shape, unless something waits already."""
        pending = {} if self._all_first or trials is None else self._pending(trials)
        self._all_first |= trials is not None and not pending
        if not pending or trials_of(self.study, TrialState.WAITING):
            return
        for key, params in next(iter(pending.values()))[:count]:
            self.study.enqueue_trial(params, user_attrs={names.FIRST: key})

    def _pending(
        self, trials: Sequence[FrozenTrial]
    ) -> dict[tuple[object, ...], list[tuple[str, dict[str, Any]]]]:
        """Keys and parameters of the first trials that were never asked, by their shape."""
        done = {trial.user_attrs.get(names.FIRST) for trial in trials}
        pending: dict[tuple[object, ...], list[tuple[str, dict[str, Any]]]] = {}
        for recipe in self.first:
            key = first_key(recipe)
            if key not in done:
                params = self.space.params_of(recipe)
                shape = tuple(params[name] for name in self.space.shape_parameters)
                pending.setdefault(shape, []).append((key, params))
        return pending

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
