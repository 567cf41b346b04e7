"""The flows of a study's trials, kept with the weights that they ended with.

kept_flow(study, 17).log_prob(x)      the flow of trial 17, as it was when the trial ended

Trials that ended at a rung are kept too: nothing that was trained is thrown away while there is
room. Workers only add; what is not worth its place is removed by the process that delivers.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import optuna
import torch
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from safetensors import SafetensorError
from torch import Tensor

from nfopt import attributes as names
from nfopt.distributed import artifacts
from nfopt.distributed.checkpoints import Asked, Checkpoints
from nfopt.distributed.lease import ours
from nfopt.errors import StudyError
from nfopt.files import TemporaryFolder
from nfopt.flows import Stack
from nfopt.model import Flow
from nfopt.model.disk import DESCRIPTION, WEIGHTS
from nfopt.model.mixture import choose_mixture
from nfopt.model.weights_file import described_in
from nfopt.spec import Recipe
from nfopt.stored import began_ahead, trials_of
from nfopt.study.candidate import Candidate
from nfopt.study.length import MEMBERS
from nfopt.study.ranking import order
from nfopt.study.rows import MappedRows
from nfopt.training import MemberResult
from nfopt.training.provenance import Provenance, of_bag

BY_NLL, BY_MIXTURE = 16, 16  # trials that stay kept: the best alone, and those that help most
MOST = BY_NLL + BY_MIXTURE  # trials that are kept until then
MOST_BYTES = 1 << 28  # of all their weights; the best one is kept whatever its size


@dataclass(frozen=True, eq=False)
class Kept:
    """A trained flow of a trial.

    Attributes:
        number: Of the trial.
        nll: Validation NLL, nats a row.
        flow: With its preprocessing.
        scores: Log-density of the validation rows, shape (M,), where this process has computed it.
    """

    number: int
    nll: float
    flow: Flow
    scores: Tensor | None = None


class KeptFlows:
    """Keeps the flows of the best trials of a study, in its store of artifacts and in memory.

    Where there is no store, or it fails, what this process has trained stays in its memory.

    Args:
        study: The study.
        checkpoints: Whose store is used for as long as it works.
        rows: What they were trained on, with their maps.
        place: Of the NLL among the values.
        most: Trials to keep.
        most_bytes: Of all weights together.
    """

    def __init__(
        self,
        study: optuna.Study,
        checkpoints: Checkpoints,
        rows: MappedRows,
        place: int = 0,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._study, self._checkpoints, self._place = study, checkpoints, place
        self._rows = rows
        self._most, self._most_bytes = most, most_bytes
        self._mine: dict[int, Kept] = {}
        self._seen: set[int] = set()

    def offer(
        self,
        candidate: Candidate,
        result: MemberResult,
        stack: Stack,
        scores: Tensor,
        asked: Asked | None = None,
    ) -> None:
        """Keep a trial's flow, if it is among the best; it is told right after.

        Args:
            candidate: The trial.
            result: How it ended.
            stack: That has its weights, a flow or a bag of them.
            scores: Its log-density of the validation rows, shape (M,).
            asked: What its stack was asked to do, if that is to be done again.
        """
        bag = self._rows.bag
        size = bag * _bytes(candidate.spec.parameter_count())
        if not self._worth(result.nll, size, bag):
            return
        made = of_bag(
            result,
            candidate.train,
            candidate.marginals,
            candidate.seed,
            batches=0 if asked is None else asked.batches,
            steps=candidate.train.steps if asked is None else asked.steps,
            stack=0 if asked is None else bag * len(asked.specs),
            size=bag,
            raced=True,
            timed=asked is None or asked.seconds is not None,
        )
        info = {
            "trial": candidate.number,
            "study": self._study.study_name,
            "train": msgspec.to_builtins(candidate.train),
            "marginals": candidate.marginals,
            "seeds": [candidate.seed] * bag,
            "steps": [result.steps] * bag,
            "made": msgspec.to_builtins(made),
            "scores": {"validation_nll": result.nll, "validation_nll_2se": result.nll_2se},
        }
        maps = self._rows.preprocessings(candidate.marginals)
        members = range(result.member, result.member + bag)
        flow = Flow.of(stack, maps, info, members=members)
        self._remember(Kept(candidate.number, result.nll, flow, scores.cpu()))
        store = self._checkpoints.store
        if store is None:
            return
        key = f"weights-{uuid.uuid4().hex}.safetensors"
        try:
            with TemporaryFolder() as folder:
                flow.save(folder)
                artifacts.put(store, key, (Path(folder) / WEIGHTS).read_bytes())
        except artifacts.failures() as error:
            self._checkpoints.fail(error)
            return
        try:
            candidate.trial.set_user_attr(names.WEIGHTS, key)
        except UpdateFinishedTrialError:
            candidate.lose()

    def _worth(self, nll: float, size: int, bag: int) -> bool:
        """Whether a flow is among the best of the study, and there is room for it."""
        trials = trials_of(self._study)
        others = [(t.values[self._place], bag * _size(t)) for t in kept_trials(trials)]
        better = sum(other <= nll for other, _ in others)
        room = sum(other for _, other in others) + size <= self._most_bytes
        return better == 0 or (better < self._most and room)

    def _remember(self, kept: Kept) -> None:
        self._mine[kept.number] = kept
        ranked = sorted(self._mine.values(), key=lambda one: order(one.nll, one.number))
        total = 0
        stay: set[int] = set()
        for one in ranked[: self._most]:
            total += sum(_bytes(spec.parameter_count()) for spec in one.flow.specs)
            if total <= self._most_bytes or not stay:
                stay.add(one.number)
        self._mine = {number: one for number, one in self._mine.items() if number in stay}

    def all(self) -> tuple[list[Kept], list[str]]:
        """Read all that is kept of the study, the best first.

        Returns:
            The flows, and a line for each that should be there and can't be read.
        """
        found, wrong = dict(self._mine), []
        known = {trial.number: trial for trial in trials_of(self._study)}
        self._seen = {number for number, trial in known.items() if trial.state.is_finished()}
        kept = kept_trials(list(known.values()))
        kept.sort(key=lambda trial: order(trial.values[self._place], trial.number))
        for rank, trial in enumerate(kept):
            if trial.number in found:
                continue
            try:
                flow = kept_flow(self._study, trial.number)
            except ValueError as error:
                if rank < BY_NLL:  # those further behind were removed by an earlier `tidy`
                    wrong.append(str(error))
                continue
            except StudyError as error:
                wrong.append(str(error))
                continue
            found[trial.number] = Kept(trial.number, trial.values[self._place], flow)
        good = [one for one in found.values() if _ended_well(known.get(one.number))]
        return sorted(good, key=lambda one: order(one.nll, one.number)), wrong

    def favourites(self) -> dict[int, int]:
        """Mix what this process has trained: number of a trial -> times picked."""
        mine = [one for one in self._mine.values() if one.scores is not None]
        if not mine:
            return {}
        scores = torch.stack([one.scores for one in mine if one.scores is not None])
        picked = choose_mixture(scores, MEMBERS, self._rows.weights)
        return {mine[row].number: times for row, times in picked.items()}

    def tidy(self, stay: Collection[int]) -> None:
        """Remove the weights of the trials that `all` saw, but some; once nobody searches.

        For the process that delivers.
        """
        store, trials = self._checkpoints.store, trials_of(self._study)
        if store is None or any(t.state is TrialState.RUNNING and ours(t) for t in trials):
            return
        for trial in trials:
            known = names.WEIGHTS in trial.user_attrs and trial.number in self._seen
            if known and trial.number not in stay:
                try:
                    artifacts.drop(store, trial.user_attrs[names.WEIGHTS])
                except artifacts.failures() as error:
                    self._checkpoints.fail(error)
                    return


def provenance_of(one: Kept, recipe: Recipe) -> list[Provenance]:
    """Read how a trial's flows were trained; where an older nfopt kept them, in parts.

    Args:
        one: Its flows.
        recipe: Of the trial.
    """
    info = one.flow.info
    known = info.get("made") or [
        Provenance(
            recipe.train, recipe.marginals, seed=seed, planned=steps, steps=steps, timed=True
        )
        for seed, steps in zip(info["seeds"], info["steps"], strict=True)
    ]
    return msgspec.convert(known, list[Provenance])


def kept_trials(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """List the finished trials whose weights were kept and whose NLL is known."""
    return [
        trial
        for trial in trials
        if names.WEIGHTS in trial.user_attrs and _ended_well(trial) and trial.values
    ]


def _ended_well(trial: FrozenTrial | None) -> bool:
    good = (TrialState.COMPLETE, TrialState.PRUNED)
    return trial is not None and trial.state in good and not began_ahead(trial)


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
    with TemporaryFolder() as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(content)
        try:
            text = described_in(path, DESCRIPTION)
            if text is None:
                raise ValueError("they say nothing of their flow")
            (path.parent / DESCRIPTION).write_text(text, encoding="utf-8")
            flow = Flow.load(folder, device=device)
        except (SafetensorError, ValueError) as error:
            raise StudyError(f"The weights of trial {number} can't be read: {error}") from None
    described = study.user_attrs.get(names.DATA)
    if isinstance(described, dict) and described.get("table") is not None:
        flow.info["table"] = described["table"]  # how its rows are read
    return flow
