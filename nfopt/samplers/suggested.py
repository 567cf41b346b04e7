"""Masks and adjacencies that anyone's objective suggests, as parts of a genome.

Masks of the same features are the rows of one block, by their names (`layer_2` before `layer_10`),
so that operators exchange layers and columns. A single adjacency is the genome's own. What is left
(masks of other features, several adjacencies) becomes further parts, each by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.samplers.declared import ENCODINGS, Genes, MaskGenes, Params
from nfopt.samplers.presence import Rule
from nfopt.space.domains import Domain, Value


class Suggested:
    """The masks and adjacencies of a study.

    Args:
        declared: By the key of their parameters.
        rules: When those are present that not all trials have.
        apart: Whether all are further parts, as the genome has masks of its own.

    Attributes:
        declared: As given, in the order of their names.
        rules: As given.
        names: Of their parameters, in both encodings.
        masks: Keys of the rows of the genome's masks.
        graph: Key of the genome's adjacency, or None.
        parts: Keys of the further parts.
    """

    def __init__(
        self,
        declared: Mapping[str, Genes] | None = None,
        rules: Mapping[str, Rule] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        given = declared or {}
        self.declared = {key: given[key] for key in sorted(given, key=natural)}
        self.rules = {key: rule for key, rule in (rules or {}).items() if key in given}
        self.names = {key: names_of(key, genes) for key, genes in self.declared.items()}
        masks = {k: (g.features, g.idle) for k, g in given.items() if isinstance(g, MaskGenes)}
        most = Counter(masks.values()).most_common(1)
        common = most[0][0] if most and not apart else None
        self.masks = [key for key in self.declared if masks.get(key) == common and key in masks]
        graphs = [key for key in self.declared if key not in masks]
        self.graph = graphs[0] if len(graphs) == 1 and not apart else None
        self.parts = [k for k in self.declared if k not in self.masks and k != self.graph]

    def domains(self) -> dict[str, Domain]:
        """All parameters, by name."""
        parameters: dict[str, Domain] = {}
        for key, genes in self.declared.items():
            parameters |= genes.domains(key)
        return parameters

    def key_of(self, parameter: str) -> str | None:
        """Whose parameter this is."""
        return next((key for key, names in self.names.items() if parameter in names), None)

    def blocks(self) -> tuple[MaskBlock | None, EdgeBlock | None, tuple[Layout, ...]]:
        """What the genome's masks, adjacency and further parts may be."""
        mask = edges = None
        if self.masks:
            first = self.declared[self.masks[0]].layout.masks
            if first is not None:
                mask = MaskBlock(len(self.masks), first.features, idle=first.idle, cover=False)
        if self.graph is not None:
            edges = self.declared[self.graph].layout.edges
        return mask, edges, tuple([self.declared[key].layout for key in self.parts])

    def read(self, params: Params) -> Genome:
        """The genome of a trial's parameters, without values and not repaired."""
        found = {k: g.read(k, params) or g.filler() for k, g in self.declared.items()}
        rows = [masks for key in self.masks if (masks := found[key].masks) is not None]
        own = found[self.graph] if self.graph is not None else Genome(())
        parts = tuple([found[key] for key in self.parts])
        return Genome((), np.concatenate(rows) if rows else None, own.order, own.parents, parts)

    def write(self, genome: Genome) -> dict[str, Value]:
        """All parameters of a genome."""
        parts = {key: genome.parts[index] for index, key in enumerate(self.parts)}
        if genome.masks is not None:
            for index, key in enumerate(self.masks):
                parts[key] = Genome((), genome.masks[index : index + 1])
        if self.graph is not None:
            parts[self.graph] = genome
        params: dict[str, Value] = {}
        for key, part in parts.items():
            params |= self.declared[key].write(key, part)
        return params

    def present(self, key: str, values: Mapping[str, Any]) -> bool:
        """Whether a trial with these parameters has it, as far as that is known."""
        rule = self.rules.get(key)
        return rule is None or rule.parameter not in values or rule.present(values[rule.parameter])

    def complete(self, params: Params) -> bool:
        """Whether a trial has all that it will have of them."""
        return all(
            not self.present(key, params) or not names.isdisjoint(params)
            for key, names in self.names.items()
        )


def names_of(key: str, genes: Genes) -> frozenset[str]:
    """Names of all parameters, in both encodings."""
    return frozenset(name for encoding in ENCODINGS for name in genes.domains(key, encoding))


def natural(name: str) -> list[tuple[int, str]]:
    """A key to sort names by, with their numbers as numbers.

    >>> sorted(["layer_10", "layer_2"], key=natural)
    ['layer_2', 'layer_10']
    """
    pieces = re.split(r"(\d+)", name)
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]
