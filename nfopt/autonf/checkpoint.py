"""A choice under way, on disk: one that was killed goes on where it was, bit for bit.

One safetensors file: weights, moments and generators of the search that is under way, or the
training of the race that is. Its header holds the plain data as JSON (`Kept`). It is replaced in
one step, see `nfopt.training.checkpoint`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from nfopt.autonf.history import Record
from nfopt.training import checkpoint

VERSION = 2  # the training that a race was in is of training.checkpoint.VERSION 2
SECONDS = 30.0  # between two checkpoints
TRAINING = "race.training"  # tensor: the file of the training that a race was in

OnCheckpoint = Callable[[Exception | None], None]
Layers = tuple[int, ...]  # a path


class Ended(msgspec.Struct):
    """A restart that is over.

    Attributes:
        candidates: Paths, the most likely first.
        path: The most likely option of every layer.
        weights: Of the options, n rows of m.
        exact: Whether all paths of a block were evaluated.
        records: Of its history.
        stopped: Whether it was ended from outside.
    """

    candidates: tuple[Layers, ...]
    path: Layers
    weights: tuple[tuple[float, ...], ...]
    exact: bool
    records: tuple[Record, ...]
    stopped: bool = False


class Step(msgspec.Struct):
    """Where a block is; its tensors are in the file.

    Attributes:
        done: Steps.
        share: Of the block, 0 to 1.
        elapsed: Seconds so far.
        allowed: Seconds, or None.
        bad: Steps in a row without a finite loss.
        seen: L_U and L_O on the latest rows of the logits.
        update: Numbers of the logits' update.
    """

    done: int
    share: float
    elapsed: float
    allowed: float | None
    bad: int
    seen: tuple[float | None, float | None]
    update: dict[str, float]


class Restart(msgspec.Struct):
    """A restart that is under way; its tensors are in the file.

    Attributes:
        sweep: Which pass over the blocks.
        block: Which block of it.
        before: The choice before this pass.
        path: The choice so far.
        exact: Whether all paths of a block are evaluated.
        start: Steps before this block.
        marks: Of this block's records, how far they are.
        elapsed: Seconds so far.
        allowed: Seconds, or None.
        temperature: That the logits are divided by.
        price: Its state.
        positions: In the rows of the weights and of the logits.
        records: Of its history.
        step: Of the block; None before its first.
    """

    sweep: int
    block: int
    before: Layers
    path: Layers
    exact: bool
    start: int
    marks: int
    elapsed: float
    allowed: float | None
    temperature: float
    price: float
    positions: tuple[int, int]
    records: tuple[Record, ...]
    step: Step | None


class Runner(msgspec.Struct):
    """An architecture in a race; what JSON can't hold is None: an infinite NLL, an error of nan."""

    position: int
    nll: float | None
    nll_2se: float | None
    share: float
    seconds: float
    nlls: tuple[float | None, ...]


class Lap(msgspec.Struct):
    """Where a race is.

    Attributes:
        rung: Which one.
        keep: How many are trained at each rung.
        elapsed: Seconds of the race so far.
        field: All flows, as they were before this rung, in their order.
        done: Those that this rung has trained.
        left: Seconds of this rung that are left, or None.
        allowed: Seconds of the training that is under way, or None.
    """

    rung: int
    keep: list[int]
    elapsed: float
    field: list[Runner]
    done: list[Runner]
    left: float | None = None
    allowed: float | None = None


class Kept(msgspec.Struct):
    """The plain data of a choice.

    Attributes:
        identity: Digest of what it was asked; another's checkpoint is refused.
        elapsed: Seconds so far.
        seconds: That it was given, or None.
        ended: Restarts that are over.
        restart: The one that is under way.
        race: Once all restarts are over.
        version: Of this layout.
    """

    identity: str
    elapsed: float = 0.0
    seconds: float | None = None
    ended: tuple[Ended, ...] = ()
    restart: Restart | None = None
    race: Lap | None = None
    version: int = VERSION


class Keeper:
    """The checkpoint of one choice.

    Args:
        path: File to write, and to go on from if it exists.
        identity: Digest of what the choice is asked.
        seconds: Between two checkpoints.
        on_checkpoint: Called after each one with None, or with the error that kept it from being
            written; then no more are. Without this it is raised.
        clock: Seconds, by which checkpoints are due.

    Attributes:
        kept: Plain data: as it was read, and as it goes on.
        tensors: As they were read; none in a new run.
        restored: Whether there was a file to go on from.

    Raises:
        CheckpointError: If the file can't be read or is another choice's.
    """

    def __init__(
        self,
        path: Path,
        identity: str,
        *,
        seconds: float = SECONDS,
        on_checkpoint: OnCheckpoint | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.kept, self.tensors = Kept(identity), dict[str, Tensor]()
        if path.exists():
            self.kept, self.tensors = checkpoint.load(path, identity, Kept, VERSION)
        self.restored = path.exists()
        self.seconds = seconds
        self._path: Path | None = path
        self._training = path.with_name(f"{path.name}.training")
        self._told, self._clock = on_checkpoint, clock
        self._saved = clock()
        self._elapsed: Callable[[], float] = lambda: self.kept.elapsed
        self.end_training()
        if TRAINING in self.tensors:
            self._training.write_bytes(self.tensors[TRAINING].numpy().tobytes())

    @property
    def training(self) -> Path | None:
        """The file in which the training of a race keeps itself, while checkpoints are written."""
        return None if self._path is None else self._training

    def timed(self, elapsed: Callable[[], float]) -> None:
        """Take what says how many seconds the choice has taken."""
        self._elapsed = elapsed

    def due(self) -> bool:
        """Say whether it is time for a checkpoint."""
        return self._path is not None and self._clock() - self._saved >= self.seconds

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Write `kept` and some tensors."""
        if self._path is None:
            return
        self.kept.elapsed = self._elapsed()
        try:
            checkpoint.save(self._path, self.kept, tensors)
        except checkpoint.UNWRITTEN as error:
            self._fail(error)
            return
        self._saved = self._clock()
        if self._told is not None:
            self._told(None)

    def save_training(self, error: Exception | None = None) -> None:
        """Write `kept` with the file of the training that is under way, or see why there is none.

        Args:
            error: That kept the training from writing its file.
        """
        found, path = {}, self.training
        if error is not None:
            self._fail(error)
        elif path is not None and path.exists():
            content = bytearray(path.read_bytes())
            found[TRAINING] = torch.frombuffer(content, dtype=torch.uint8)
        self.save(found)

    def end_training(self) -> None:
        """Remove the file of a training that is over."""
        with suppress(OSError):  # a place that can't be written to has no such file either
            self._training.unlink(missing_ok=True)

    def _fail(self, error: Exception) -> None:
        self.end_training()
        self._path = None  # the search is worth more than its checkpoint
        if self._told is None:
            raise error
        self._told(error)
