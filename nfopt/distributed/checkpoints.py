"""Checkpoints of populations, in the study's store of artifacts: nothing that is trained is lost.

    nfopt:checkpoint = {"token": "3f...", "slot": 1}      of the population's first trial

A token has two slots, written in turn: STORE/checkpoint-TOKEN-SLOT.safetensors holds weights,
optimiser and generators (see `nfopt.training.checkpoint`), the .json beside it what was asked. As
the attribute says which one counts, whoever reads it finds a whole checkpoint.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial
from safetensors import SafetensorError

from nfopt import attributes as names
from nfopt.distributed import artifacts
from nfopt.events import Notice, OnEvent
from nfopt.files import TemporaryFolder, remove_abandoned
from nfopt.optuna_internals import set_attribute
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.stored import trials_of

if TYPE_CHECKING:
    from nfopt.distributed.lease import Lease
    from nfopt.optuna_internals import ArtifactStore

SECONDS = 30.0  # between two checkpoints
MOST_BYTES = 1 << 29  # of a checkpoint: a population whose would be larger has none
SLOTS, ENDINGS = (0, 1), ("json", "safetensors")


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a population was asked to do; equal for its first attempt and every later one.

    Attributes:
        numbers: Its trials, in the stack's order.
        specs: Their flows.
        trains, marginals: Their trainings, at full length, and maps.
        seeds: Of their weights.
        batches: Seed of batches and dropout.
        steps: Optimiser steps.
        seconds: Wall-clock seconds, or None.
        device: Type of the device.
        rungs: Validation NLL by rung in percent, of each trial, as reported.
        step: Steps done when this was written.
    """

    numbers: list[int]
    specs: list[FlowSpec]
    trains: list[TrainSpec]
    seeds: list[int]
    batches: int
    steps: int
    seconds: float | None
    device: str
    rungs: list[dict[int, float]]
    step: int = 0
    marginals: list[str] = []

    def to_json(self) -> bytes:
        """Write as JSON."""
        plain = {f: getattr(self, f) for f in self.__struct_fields__}
        for key in ("specs", "trains"):
            plain[key] = [json.loads(one.to_json()) for one in plain[key]]
        return msgspec.json.encode(plain)

    @classmethod
    def from_json(cls, text: bytes) -> Asked:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If it is no such JSON.
        """
        plain = msgspec.json.decode(text)
        if not isinstance(plain, dict):
            raise ValueError("no JSON object")
        for key, kind in (("specs", FlowSpec), ("trains", TrainSpec)):
            plain[key] = [kind.from_json(msgspec.json.encode(one)) for one in plain.get(key, ())]
        rungs = plain.get("rungs", ())
        plain["rungs"] = [{int(k): v for k, v in one.items()} for one in rungs if one is not None]
        plain.setdefault("marginals", ["standardise"] * len(plain["specs"]))
        if not (known := set(cls.__struct_fields__)) - {"step"} <= set(plain) <= known:
            raise ValueError(f"fields {', '.join(sorted(set(plain) ^ known))}")
        return cls(**plain)


def size_of(asked: Asked) -> int:
    """Estimate the bytes of a population's checkpoint."""
    moments = 1 if any(train.optimiser == "muon" for train in asked.trains) else 2
    copies = 2 + moments + any(train.average for train in asked.trains)  # 2: in training, the best
    return 4 * copies * sum(spec.parameter_count() for spec in asked.specs)


class Checkpoints:
    """The checkpoints of one worker; where the store fails, it goes on without them.

    Args:
        study: With its place of artifacts; a study without one has no checkpoints.
        lease: Says which trial leads the population.
        on_event: Told in one line what went wrong.
        seconds: Between two checkpoints.
        what: Is kept, in a word.
    """

    def __init__(
        self,
        study: optuna.Study,
        lease: Lease,
        on_event: OnEvent,
        seconds: float = SECONDS,
        *,
        what: str = "population",
    ) -> None:
        self.seconds, self._what = seconds, what
        self.store: ArtifactStore | None = artifacts.own_store(study)
        self._study, self._lease, self._on_event = study, lease, on_event
        remove_abandoned()
        self._folder = TemporaryFolder()
        self._said_large = False

    def close(self) -> None:
        """Remove what lies on this machine."""
        self._folder.cleanup()

    def begin(self, asked: Asked, source: Restored | None = None) -> Saving:
        """Give what saves a population that is about to be trained.

        Args:
            asked: What it is to do.
            source: What it goes on from.
        """
        size = size_of(asked)
        path: Path | None = Path(self._folder.name) / f"{uuid.uuid4().hex}.safetensors"
        if self.store is None:
            path = None
        elif size > MOST_BYTES:
            if not self._said_large:
                self._said_large = True
                self._on_event(
                    Notice(
                        f"populations of more than {MOST_BYTES >> 20} MiB have no checkpoints:"
                        " what is interrupted begins anew"
                    )
                )
            path = None
        if source is not None and path is not None:
            source.path.replace(path)
        return Saving(self, asked, path, source)

    def find(self, origin: FrozenTrial) -> Restored | None:
        """Fetch the checkpoint that an interrupted population's first trial tells of.

        One that can't be used is left where it is and said in one line; the trials begin anew.
        """
        pointer = origin.user_attrs.get(names.CHECKPOINT)
        if self.store is None or not isinstance(pointer, Mapping) or "token" not in pointer:
            return None
        if (slot := pointer.get("slot")) not in SLOTS:
            return None
        from nfopt.model.weights_file import open_weights  # imports torch

        path = Path(self._folder.name) / f"{(token := str(pointer['token']))}.safetensors"
        try:
            asked = Asked.from_json(artifacts.get(self.store, key(token, slot, "json")))
            path.write_bytes(artifacts.get(self.store, key(token, slot, "safetensors")))
            with open_weights(path) as file:
                for name in file.keys():  # noqa: SIM118
                    file.get_tensor(name)
        except artifacts.failures(SafetensorError, ValueError) as error:
            self.set_aside(origin.number, error)
            return None
        return Restored(asked, path, tuple(_tokens(pointer)), slot)

    def set_aside(self, number: int, error: Exception) -> None:
        """Say that a checkpoint can't be used."""
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, SafetensorError):
            reason = f"broken ({reason})"
        self._on_event(
            Notice(
                f"the checkpoint of trial {number} can't be used and is set aside, its"
                f" {self._what} begins anew: {reason}"
            )
        )

    def remove(self, *tokens: str) -> None:
        """Remove both slots of these tokens."""
        if self.store is None:
            return
        with suppress(*artifacts.failures()):  # left behind: it is said where it is written
            for token in tokens:
                _remove(self.store, token)

    def remove_slot(self, token: str, slot: int) -> None:
        """Remove one slot of a token."""
        if self.store is not None:
            with suppress(*artifacts.failures()):
                _remove(self.store, token, (slot,))

    def lost(self) -> bool:
        """Say whether the population is someone else's now."""
        return self._lease.lost

    def point(self, pointer: Mapping[str, object]) -> None:
        """Say at the population's first trial which checkpoint counts."""
        key = self._lease.lead_key
        if key is None or self._lease.lost:
            return
        try:
            set_attribute(self._study, key, names.CHECKPOINT, dict(pointer))
        except UpdateFinishedTrialError:
            self._lease.lost = True

    def fail(self, error: Exception) -> None:
        """Go on without checkpoints."""
        if self.store is not None:
            self.store = None
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            self._on_event(
                Notice(
                    "checkpoints can't be written and are left out from here on, the search goes"
                    f" on: {reason or type(error).__name__}"
                )
            )


