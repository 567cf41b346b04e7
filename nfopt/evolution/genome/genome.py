"""A genome: one candidate of the evolution, as plain arrays.

It has up to four parts: values of mixed variables, coupling masks, an adjacency, and further masks
and adjacencies of other sizes. `layout.Layout` says what each may be.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nfopt import masks as letters
from nfopt.evolution.genome import repair
from nfopt.evolution.genome.variables import Values


@dataclass(frozen=True, eq=False)
class Genome:
    """One candidate. Arrays are read-only; equal repaired genomes have equal keys.

    Attributes:
        values: One for each variable.
        masks: Letters, shape (L, D); inactive layers are all `C`.
        order: Each feature once, shape (D,); None where no order is searched.
        parents: Row i, column j: feature i may depend on j, shape (D, D).
        parts: Genomes without values, of the parts of the layout; an inactive one is `BLANK`.
    """

    values: Values
    masks: letters.Masks | None = None
    order: NDArray[np.intp] | None = None
    parents: NDArray[np.bool_] | None = None
    parts: tuple[Genome, ...] = ()

    def __post_init__(self) -> None:
        for array in (self.masks, self.order, self.parents):
            if array is not None:
                array.flags.writeable = False

    @cached_property
    def key(self) -> bytes:
        """A digest of 20 bytes; equal for equal repaired genomes.

        The order is not part of it: a flow depends on it through the parents alone.
        """
        digest = hashlib.blake2b(struct.pack(f"{len(self.values)}d", *self.values), digest_size=20)
        if self.masks is not None:
            digest.update(repair.codes(self.masks).astype(np.uint8).tobytes())
        if self.parents is not None:
            digest.update(np.packbits(self.parents).tobytes())
        for part in self.parts:
            digest.update(part.key)
        return digest.digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Genome) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


BLANK = Genome(())
"""An inactive part of a genome."""
