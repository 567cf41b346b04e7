"""What a study's objective has suggested that is more than a number: masks, parents, a flow.

    declared_in(study.user_attrs)["layer_1.mask"]      MaskGenes(features=8, ...)

Each stands in an attribute of the study of its own, written before its parameters are first asked
for, and always the same: so it is in the storage before any trial has them, workers that begin at
one time overwrite nothing, and copies of the study have it. Rows of bits are written as in a search
space: `layer_1.mask`, `layer_1.mask_2`, or `layer_1.mask.1` where they are bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from nfopt.adjacency import from_order
from nfopt.attributes import SUGGESTED
from nfopt.designs import parity
from nfopt.errors import StudyError
from nfopt.evolution.genome import repair
from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.masks import from_transformed
from nfopt.space import SearchSpace
from nfopt.space.domains import Domain, Integer, Value
from nfopt.space.genes import Bits, encode, gene_domains, read_row

ENCODINGS = ("packed", "bits")
FLOW = "flow"
"""Key of the flow, of which a study has one."""
GENE = re.compile(r"\.(mask|idle|edges|place)[_.]?\d*\Z")
"""How names of such parameters end."""
MOST_FEATURES = 1024

Params = Mapping[str, Any]
Features = Annotated[int, msgspec.Meta(ge=1, le=MOST_FEATURES)]


class MaskGenes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="mask", tag_field="what"
):
    """A coupling mask.

    Attributes:
        features: D, at least 2.
        idle: Whether a feature may be `I`.
        encoding: "packed" or "bits".
    """

    features: Annotated[int, msgspec.Meta(ge=2, le=MOST_FEATURES)]
    idle: bool = False
    encoding: str = "packed"

    @property
    def bits(self) -> int:
        """How many there are."""
        return self.features * (2 if self.idle else 1)

    @property
    def layout(self) -> Layout:
        """Of the mask alone."""
        return Layout((), MaskBlock(1, self.features, idle=self.idle, cover=False))

    def rows(self, key: str) -> dict[str, int]:
        """The rows of bits, and how many each has."""
        return dict.fromkeys([key, f"{_name(key)}.idle"][: 1 + self.idle], self.features)

    def domains(self, key: str, encoding: str | None = None) -> dict[str, Domain]:
        """The parameters, by name."""
        written, rows = encoding or self.encoding, self.rows(key).items()
        return {n: d for row, bits in rows for n, d in gene_domains(row, bits, written).items()}

    def read(self, key: str, params: Params) -> Genome | None:
        """The mask in parameters of either encoding, not repaired; None if they are not there."""
        transformed = read_row(params, key, self.features)
        if transformed is None:
            return None
        row = from_transformed(transformed[None, :])
        idle = read_row(params, f"{_name(key)}.idle", self.features) if self.idle else None
        if idle is not None:
            row[:, idle & ~transformed] = "I"
        return Genome((), row)

    def filler(self) -> Genome:
        """What stands for a mask that a trial does not have."""
        return Genome((), parity(1, self.features))

    def write(self, key: str, genome: Genome) -> dict[str, Value]:
        """The parameters of a mask; of a blank one those of the filler."""
        row = genome.masks if genome.masks is not None else self.filler().masks
        if row is None or (row == "C").all():
            row = parity(1, self.features)
        params = encode(key, row[0] == "T", self.encoding)
        if self.idle:
            params |= encode(f"{_name(key)}.idle", row[0] == "I", self.encoding)
        return params


class ParentsGenes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="parents", tag_field="what"
):
    """An acyclic adjacency: which features each feature depends on.

    Attributes:
        features: D.
        most: The greatest number of parents of a feature; None: no limit.
        order: Each feature after all that it may depend on; None: searched, too.
        encoding: "packed" or "bits".
    """

    features: Features
    most: Annotated[int, msgspec.Meta(ge=0)] | None = None
    order: tuple[int, ...] | None = None
    encoding: str = "packed"

    @property
    def bits(self) -> int:
        """How many there are."""
        return len(self._pairs[0])

    @property
    def layout(self) -> Layout:
        """Of the adjacency alone."""
        return Layout((), edges=self.block)

    @property
    def block(self) -> EdgeBlock:
        """What edges may be."""
        return EdgeBlock(
            self.features, self.most, orders=self.order is None, order=self.order or None
        )

    @property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the edges that there may be, in the order of their bits."""
        if self.order is None:
            rows, columns = np.nonzero(~np.eye(self.features, dtype=bool))
        else:
            rows, columns = np.nonzero(from_order(self.order))
        return rows, columns

    def _places(self, key: str) -> list[str]:
        if self.order is not None or self.features == 1:
            return []
        return [f"{_name(key)}.place_{number}" for number in range(1, self.features + 1)]

    def rows(self, key: str) -> dict[str, int]:
        """The rows of bits, and how many each has."""
        return {key: self.bits} if self.bits else {}

    def domains(self, key: str, encoding: str | None = None) -> dict[str, Domain]:
        """The parameters, by name."""
        edges = gene_domains(key, self.bits, encoding or self.encoding) if self.bits else {}
        return {**edges, **{name: Integer(1, self.features) for name in self._places(key)}}

    def read(self, key: str, params: Params) -> Genome | None:
        """The adjacency in parameters of either encoding, along its order; None if not there."""
        edges = np.zeros((self.features, self.features), dtype=bool)
        row = read_row(params, key, self.bits) if self.bits else np.zeros(0, dtype=bool)
        places = [params.get(name) for name in self._places(key)]
        if row is None or None in places:
            return None
        edges[self._pairs] = row
        order = np.argsort(np.array(places, dtype=float), kind="stable") if places else None
        most = self.features - 1 if self.most is None else self.most
        return Genome((), None, *repair.edges(order, edges, self.block, most))

    def filler(self) -> Genome:
        """What stands for an adjacency that a trial does not have."""
        return self.layout.repaired(Genome(()))

    def write(self, key: str, genome: Genome) -> dict[str, Value]:
        """The parameters of an adjacency; of a blank one those of the filler."""
        if genome.parents is None:
            genome = self.filler()
        edges: Bits = np.zeros(0, dtype=bool) if genome.parents is None else genome.parents
        params = encode(key, edges[self._pairs], self.encoding) if self.bits else {}
        places = self._places(key)
        if places and genome.order is not None:
            for place, feature in enumerate(genome.order.tolist(), 1):
                params[places[feature]] = place
        return params


