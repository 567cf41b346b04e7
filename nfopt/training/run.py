"""The book-keeping of a run: time, validation, records, best weights, checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nfopt.spec import TrainSpec
from nfopt.training import checkpoint
from nfopt.training.batches import TrainData
from nfopt.training.checkpoint import RunState
from nfopt.training.evaluate import FIRST, in_parts, round_trip_error, validated
from nfopt.training.population import Population
from nfopt.training.results import MemberResult, Progress, Record, Rung, Status, result_of
from nfopt.training.schedule import CHECK_SHARE, CHECKS, Plan, plan_checks

if TYPE_CHECKING:
    from nfopt.flows import Stack

TICK_SECONDS = 0.2


class Run:
    """All that a run knows; `loop.py` says in which order things happen.

    Attributes:
        parts: The populations still to train, one after the other; one, unless memory ran out.
        records: One a member of the stack.
        best: Best weights of each member, shape (P, N).
    """

    on_rung: Callable[[Rung], Iterable[int]] | None = None
    on_progress: Callable[[Progress], None] | None = None
    should_stop: Callable[[], bool] | None = None
    on_checkpoint: Callable[[Exception | None], None] | None = None
    checkpoint_seconds = 30.0

    def __init__(
        self,
        stack: Stack,
        specs: Sequence[TrainSpec],
        data: TrainData,
        generator: torch.Generator,
        plan: Plan,
        rungs: tuple[float, ...],
        path: Path | None,
        clock: Callable[[], float],
    ) -> None:
        self.stack, self.specs, self.rungs, self.path = stack, list(specs), rungs, path
        if data.weights is not None:  # a mean of 1 keeps the loss a mean
            scaled = data.weights / data.weights.mean()
            data = TrainData(**{**vars(data), "weights": scaled.to(stack.theta.dtype)})
        self.data = data
        self._clock = clock
        self._began = clock()
        self._before = 0.0  # seconds of the run before this process went on with it
        self._ticked = -math.inf
        self._step_seconds = 0.0
        self._asked = repr((plan.steps, plan.end, rungs))
        draws = torch.randint(1 << 62, (2,), generator=generator, device=generator.device).tolist()
        self._seeds = (int(draws[0]), int(draws[1]))
        if path is not None and path.exists():
            with checkpoint.fitting(path):
                self._restore(path)
        else:
            self.records = [Record(curve=[]) for _ in self.specs]
            self.best = stack.theta.detach().clone()
            everyone = range(len(self.specs))
            self.parts = [Population.start(stack, everyone, specs, data.rows, self._seeds, plan)]
        self._saved = self._stepped = self._accounted = self.elapsed()

    # ----------------------------------------------------------------------------------------- time

    def elapsed(self) -> float:
        """Seconds of the run, over all restarts."""
        return self._before + self._clock() - self._began

    def progress(self, part: Population) -> float:
        """Say how far a population is, 0 to 1, from its steps and the time."""
        if part.plan.end is None:
            return part.plan.progress(part.step, 0.0)
        rows = self.data.val_rows
        # a check on some of the rows is followed by one on all of them at the end
        again = 0.0 if part.check_rows in (None, rows) else rows / (part.check_rows or rows)
        reserve = part.check_seconds * (1.0 + again)
        reserve = min(reserve, 0.5 * (part.plan.end - part.plan.start))
        return part.plan.progress(part.step, self.elapsed(), self._step_seconds, reserve)

    def stepped(self, part: Population) -> float:
        """Take note of a step's time, and say how far the population is now."""
        now = self.elapsed()
        taken = now - self._stepped
        smooth = 0.9 if self._step_seconds else 0.0
        self._step_seconds = smooth * self._step_seconds + (1 - smooth) * taken
        self._stepped = now
        return self.progress(part)

    def tick(self, part: Population, progress: float) -> bool:
        """About five times a second: tell the progress, save if due, and say whether to stop."""
        now = self.elapsed()
        stop = False
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            self._tell(part, progress)
            if now - self._saved >= self.checkpoint_seconds:
                self.save()
            stop = self.should_stop is not None and self.should_stop()
        self._stepped = self.elapsed()
        return stop

    def _tell(self, part: Population, progress: float) -> None:
        if self.on_progress is None:
            return
        steps = part.plan.steps
        if part.plan.end is not None:
            left = max(0.0, part.plan.end - self.elapsed()) / (self._step_seconds or math.inf)
            steps = (
                part.step + math.ceil(left)
                if steps is None
                else min(steps, part.step + math.ceil(left))
            )
        nlls = tuple(self.records[m].last for m in part.members)
        members = tuple(part.members)
        self.on_progress(Progress(part.step, steps or 0, progress, self.elapsed(), members, nlls))

    # --------------------------------------------------------------------------------------- checks

    def rung_reached(self, part: Population, progress: float) -> float | None:
        """Return the highest rung that is reached (by steps, if it has any) and not reported."""
        share = part.step / part.plan.steps if part.plan.steps else progress
        later = self.rungs[part.next_rung :]
        reached = [rung for rung in later if progress >= 1.0 or rung <= share + 1e-9]
        return reached[-1] if reached else None

    def check_due(self, part: Population) -> bool:
        """Say whether it is time for a validation check."""
        if part.plan.end is None:
            # counted in steps, so that a run does not depend on the machine's speed
            return part.step % self._plan_checks(part.plan.steps or 0)[0] == 0
        whole = part.plan.end - part.plan.start
        pause = max(whole / CHECKS, part.check_seconds / CHECK_SHARE)
        return self.elapsed() - part.checked >= pause

    def _plan_checks(self, steps: int) -> tuple[int, int]:
        return plan_checks(steps, self.specs[0].batch_size, self.data.val_rows)

    def _rows_of_check(self, part: Population) -> int:
        if part.check_rows is None:
            steps = part.plan.steps
            if part.plan.end is not None:
                whole = part.plan.end - part.plan.start
                fit = int(whole / max(self._step_seconds, 1e-6))
                steps = fit if steps is None else min(steps, fit)
            part.check_rows = self._plan_checks(steps or 0)[1]
        return part.check_rows

    def check(self, part: Population, progress: float) -> None:
        """Validate all members of a population, keep their best weights, drop who is to go."""
        part.wait()  # the last steps' time is not the check's
        began = self.elapsed()
        used = self._rows_of_check(part)
        data = self.data.of_members(part.members)
        nlls, errors = validated(part.scored(), data, used).tolist()
        sound = part.sound()
        improved = []
        for row, member in enumerate(part.members):
            record, nll = self.records[member], nlls[row]
            record.last = nll if math.isfinite(nll) else None
            record.waited += 1
            if math.isfinite(nll) and sound[row]:
                record.curve.append((part.step, nll))
                if record.best is None or nll < record.best:
                    record.best, record.best_2se, record.best_step = nll, errors[row], part.step
                    record.best_rows, record.waited = used, 0
                    improved.append(row)
        self._keep_best(part, improved)
        part.checked = self.elapsed()
        part.check_seconds = part.checked - began
        gone: dict[int, tuple[Status, str]] = {}
        for member in self._ask_rung(part, progress, nlls):
            gone[member] = ("pruned", f"pruned at step {part.step}")
        for row, member in enumerate(part.members):
            patience = self.specs[member].patience
            if not sound[row]:
                gone[member] = ("failed", f"weights not finite at step {part.step}")
            elif patience and self.records[member].waited >= patience and progress < 1.0:
                reason = f"stopped early: no improvement in {patience} checks"
                gone.setdefault(member, ("complete", reason))
        self._drop(part, gone)
        self._tell(part, progress)

    def _keep_best(self, part: Population, rows: Sequence[int]) -> None:
        if rows:
            device = self.best.device
            index = torch.tensor([part.members[row] for row in rows], device=device)
            self.best[index] = part.scored().theta.detach()[torch.tensor(rows, device=device)]

    def _ask_rung(self, part: Population, progress: float, nlls: Sequence[float]) -> set[int]:
        """Report a rung, if one is reached, and return the members to prune."""
        rung = self.rung_reached(part, progress)
        if rung is None:
            return set()
        part.next_rung = self.rungs.index(rung) + 1
        if self.on_rung is None:
            return set()
        members = tuple(part.members)
        records = [self.records[member] for member in members]
        bests = tuple(math.inf if record.best is None else record.best for record in records)
        pruned = set(self.on_rung(Rung(rung, part.step, members, tuple(nlls), bests)) or ())
        return pruned & set(members) if progress < 1.0 else set()

    def drop_unsound(self, part: Population) -> None:
        """Set aside the members whose weights are not finite."""
        sound = part.sound()
        why: tuple[Status, str] = ("failed", f"weights not finite at step {part.step}")
        self._drop(part, {m: why for m, fine in zip(part.members, sound, strict=True) if not fine})

    def complete(self, part: Population) -> None:
        """End the members that have come to the end of the run."""
        why: tuple[Status, str] = ("complete", "")
        self._drop(part, dict.fromkeys(part.members, why))

    def _drop(self, part: Population, gone: dict[int, tuple[Status, str]]) -> None:
        self._account(part)
        for member, (status, reason) in gone.items():
            record = self.records[member]
            record.status, record.reason, record.steps = status, reason, part.step
        left = [row for row, member in enumerate(part.members) if member not in gone]
        if not left:
            part.members = []
        elif len(left) < len(part.members):
            part.keep(left)

    def _account(self, part: Population) -> None:
        now = self.elapsed()
        for member in part.members:
            self.records[member].seconds += (now - self._accounted) / len(part.members)
            self.records[member].steps = part.step
        self._accounted = now

    # ---------------------------------------------------------------------------- end, memory, disk

    def halve(self, part: Population) -> None:
        """Put two halves in the place of a population that does not fit into memory."""
        if part.stack.theta.is_cuda:
            torch.cuda.empty_cache()
        self._account(part)
        self.parts[:1] = part.halve(self.elapsed())

    def next_part(self) -> None:
        """Leave a finished population; the time of the one after it begins now."""
        self.parts.pop(0)
        if self.parts:
            self.parts[0].plan.start = self.parts[0].checked = self.elapsed()

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.path is None:
            return
        if self.parts:
            self._account(self.parts[0])
        tensors = {"best": self.best}
        for number, part in enumerate(self.parts):
            tensors |= {f"{number}.{k}": v for k, v in checkpoint.tensors_of(part).items()}
        parts = [checkpoint.state_of(part) for part in self.parts]
        state = RunState(self._identity(), self.elapsed(), self.records, parts)
        failed: Exception | None = None
        try:
            checkpoint.save(self.path, state, tensors)
        except checkpoint.UNWRITTEN as error:
            if self.on_checkpoint is None:
                raise
            failed, self.path = error, None  # the training is worth more than its checkpoint
        if self.on_checkpoint is not None and (self.parts or failed):
            self.on_checkpoint(failed)
        self._saved = self.elapsed()

    def _restore(self, path: Path) -> None:
        state, tensors = checkpoint.load(path, self._identity(), RunState)
        self.records, self._before = state.records, state.elapsed
        self.best = self.stack.theta.detach().clone().copy_(tensors["best"])
        self.parts = []
        for number, saved in enumerate(state.parts):
            specs = [self.specs[member] for member in saved.members]
            part = Population.start(
                self.stack.select(saved.members),
                saved.members,
                specs,
                self.data.rows,
                self._seeds,
                saved.plan,
                shared=saved.shared,
            )
            prefix = f"{number}."
            own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            checkpoint.restore(part, saved, own)
            self.parts.append(part)

    def _identity(self) -> str:
        parts = [t for t in vars(self.data).values() if isinstance(t, Tensor)]
        shapes = [tuple(part.shape) for part in parts]
        specs = [s.to_json() for s in self.stack.specs] + [s.to_json() for s in self.specs]
        if self.data.maps is not None:
            specs.append(repr(self.data.maps.tolist()))
        return checkpoint.identity(self._asked, repr(shapes), str(self.stack.theta.dtype), *specs)

    def finish(self) -> list[MemberResult]:
        """Put the best weights into the stack and measure them on the validation rows."""
        with torch.no_grad():
            self.stack.theta.copy_(self.best)
        if self.parts:  # interrupted: whoever did that wants to leave now
            self._account(self.parts[0])
            round_trips = [math.nan] * len(self.records)
        else:
            self._score_all()
            round_trips = in_parts(
                self.stack,
                self.data,
                lambda stack, data: round_trip_error(stack, *data.validation(FIRST)[:2]),
            ).tolist()
        return [
            result_of(member, record, round_trips[member])
            for member, record in enumerate(self.records)
        ]

    def _score_all(self) -> None:
        everything = self.data.val_rows
        if all(record.best is None or record.best_rows == everything for record in self.records):
            return
        scored = in_parts(self.stack, self.data, lambda s, d: validated(s, d, everything))
        nlls, errors = scored.tolist()
        for record, nll, error in zip(self.records, nlls, errors, strict=True):
            if record.best is not None and math.isfinite(nll):
                record.best, record.best_2se, record.best_rows = nll, error, everything
