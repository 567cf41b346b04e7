"""The weights of a study's best trials, kept in its store of artifacts.

kept_flow(study, 17).log_prob(x)      the flow of trial 17, as it was when the trial ended
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import optuna
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from safetensors import SafetensorError, safe_open

from nfopt import attributes as names
from nfopt.data import Preprocessing
from nfopt.distributed import artifacts
from nfopt.distributed.checkpoints import Checkpoints
from nfopt.errors import StudyError
from nfopt.flows import Stack
from nfopt.model import Flow
from nfopt.model.disk import DESCRIPTION, WEIGHTS
from nfopt.stored import trials_of
from nfopt.study.candidate import Candidate
from nfopt.study.ranking import nll_of, order
from nfopt.training import MemberResult

KEPT = 5  # trials
MOST_BYTES = 1 << 28  # of them all; the best one is kept whatever its size


class BestWeights:
    """Keeps the weights of the best trials, and removes those of trials that no longer are.

    Args:
        study: The study.
        checkpoints: Whose store is used for as long as it works.
        preprocessing: Gives the fitted maps by name; None: nothing is kept.
        place: Of the NLL among the values.
        count: Trials to keep.
        most_bytes: Of all weights together; beyond it only the best trial's are kept.
    """

    def __init__(
        self,
        study: optuna.Study,
        checkpoints: Checkpoints,
        preprocessing: Callable[[str], Preprocessing] | None,
        place: int = 0,
        count: int = KEPT,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._study, self._checkpoints = study, checkpoints
        self._preprocessing, self._place, self._count = preprocessing, place, count
        self._most_bytes = most_bytes
        self._removed: set[int] = set()

    def offer(self, candidate: Candidate, result: MemberResult, stack: Stack) -> None:
        """Keep a trial's weights, if it is among the best; it is told right after."""
        store = self._checkpoints.store
        if store is None or self._preprocessing is None:
            return
        size = _bytes(candidate.spec.parameter_count())
        mine = _Ranked(result.nll, candidate.number, size)
        if mine not in self._best(trials_of(self._study), mine):
            return
        info = {
            "trial": candidate.number,
            "study": self._study.study_name,
            "train": msgspec.to_builtins(candidate.train),
            "marginals": candidate.marginals,
            "seeds": [candidate.seed],
            "steps": [result.steps],
            "scores": {"validation_nll": result.nll, "validation_nll_2se": result.nll_2se},
        }
        flow = Flow.of(
            stack, self._preprocessing(candidate.marginals), info, members=[result.member]
        )
        key = f"weights-{uuid.uuid4().hex}.safetensors"
        try:
            with tempfile.TemporaryDirectory(prefix="nfopt-") as folder:
                flow.save(folder)
                artifacts.put(store, key, (Path(folder) / WEIGHTS).read_bytes())
        except artifacts.failures() as error:
            self._checkpoints.fail(error)
            return
        try:
            candidate.trial.set_user_attr(names.WEIGHTS, key)
        except UpdateFinishedTrialError:
            candidate.lose()

    def tidy(self) -> None:
        """Remove the weights of trials that are not among the best."""
        store = self._checkpoints.store
        if store is None:
            return
        trials = trials_of(self._study)
        best = {ranked.number for ranked in self._best(trials)}
        for trial in trials:
            if (
                names.WEIGHTS in trial.user_attrs
                and trial.state.is_finished()
                and trial.number not in best | self._removed
            ):
                self._removed.add(trial.number)
                try:
                    artifacts.drop(store, trial.user_attrs[names.WEIGHTS])
                except artifacts.failures() as error:
                    self._checkpoints.fail(error)
                    return

    def _best(self, trials: Sequence[FrozenTrial], *more: _Ranked) -> list[_Ranked]:
        """Choose whose weights are kept, the best first."""
        ranked = [
            _Ranked(nll, trial.number, _size(trial))
            for trial in trials
            if (nll := nll_of(trial, self._place)) is not None
        ]
        ranked += more
        chosen: list[_Ranked] = []
        total = 0
        ranked.sort(key=lambda each: order(each.nll, each.number))
        for each in ranked[: self._count]:
            if total + each.size <= self._most_bytes or not chosen:
                chosen.append(each)
                total += each.size
        return chosen


class _Ranked(NamedTuple):
    nll: float
    number: int
    size: int  # bytes


def _bytes(parameters: int) -> int:
    return 4 * parameters


def _size(trial: FrozenTrial) -> int:
    return _bytes(int(trial.user_attrs.get(names.PARAMETERS) or 0))


def kept_flow(study: optuna.Study, number: int, *, device: str = "cpu") -> Flow:
    """Read the flow of one of the best trials, with the weights that the trial ended with.

    Args:
        study: The study.
        number: Of the trial.
        device: Where it computes.

    Raises:
        ValueError: If there is no such trial, or its weights were not kept.
        StudyError: If they can't be read.
    """
    trials = trials_of(study)
    key = trials[number].user_attrs.get(names.WEIGHTS) if 0 <= number < len(trials) else None
    store = artifacts.own_store(study)
    missing = f"`trial` {number} of study {study.study_name!r} has no weights that were kept."
    if key is None or store is None:
        raise ValueError(missing)
    try:
        content = artifacts.get(store, str(key))
    except ArtifactNotFound:
        raise ValueError(missing) from None
    except artifacts.failures() as error:
        raise StudyError(f"The weights of trial {number} can't be read: {error}") from None
    with tempfile.TemporaryDirectory(prefix="nfopt-") as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(content)
        try:
            with safe_open(path, framework="pt") as file:
                text = (file.metadata() or {})[DESCRIPTION]
            (path.parent / DESCRIPTION).write_text(text, encoding="utf-8")
            flow = Flow.load(folder, device=device)
        except (SafetensorError, KeyError, ValueError) as error:
            raise StudyError(f"The weights of trial {number} can't be read: {error}") from None
    described = study.user_attrs.get(names.DATA)
    if isinstance(described, dict) and described.get("table") is not None:
        flow.info["table"] = described["table"]  # how its rows are read
    return flow
