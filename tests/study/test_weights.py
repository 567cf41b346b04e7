"""What is kept of what was trained, what is read again, and what is removed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial
from small_study import TRAIN, flow

from nfopt import attributes as names
from nfopt.attributes import KIN as BEGAN_FROM
from nfopt.distributed import artifacts
from nfopt.distributed.checkpoints import Checkpoints
from nfopt.distributed.lease import Lease
from nfopt.flows import build
from nfopt.study.candidate import Candidate
from nfopt.study.dataset import Source
from nfopt.study.rows import MappedRows
from nfopt.study.weights import BY_NLL, KeptFlows, kept_trials
from nfopt.training import MemberResult

SPEC = flow("CTC", "TCT")
SIZE = 4 * SPEC.parameter_count()


class Shelf:
    """A study and what it keeps."""

    def __init__(self, url: str, source: Source, folder: Path | None) -> None:
        self.study = optuna.create_study(storage=url, study_name="s", load_if_exists=True)
        artifacts.settle(self.study, folder, make=True)
        self.said: list[str] = []
        self.checkpoints = Checkpoints(
            self.study, Lease(self.study), lambda event: self.said.append(event.text)
        )
        self._source = source
        self.kept = self.keeper()

    def keeper(self, **limits: int) -> KeptFlows:
        rows = MappedRows(self._source.data)
        return KeptFlows(self.study, self.checkpoints, rows, **limits)

    def add(self, nll: float, state: TrialState = TrialState.COMPLETE, **more: Any) -> int:
        """Train nothing, and tell it as the trainer does."""
        trial = self.study.ask()
        facts = {names.PARAMETERS: SPEC.parameter_count(), **more}
        for name, value in facts.items():
            trial.set_user_attr(name, value)
        (stack,) = build([SPEC], torch.Generator().manual_seed(trial.number))
        result = MemberResult(0, "complete", "", nll, 0.1, 40, 40, 0.1, (), 0.0)
        candidate: Any = SimpleNamespace(
            number=trial.number, spec=SPEC, train=TRAIN, marginals="asinh", seed=0, trial=trial
        )
        assert isinstance(candidate, SimpleNamespace | Candidate)
        self.kept.offer(candidate, result, stack, torch.zeros(3))
        if state is TrialState.PRUNED:
            trial.report(nll, 12)
            self.study.tell(trial, state=state)
        else:
            self.study.tell(trial, nll if state is TrialState.COMPLETE else None, state=state)
        return trial.number

    def files(self) -> set[int]:
        """Numbers of the trials whose weights are in the store."""
        folder = Path(str(self.study.user_attrs[names.ARTIFACTS]))
        there = {path.name for path in folder.rglob("weights-*")}
        trials = self.study.get_trials(deepcopy=False)
        return {t.number for t in trials if t.user_attrs.get(names.WEIGHTS) in there}


@pytest.fixture
def shelf(url: str, source: Source) -> Iterator[Shelf]:
    Path(url.removeprefix("sqlite:///")).parent.mkdir()
    made = Shelf(url, source, None)
    yield made
    made.checkpoints.close()


def test_pruned_flows_are_kept_and_failed_ones_are_not(shelf: Shelf) -> None:
    shelf.add(2.0)
    shelf.add(1.0, TrialState.PRUNED)
    shelf.add(0.5, TrialState.FAIL)
    flows, wrong = shelf.keeper().all()
    assert [(one.number, one.nll) for one in flows] == [(1, 1.0), (0, 2.0)]
    assert wrong == []
    assert [one.number for one in shelf.kept.all()[0]] == [1, 0], "those in memory, too"


def test_the_limits_of_count_and_bytes_hold(shelf: Shelf) -> None:
    shelf.kept = shelf.keeper(most=2)
    for nll in (3.0, 1.0, 2.0, 4.0):
        shelf.add(nll)
    assert shelf.files() == {0, 1, 2}, "the fourth was not among the best two"
    shelf.kept = shelf.keeper(most_bytes=SIZE)
    shelf.add(1.5)
    shelf.add(0.5)
    assert shelf.files() == {0, 1, 2, 5}, "the best one is kept whatever its size"


def test_what_cannot_be_read_is_named(shelf: Shelf) -> None:
    for nll in (3.0, 1.0, 2.0):
        shelf.add(nll)
    key = shelf.study.trials[1].user_attrs[names.WEIGHTS]
    folder = Path(str(shelf.study.user_attrs[names.ARTIFACTS]))
    (path,) = folder.rglob(key)
    path.write_bytes(b"no weights")
    flows, wrong = shelf.keeper().all()
    assert [one.number for one in flows] == [2, 0]
    (line,) = wrong
    assert line.startswith("The weights of trial 1 can't be read: ")
    assert [one.number for one in shelf.kept.all()[0]] == [1, 2, 0], "this process has it still"
    path.write_bytes((1 << 30).to_bytes(8, "little") + bytes(64))
    (line,) = shelf.keeper().all()[1]
    assert "no header that can be read (1,073,741,824 bytes)" in line
    path.unlink()
    (line,) = shelf.keeper().all()[1]
    assert "`trial` 1 of study 's' has no weights" in line


def test_tidy_removes_what_it_saw_and_nobody_needs(shelf: Shelf) -> None:
    for nll in range(BY_NLL + 4):
        shelf.add(float(nll))
    keeper = shelf.keeper()
    flows, _ = keeper.all()
    late = shelf.add(0.25)
    running = shelf.study.ask()
    running.set_user_attr(names.LEASE, {"beat": 1})
    stay = {one.number for one in flows[:BY_NLL]}
    keeper.tidy(stay)
    assert shelf.files() == {*range(BY_NLL + 4), late}, "a worker is still at work"
    shelf.study.tell(running, state=TrialState.FAIL)
    keeper.tidy(stay)
    assert shelf.files() == stay | {late}, "what came later was not looked at"
    flows, wrong = shelf.keeper().all()
    assert {one.number for one in flows} == stay | {late}
    assert wrong == [], "what was removed on purpose is not missed"


def test_a_store_that_fails_leaves_flows_in_memory(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError("no space left")

    shelf.add(3.0)
    monkeypatch.setattr(artifacts, "put", full)
    shelf.add(1.0)
    shelf.add(2.0)
    assert shelf.files() == {0}
    assert [one.number for one in shelf.kept.all()[0]] == [1, 2, 0]
    assert len(shelf.said) == 1
    assert "no space left" in shelf.said[0]


def test_trials_of_an_older_study_that_began_ahead_have_no_place() -> None:
    study = optuna.create_study()
    ahead = {BEGAN_FROM: "warm", names.WEIGHTS: "a"}
    study.add_trials(
        [
            create_trial(value=1.0, user_attrs=ahead),
            create_trial(value=2.0, user_attrs={names.WEIGHTS: "b"}),
        ]
    )
    assert [trial.number for trial in kept_trials(study.trials)] == [1]