@dataclass(frozen=True)
class Restored:
    """A checkpoint that was fetched.

    Attributes:
        asked: What the population was asked.
        path: Of the file on this machine.
        tokens: Its own, and the one of an attempt that ended before its first checkpoint.
        slot: The one that counts.
    """

    asked: Asked
    path: Path
    tokens: tuple[str, ...]
    slot: int


class Saving:
    """A population in training, whose checkpoints are put where others find them.

    Attributes:
        path: File for `nfopt.training.train`, or None.
        asked: What the population does; `rungs` and `step` are kept up by the caller.
    """

    def __init__(
        self, home: Checkpoints, asked: Asked, path: Path | None, source: Restored | None
    ) -> None:
        self.path, self.asked = path, asked
        self._home, self._source = home, source
        self._token, self._written = uuid.uuid4().hex, 0
        if source is not None:  # if this attempt ends before its first checkpoint, that one counts
            self._home.point({"token": source.tokens[0], "slot": source.slot, "next": self._token})

    def saved(self, error: Exception | None) -> None:
        """Put a checkpoint that was just written at `path` into the store."""
        home = self._home
        if error is not None:
            home.fail(error)
        store = home.store
        if store is None or self.path is None or home.lost():
            return
        slot = self._written % len(SLOTS)
        try:
            if not self._written and self._source is None:
                self._home.point(
                    {"token": self._token, "slot": None}
                )  # from here on it can be removed
            with self.path.open("rb") as file:
                store.write(key(self._token, slot, "safetensors"), file)
            artifacts.put(store, key(self._token, slot, "json"), self.asked.to_json())
        except artifacts.failures() as problem:
            home.remove(self._token)
            home.fail(problem)
            return
        self._written += 1
        self._home.point({"token": self._token, "slot": slot})
        if home.lost():  # others go on from the other slot, if from any
            home.remove_slot(self._token, slot)
            return
        if self._source is not None:
            home.remove(*self._source.tokens)
            self._source = None

    def end(self, *, kept: bool = False) -> None:
        """Remove what is no longer needed.

        Args:
            kept: The population will be gone on with: only the file on this machine goes.
        """
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        if kept:
            return
        if self._written:
            self._home.remove(self._token)
        if self._source is not None:
            self._home.remove(*self._source.tokens)


def key(token: str, slot: int, kind: str) -> str:
    """Name an artifact."""
    return f"checkpoint-{token}-{slot}.{kind}"


def sweep(study: optuna.Study, most: int = 200) -> None:
    """Remove the checkpoints of populations that nothing can go on from any more.

    A worker that was killed between its last word and the removal leaves one behind.

    Args:
        study: With nothing running and nothing waiting.
        most: Populations to look at, the latest ones.
    """
    store = artifacts.own_store(study)
    trials = trials_of(study)
    if store is None or any(not trial.state.is_finished() for trial in trials):
        return
    pointers = [t.user_attrs[names.CHECKPOINT] for t in trials if names.CHECKPOINT in t.user_attrs]
    for pointer in pointers[-most:]:
        for token in _tokens(pointer):
            _remove(store, token)


def _tokens(pointer: object) -> Iterator[str]:
    if isinstance(pointer, Mapping):
        yield from (str(pointer[name]) for name in ("token", "next") if name in pointer)


def _remove(store: ArtifactStore, token: str, slots: Sequence[int] = SLOTS) -> None:
    for slot in slots:
        for kind in ENDINGS:
            artifacts.drop(store, key(token, slot, kind))
