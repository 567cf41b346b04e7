"""Train one population of a study, from its beginning or from a checkpoint, and tell its trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from torch import Tensor

from nfopt import attributes as names
from nfopt import seeds
from nfopt.distributed.checkpoints import Asked, Checkpoints, Restored, Saving
from nfopt.distributed.queue import WorkQueue
from nfopt.events import GroupTrained, Member, RungReached
from nfopt.flows import Stack
from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace
from nfopt.runner.context import Run
from nfopt.runner.rungs import choose_pruned
from nfopt.spec import FlowSpec
from nfopt.stored import began_ahead, trials_of
from nfopt.study.candidate import MAX_ROUND_TRIP, Candidate, groups, report, tell
from nfopt.study.length import Length
from nfopt.study.ranking import best_of
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import FEW_STEPS, bag_scores, failed, train_bags, with_round_trips
from nfopt.study.weights import KeptFlows
from nfopt.training import CheckpointError, MemberResult, Progress, Rung

Members = Sequence[Candidate | None]  # None: was in the population, and is not ours any more


@dataclass
class Trainer:
    """What one worker trains with; the attributes are those of `nfopt.runner.loop.Search`."""

    queue: WorkQueue
    data: MappedRows
    length: Length
    objectives: Sequence[str]
    call: Run
    deadline: float | None
    checkpoints: Checkpoints
    kept: KeptFlows
    pace: Pace | None = None
    dearness: Callable[[FlowSpec], float] = lambda spec: 1.0  # against the pace's recipe
    group_sizes: list[int] = field(default_factory=list)
    saving: Saving | None = None
    few: Callable[[], bool] = lambda: False  # trainings fit, so that none is pruned
    _mark: tuple[float, float] | None = None  # clock and share of the steps, when last looked

    # ------------------------------------------------------------------------------- populations

    def train(self, candidates: Sequence[Candidate], origin: FrozenTrial | None = None) -> float:
        """Train candidates and tell them; return the seconds of the training.

        Args:
            candidates: What was asked together.
            origin: First trial of the population that they were interrupted in.

        Raises:
            KeyboardInterrupt: If it is time to stop; what is not told is the caller's to release.
        """
        trained, left = 0.0, list(candidates)
        restored = None if origin is None else self.checkpoints.find(origin)
        if restored is not None and origin is not None:
            members = self._members(restored.asked, candidates)
            kind = self.data.kind
            if began_ahead(origin):
                why = "its trials began from others' weights, which this version does not do"
                self.checkpoints.set_aside(origin.number, ValueError(why))
            elif not any(members) or restored.asked.device != kind:
                why = f"it is of other trials or of device {restored.asked.device!r}, not {kind!r}"
                self.checkpoints.set_aside(origin.number, ValueError(why))
            else:
                left = [c for c in left if not any(c is member for member in members)]
                trained += self._group(members, restored.asked, restored, left)
                self.call.stop.check()
        left = self._usable(left)
        for group in groups(left):
            left = [c for c in left if not any(c is member for member in group)]
            trained += self._group(group, self._asked(group), None, left)
            self.call.stop.check()
        return trained

    def _usable(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Fail the candidates whose marginal maps lose the data's values; return the others."""
        reasons = {c.number: self.data.fault(c.marginals) for c in candidates}
        usable = [c for c in candidates if not reasons[c.number]]
        if len(usable) < len(candidates):
            self.queue.lease.move([candidate.trial for candidate in usable])
        for candidate in candidates:
            if reasons[candidate.number]:
                result = failed(0, reasons[candidate.number])
                tell(self.queue.study, candidate, result, self.objectives)
        return usable

    def abandon(self) -> None:
        """Remove the checkpoint of what was in training: it can't be gone on with."""
        if self.saving is not None:
            self.saving.end()

    def _asked(self, group: Sequence[Candidate]) -> Asked:
        return Asked(
            numbers=[c.number for c in group],
            specs=[c.spec for c in group],
            trains=[c.train for c in group],
            seeds=[c.seed for c in group],
            batches=seeds.derive(group[0].seed, seeds.BATCHES),
            steps=self.length.steps or group[0].train.steps,
            seconds=self._seconds(),
            device=self.data.kind,
            marginals=[c.marginals for c in group],
            rungs=[{} for _ in group],
        )

    def _members(self, asked: Asked, candidates: Sequence[Candidate]) -> list[Candidate | None]:
        """Find which of the candidates a checkpoint's members have come back as."""
        trials = trials_of(self.queue.study)
        members: list[Candidate | None] = [None] * len(asked.numbers)
        for candidate in candidates:
            old: object = candidate.number
            while isinstance(old, int) and old not in asked.numbers:
                old = trials[old].user_attrs.get(names.RETRY_OF)
            if isinstance(old, int):
                row = asked.numbers.index(old)
                own = (candidate.spec, candidate.marginals, candidate.seed)
                if own == (asked.specs[row], asked.marginals[row], asked.seeds[row]):
                    members[row] = candidate
        return members

    # ----------------------------------------------------------------------------------- one stack

    def _group(
        self,
        members: Members,
        asked: Asked,
        source: Restored | None,
        rest: Sequence[Candidate],
    ) -> float:
        """Train a stack and tell it; `rest` is what this worker still has to train afterwards."""
        began = self.call.clock()
        numbers = [
            old if member is None else member.number
            for old, member in zip(asked.numbers, members, strict=True)
        ]
        known = msgspec.structs.replace(asked, numbers=numbers)
        for member, rungs in zip(members, known.rungs, strict=True):
            for step, value in rungs.items() if member is not None else ():
                self._report(member, step / 100, value)
        self.saving = saving = self.checkpoints.begin(known, source)
        self._mark = None if source is not None else (began, 0.0)
        try:
            left = None if source is None else self._seconds()
            stack, results = self._run(members, saving, left)
        except CheckpointError as error:
            self.checkpoints.set_aside(known.numbers[0], error)
            saving.end(kept=True)
            self.saving = saving = self.checkpoints.begin(msgspec.structs.replace(known, step=0))
            stack, results = self._run(members, saving)
        live = sum(member is not None for member in members)
        self.group_sizes.append(live)
        taken = self.call.clock() - began
        if self.pace is not None and source is None:
            dear = self.dearness(asked.specs[0]) / max(1, asked.steps)
            self.pace = self.pace.corrected(taken, [dear * result.steps for result in results])
        if self.queue.lease.lost:
            self._give_up(members)
        kept = self._tell(members, results, stack, rest)
        saving.end(kept=kept)
        self.saving = None
        return taken

    def _run(
        self, members: Members, saving: Saving, left: float | None = None
    ) -> tuple[Stack, list[MemberResult]]:
        asked = saving.asked
        return train_bags(
            asked.specs,
            asked.trains,
            asked.seeds,
            asked.marginals,
            self.data,
            batches=asked.batches,
            steps=asked.steps,
            seconds=asked.seconds,
            left=left,  # it may have been begun with more time
            on_rung=lambda rung: self._rung(members, rung, asked),
            on_progress=lambda progress: self._progress(asked, progress),
            should_stop=self._over,
            checkpoint=saving.path,
            checkpoint_seconds=self.checkpoints.seconds,
            on_checkpoint=saving.saved,
        )

    def _scores(self, stack: Stack) -> Tensor:
        """Log-density of the validation rows under each member, on the data's own scale."""
        assert self.saving is not None
        return bag_scores(stack, self.saving.asked.marginals, self.data)

    def _sounded(self, candidate: Candidate, result: MemberResult, stack: Stack) -> MemberResult:
        """Measure the round trip of a flow whose time was over after a rung: it is kept, too."""
        if result.status != "interrupted" or not candidate.rungs or math.isinf(result.nll):
            return result
        assert self.saving is not None
        data = self.data.of_members(self.saving.asked.marginals)
        return with_round_trips(stack, [result], data, self.data.bag)[0]

    def _give_up(self, members: Members) -> None:
        lost = [member for member in members if member is not None and not member.told]
        for member in lost:
            member.lose()
        self.call.notice(
            f"{len(lost)} trials were taken over by another worker, as nothing was heard of"
            " this one: what it found of them does not count"
        )

    def _tell(
        self,
        members: Members,
        results: Sequence[MemberResult],
        stack: Stack,
        rest: Sequence[Candidate],
    ) -> bool:
        """Tell a stack's trials, the one with the lease last; True if some are to go on."""
        pairs = [
            (member, result)
            for member, result in zip(members, results, strict=True)
            if member is not None and not member.told
        ]
        again = self.queue.lease.lost or any(m is not None and m.lost for m in members)
        if rest:
            self.queue.lease.move([candidate.trial for candidate in rest])
        pairs.sort(key=lambda pair: pair[0].number == self.queue.lease.lead)
        stopped = self.call.stop()
        told = [
            Member(c.trial, c.spec, c.train, c.marginals, c.seed, dict(c.rungs), result)
            for c, result in pairs
        ]
        if told and not stopped:
            self.call.on_event(GroupTrained(tuple(told), stack, self.call.elapsed()))
        scores = None if stopped or not told else self._scores(stack)
        if not stopped:
            pairs = [
                (candidate, self._sounded(candidate, result, stack)) for candidate, result in pairs
            ]
        for candidate, result in pairs:
            if stopped and result.status in ("interrupted", "complete"):
                again = True  # an interrupted run has not scored its members
                continue  # the caller releases it
            if scores is not None and _keepable(result):
                own = scores[result.member // self.data.bag]
                asked = None if self.saving is None else self.saving.asked
                self.kept.offer(candidate, result, stack, own, asked)
            if candidate.number == self.queue.lease.lead:
                self.queue.lease.drop()
            if not candidate.told:
                tell(self.queue.study, candidate, result, self.objectives, stopped="out of time")
            again |= candidate.lost or (result.status == "interrupted" and not candidate.rungs)
        if not stopped and again:
            self.queue.requeue()
        return again

    # -------------------------------------------------------------------------------- while it runs

    def _seconds(self) -> float | None:
        """Seconds that a training has at most: its rate falls earlier rather than not at all."""
        left = self.call.left(self.deadline)
        return None if left is None else max(left, 1e-3)

    def late(self) -> bool:
        """Say whether the search should be over."""
        return self.call.over(self.deadline, plan.GRACE)

    def _over(self) -> bool:
        return self.call.stop() or self.queue.lease.lost or (self.late() and not self._needed())

    def _needed(self) -> bool:
        """Say whether a study that has nothing yet waits for the first steps of this training."""
        begun = self.saving is not None and self.saving.asked.step < FEW_STEPS
        return begun and best_of(self.queue.study) is None

    def _report(self, member: Candidate | None, fraction: float, value: float) -> None:
        if member is None or member.told:
            return
        try:
            report(self.queue.study, member, fraction, value)
        except UpdateFinishedTrialError:
            member.lose()

    def _rung(self, members: Members, rung: Rung, asked: Asked) -> set[int]:
        values = dict(zip(rung.members, rung.bests, strict=True))
        strangers = {m for m in values if (one := members[m]) is None or one.told}
        if len(self.objectives) > 1 or rung.fraction >= 1.0:
            return strangers
        self._see_pace(rung, len(values), asked)
        for member, value in values.items():
            self._report(members[member], rung.fraction, value)
        strangers = {m for m in values if (one := members[m]) is None or one.told}
        own = {m: one for m in values if (one := members[m]) is not None and m not in strangers}
        for member, candidate in own.items():
            asked.rungs[member] = dict(candidate.rungs)
        pace = self.pace
        pruned = choose_pruned(
            rung,
            own,
            trials_of(self.queue.study),
            self.call.left(self.deadline),
            None if pace is None else pace.times(self.dearness(asked.specs[0])),
            self.few(),
        )
        told = {own[m].number: values[m] for m in own}
        gone = tuple(sorted(own[m].number for m in pruned))
        self.call.on_event(RungReached(rung.fraction, told, gone))
        return pruned | strangers

    def _see_pace(self, rung: Rung, living: int, asked: Asked) -> None:
        """Correct the pace by what the steps since the last rung have taken."""
        now = self.call.clock()
        if self.pace is not None and self._mark is not None:
            began, before = self._mark
            share = self.dearness(asked.specs[0]) * (rung.fraction - before)
            self.pace = self.pace.corrected(now - began, [share] * living)
        self._mark = now, rung.fraction

    def _progress(self, asked: Asked, progress: Progress) -> None:
        asked.step = progress.step
        self.call.training("search", asked.specs[0].summary(), progress)


def _keepable(result: MemberResult) -> bool:
    """Whether a trained flow can be used, also one that ended at a rung or soon after it."""
    sound = math.isfinite(result.nll) and result.round_trip <= MAX_ROUND_TRIP
    return result.status in ("complete", "pruned", "interrupted") and sound
