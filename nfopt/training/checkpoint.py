"""A run on disk: one safetensors file, plain data as JSON in its header, replaced atomically."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nfopt.errors import NfoptError
from nfopt.files import replacing
from nfopt.model.weights_file import open_weights
from nfopt.training.population import Population
from nfopt.training.results import Record
from nfopt.training.schedule import Plan

VERSION = 2
UNREADABLE = (OSError, SafetensorError, ValueError, RecursionError)
UNWRITTEN = (OSError, SafetensorError)  # what a full disk or a read-only folder raises


class CheckpointError(NfoptError):
    """A checkpoint can't be read, or is of another run."""


class PartState(msgspec.Struct, forbid_unknown_fields=True):
    """The plain data of a population; its tensors are named `PART.NAME`."""

    members: list[int]
    step: int
    plan: Plan
    next_rung: int
    check_rows: int | None
    checked: float
    check_seconds: float
    position: int
    shared: bool


class RunState(msgspec.Struct, forbid_unknown_fields=True):
    """The plain data of a run.

    Attributes:
        identity: Digest of what the run was asked to do; a checkpoint of another run is refused.
        elapsed: Seconds so far.
        records: One a member.
        parts: The populations that are not finished.
    """

    identity: str
    elapsed: float
    records: list[Record]
    parts: list[PartState]
    version: int = VERSION


msgspec.json.Decoder(RunState)  # read now: two threads that do it at once crash msgspec


class Versioned(Protocol):
    """What the plain data of any run says of itself."""

    @property
    def identity(self) -> str:
        """Digest of what the run was asked to do."""

    @property
    def version(self) -> int:
        """Of the layout."""


State = TypeVar("State", bound=Versioned)


def identity(*parts: str) -> str:
    """Digest what makes two runs the same."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def state_of(part: Population) -> PartState:
    """Collect the plain data of a population."""
    return PartState(
        members=part.members,
        step=part.step,
        plan=part.plan,
        next_rung=part.next_rung,
        check_rows=part.check_rows,
        checked=part.checked,
        check_seconds=part.check_seconds,
        position=part.batches.position,
        shared=part.optimiser.shared,
    )


def tensors_of(part: Population) -> dict[str, Tensor]:
    """Collect the tensors of a population: weights, moments, average, generators."""
    average = {} if part.average is None else {"average": part.average.weights}
    return {
        "theta": part.stack.theta,
        "epoch": part.batches.state(),
        "dropout": part.dropout.get_state(),
        **part.optimiser.state(),
        **average,
    }


@torch.no_grad()
def restore(part: Population, state: PartState, tensors: dict[str, Tensor]) -> None:
    """Put what the two above collected into a fresh population of the same members."""
    part.stack.theta.copy_(tensors["theta"])
    part.optimiser.load_state(tensors)
    if part.average is not None:
        part.average.weights.copy_(tensors["average"])
    part.batches.load_state(tensors["epoch"], state.position)
    part.dropout.set_state(tensors["dropout"])
    part.step, part.next_rung, part.check_rows = state.step, state.next_rung, state.check_rows
    part.checked, part.check_seconds = state.checked, state.check_seconds


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Refuse a checkpoint whose numbers do not fit the run that its plain data names.

    Raises:
        CheckpointError: If a tensor is missing, or has another shape or dtype.
    """
    try:
        yield
    except (CheckpointError, torch.OutOfMemoryError):
        raise
    except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"`checkpoint` {str(path)!r} does not fit this run ({type(error).__name__}: {why}):"
            " delete it to start anew."
        ) from None


def save(path: Path, state: Versioned, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint beside `path` and put it in its place in one step.

    A crash leaves the old checkpoint or the new one, never a part of either.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replacing(path) as beside:
        save_file(on_cpu, beside, metadata={"nfopt": msgspec.json.encode(state).decode()})


def load(
    path: Path, identity: str, kind: type[State], version: int = VERSION
) -> tuple[State, dict[str, Tensor]]:
    """Read a checkpoint.

    Args:
        path: Of the file.
        identity: Of the run that wants to go on.
        kind: Of its plain data.
        version: Of its layout, that can be read.

    Raises:
        CheckpointError: If the file is no checkpoint, or one of another run or version.
    """
    try:
        with open_weights(path) as file:
            state = msgspec.json.decode((file.metadata() or {}).get("nfopt", ""), type=kind)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (*UNREADABLE, msgspec.MsgspecError) as error:
        raise CheckpointError(
            f"`checkpoint` {str(path)!r} can't be read ({error}): delete it to start anew."
        ) from None
    if state.version != version:
        raise CheckpointError(
            f"`checkpoint` {str(path)!r} has version {state.version}, this nfopt reads {version}:"
            " delete it to start anew."
        )
    if state.identity != identity:
        raise CheckpointError(
            f"`checkpoint` {str(path)!r} is of another run (other flows, settings or data):"
            " delete it or choose another path."
        )
    return state, tensors
