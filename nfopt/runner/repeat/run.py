"""Train the members of a delivered flow again, from their seeds, for the steps that they took."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from nfopt.errors import NfoptError
from nfopt.events import OnEvent, ignore
from nfopt.model import Flow
from nfopt.runner.context import Run
from nfopt.runner.deliver import conclude
from nfopt.runner.repeat.read import Description
from nfopt.signals import listening
from nfopt.spec import FlowSpec
from nfopt.study.candidate import fault, stack_key
from nfopt.study.dataset import Source
from nfopt.study.length import RUNGS
from nfopt.study.results import FitResult, Score, mixture, score_of
from nfopt.study.rows import MappedRows, search_rows
from nfopt.study.stacks import bag_scores, train_bags
from nfopt.training import MemberResult, Rung
from nfopt.training.provenance import Made, Provenance, of_bag


@dataclass(frozen=True, eq=False)
class RepeatResult(FitResult):
    """A delivered flow, trained again.

    Attributes:
        delivered: The scores of the flow as it was delivered.
        exact: Every member was trained step for step as then: on the same machine, with the same
            versions and threads, it has the same weights.
        inexact: Why not, in words; "".
    """

    delivered: dict[str, float] = field(default_factory=dict)
    exact: bool = False
    inexact: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            **super().to_dict(),
            "delivered": dict(self.delivered),
            "exact": self.exact,
            "inexact": self.inexact,
        }


@dataclass(frozen=True)
class Candidate:
    """A flow, or the flows of all folds, that were trained as one.

    Attributes:
        first: Its first member.
        spec: Its flow.
        made: How it was trained.
    """

    first: int
    spec: FlowSpec
    made: Provenance

    @property
    def key(self) -> tuple[Hashable, ...]:
        """What is equal for flows of one stack."""
        one = self.made
        return one.batches, one.planned, one.stack, one.raced, *stack_key(self.spec, one.train)


def run_repeat(
    described: Description,
    source: Source,
    *,
    device: str = "cpu",
    out: Path | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    command: str = "",
) -> RepeatResult:
    """Train all members again, mix them with their shares, score and save the mixture.

    Args:
        described: The flow.
        source: The data that it was trained on.
        device: Where to train.
        out: Folder for the flow, or None.
        on_event: Told of the progress.
        should_stop: Asked about five times a second.
        began: Clock time at which the call began; None: now.
        clock: Seconds.
        command: What made the call, which is kept with the flow.

    Raises:
        NfoptError: If a member can't be used.
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`.
    """
    began = clock() if began is None else began
    made = described.made
    with listening(should_stop) as stop:
        call = Run(stop, on_event, began, clock, command)
        rows = MappedRows(source.data, device)
        if made.searched:
            rows = search_rows(source.data, made.folds_seed, device, on_event, folds=made.folds)
        every = _candidates(described, rows.bag)
        stacks: dict[tuple[Hashable, ...], list[Candidate]] = {}
        for one in every:
            # of an older nfopt it is not known which were one stack
            key = one.key if one.made.stack else (one.first,)
            stacks.setdefault(key, []).append(one)
        trained: dict[int, _Trained] = {}
        for group in stacks.values():
            call.stop.check()
            trained |= _stack(sorted(group, key=lambda one: one.made.row), rows, call)
        ordered = [trained[one.first] for one in every]
        flow, validation = _mixed(described, ordered, rows)
        inexact = _inexact(list(stacks.values()), rows.bag)
        provenance = [each for one in ordered for each in one.made]
        info = {
            "train": msgspec.to_builtins(provenance[0].train),
            "marginals": [one.marginals for one in provenance],
            "seeds": [one.seed for one in provenance],
            "steps": [one.steps for one in provenance],
            "made": Made.of(
                source.described,
                provenance,
                folds=made.folds,
                folds_seed=made.folds_seed,
                searched=made.searched,
            ),
            "repeats": dict(described.scores),
        }
        warnings = list(source.data.warnings)
        common = conclude(flow, validation, rows, call, out, warnings, **info)
    return RepeatResult(
        **common, delivered=dict(described.scores), exact=not inexact, inexact=inexact
    )


@dataclass(frozen=True, eq=False)
class _Trained:
    """A candidate after its training: a list entry a fold."""

    weights: list[dict[str, Tensor]]
    scores: Tensor
    result: MemberResult
    made: list[Provenance]


def _candidates(described: Description, bag: int) -> list[Candidate]:
    """Take the members together that were trained as one: a flow a fold."""
    members = described.made.members
    if len(members) % bag:
        raise NfoptError(f"`from` has {len(members)} members, which are no trials of {bag} folds.")
    return [
        Candidate(first, described.specs[first], members[first])
        for first in range(0, len(members), bag)
    ]


def _stack(group: Sequence[Candidate], rows: MappedRows, call: Run) -> dict[int, _Trained]:
    """Train what was one stack, or what is left of it."""
    one, marginals = group[0].made, [each.made.marginals for each in group]
    words = group[0].spec.summary()
    stack, results = train_bags(
        [each.spec for each in group],
        [each.made.train for each in group],
        [each.made.seed for each in group],
        marginals,
        rows,
        batches=one.batches,
        steps=one.planned,
        seconds=None,
        on_rung=(lambda rung: _ended(group, rung)) if one.raced else None,
        on_progress=lambda seen: call.training("retrain", words, seen),
        should_stop=call.stop,
    )
    call.stop.check()
    scores = bag_scores(stack, marginals, rows)
    trained = {}
    for place, (each, result) in enumerate(zip(group, results, strict=True)):
        if reason := fault(result):
            raise NfoptError(f"Member {each.first} can't be trained again: {reason}.")
        trained[each.first] = _Trained(
            [stack.weights(place * rows.bag + fold) for fold in range(rows.bag)],
            scores[place],
            result,
            of_bag(
                result,
                each.made.train,
                each.made.marginals,
                each.made.seed,
                batches=one.batches,
                steps=one.planned,
                stack=rows.bag * len(group),
                size=rows.bag,
                raced=one.raced,
                timed=False,
            ),
        )
    return trained


def _ended(group: Sequence[Candidate], rung: Rung) -> list[int]:
    """List the candidates whose training ended at this rung, or before the next one."""
    later = min((share for share in RUNGS if share > rung.fraction), default=1.0)
    return [
        place
        for place in rung.members
        if group[place].made.ended != "complete"
        and later * group[place].made.planned > group[place].made.steps
    ]


def _mixed(
    described: Description, trained: Sequence[_Trained], rows: MappedRows
) -> tuple[Flow, Score]:
    """Make the mixture, and score it on validation rows as it was scored then."""
    made, size = described.made, rows.bag
    flow = Flow(
        described.specs,
        [weights for one in trained for weights in one.weights],
        [maps for one in trained for maps in rows.preprocessings(one.made[0].marginals)],
        shares=described.shares,
        device=rows.device,
    )
    if len(trained) == 1 and not made.searched:
        return flow, Score(trained[0].result.nll, trained[0].result.nll_2se)
    shares = None
    if flow.shares is not None:
        shares = [sum(flow.shares[k : k + size]) for k in range(0, len(flow), size)]
    scores = mixture(torch.stack([one.scores.double() for one in trained]), shares)
    return flow, score_of(scores, rows.validation)


def _inexact(stacks: Sequence[Sequence[Candidate]], bag: int) -> str:
    """Say why the members can't be repeated step for step, or nothing."""
    timed = sum(one.made.timed for group in stacks for one in group)
    lone = sum(
        len(group)
        for group in stacks
        if [one.made.row for one in group] != list(range(0, group[0].made.stack, bag))
    )
    reasons = [f"{timed} trained until a time was over"] if timed else []
    reasons += [f"{lone} trained beside flows that were not delivered"] if lone else []
    return f"of {sum(map(len, stacks))} trainings {', '.join(reasons)}" if reasons else ""