class FlowGenes(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="flow", tag_field="what"
):
    """A whole flow, by its search space.

    Attributes:
        space: JSON of the SearchSpace.
    """

    space: str


Genes = MaskGenes | ParentsGenes
Declared = Genes | FlowGenes
msgspec.json.Decoder(Declared)  # read now: two threads that do it at once crash msgspec


def _name(key: str) -> str:
    return key.rpartition(".")[0]


def declared_in(study: str, known: Mapping[str, Any]) -> dict[str, Declared]:
    """Read what is declared, by the key of its parameters.

    Args:
        study: Its name, for messages.
        known: Its attributes.

    Raises:
        StudyError: If an attribute can't be read; one line.
    """
    found: dict[str, Declared] = {}
    for attribute, value in known.items():
        if not attribute.startswith(SUGGESTED):
            continue
        try:
            genes: Declared = msgspec.convert(value, Declared)
            if isinstance(genes, FlowGenes):
                SearchSpace.from_json(genes.space)
            elif genes.encoding not in ENCODINGS:
                raise ValueError(f"`encoding` is {genes.encoding!r:.40}")
            else:
                genes.filler()  # refuses an order that is none
        except (msgspec.ValidationError, ValueError) as error:
            raise StudyError(
                f"`study` {study!r} can't be used: its attribute `{attribute:.80}` is wrong: "
                f"{error!s:.300}"
            ) from None
        found[attribute.removeprefix(SUGGESTED)] = genes
    return found
