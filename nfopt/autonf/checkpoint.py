"""A choice under way, on disk: one that was killed goes on after its last block or training.

One safetensors file: weights and generators of the search that is under way. Its header holds the
plain data as JSON (`Kept`). It is replaced in one step, see `nfopt.training.checkpoint`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from torch import Tensor

from nfopt.autonf.history import Record
from nfopt.training import checkpoint

VERSION = 3

OnCheckpoint = Callable[[Exception | None], None]
Layers = tuple[int, ...]  # a path


class Ended(msgspec.Struct):
    """A search that is over.

    Attributes:
        candidates: Paths, the most likely first.
        path: The most likely option of every layer.
        weights: Of the options, n rows of m.
        exact: Whether all paths of a block were evaluated.
        records: Of its history.
    """

    candidates: tuple[Layers, ...]
    path: Layers
    weights: tuple[tuple[float, ...], ...]
    exact: bool
    records: tuple[Record, ...]


class Underway(msgspec.Struct):
    """A search between two blocks; its tensors are in the file.

    Attributes:
        done: Blocks that are over, over all passes.
        before: The choice before this pass.
        path: The choice so far.
        exact: Whether all paths of a block are evaluated.
        steps: Of the weights so far.
        temperature: That the logits are divided by.
        price: Its state.
        positions: In the rows of the weights and of the logits.
        records: Of its history.
    """

    done: int
    before: Layers
    path: Layers
    exact: bool
    steps: int
    temperature: float
    price: float
    positions: tuple[int, int]
    records: tuple[Record, ...]


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
    """

    rung: int
    keep: list[int]
    elapsed: float
    field: list[Runner]
    done: list[Runner]
    left: float | None = None


class Kept(msgspec.Struct):
    """The plain data of a choice.

    Attributes:
        identity: Digest of what it was asked; another's checkpoint is refused.
        elapsed: Seconds so far.
        seconds: That it was given, or None.
        search: While it is under way.
        ended: The search, once it is over.
        race: After that.
        version: Of this layout.
    """

    identity: str
    elapsed: float = 0.0
    seconds: float | None = None
    search: Underway | None = None
    ended: Ended | None = None
    race: Lap | None = None
    version: int = VERSION


class Keeper:
    """The checkpoint of one choice.

    Args:
        path: File to write, and to go on from if it exists.
        identity: Digest of what the choice is asked.
        on_checkpoint: Called after each one with None, or with the error that kept it from being
            written; then no more are. Without this it is raised.

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
        on_checkpoint: OnCheckpoint | None = None,
    ) -> None:
        self.kept, self.tensors = Kept(identity), dict[str, Tensor]()
        if path.exists():
            self.kept, self.tensors = checkpoint.load(path, identity, Kept, VERSION)
        self.restored = path.exists()
        self._path: Path | None = path
        self._told = on_checkpoint
        self._elapsed: Callable[[], float] = lambda: self.kept.elapsed

    def timed(self, elapsed: Callable[[], float]) -> None:
        """Take what says how many seconds the choice has taken."""
        self._elapsed = elapsed

    def save(self, tensors: Mapping[str, Tensor]) -> None:
        """Write `kept` and some tensors."""
        if self._path is None:
            return
        self.kept.elapsed = self._elapsed()
        try:
            checkpoint.save(self._path, self.kept, tensors)
        except checkpoint.UNWRITTEN as error:
            self._path = None  # the search is worth more than its checkpoint
            if self._told is None:
                raise
            self._told(error)
            return
        if self._told is not None:
            self._told(None)
