"""The structured parts of a genome (coupling masks, an adjacency), and which genes are active."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class MaskBlock:
    """Coupling masks as genes, one row of letters a layer.

    Attributes:
        layers: The greatest number of layers, L.
        features: D, at least 2.
        idle: Whether a feature may be `I`.
        pairs: Whether only the first layer of each pair has genes, and the second is its
            complement. Not with `idle`.
        depth: Index of the Integer variable that is the number of active layers; None: all.
        cover: Whether every feature must be transformed and condition at least once.
        commute: Whether layers that commute as couplings may be reordered: only if nothing stands
            between them and all have one kind and scalar map.
    """

    layers: int
    features: int
    idle: bool = False
    pairs: bool = False
    depth: int | None = None
    cover: bool = True
    commute: bool = False

    def __post_init__(self) -> None:
        if self.layers < 1 or self.features < 2:
            raise ValueError(
                "`layers` must be at least 1 and `features` at least 2, not "
                f"{self.layers} and {self.features}."
            )
        if self.idle and self.pairs:
            raise ValueError("`pairs` can't be true where `idle` is: give `pairs` = False.")


@dataclass(frozen=True)
class EdgeBlock:
    """An adjacency as genes: which features each feature may depend on.

    Attributes:
        features: D.
        budget: The greatest number of parents of a feature; None: no limit.
        orders: Whether the order is searched too; edges then follow the genome's order.
        order: A fixed order that edges must follow, where it is not searched. With neither, every
            edge is allowed in both directions, and each layer uses those that its own order allows.
        limit: Index of an Integer variable that is the parent budget, if there is one.
    """

    features: int
    budget: int | None = None
    orders: bool = False
    order: tuple[int, ...] | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"`features` must be at least 1, not {self.features}.")
        if self.budget is not None and self.budget < 0:
            raise ValueError(f"`budget` must be 0 or more, not {self.budget}.")
        if self.order is not None and sorted(self.order) != list(range(self.features)):
            raise ValueError(
                f"`order` must name each feature from 0 to {self.features - 1} once, "
                f"got {self.order}."
            )


class Usage(NamedTuple):
    """Which genes are active, that is, affect the flow, given the genome's values.

    Attributes:
        variables: One flag a variable; empty: all but those of layers beyond the depth.
        layers: One flag a row of the masks; empty: all within the depth.
        cover: Whether masks must cover every feature, as `MaskBlock.cover`.
        edges: Whether any layer uses the adjacency.
        parts: One flag a further part of the genome; empty: all.
    """

    variables: tuple[bool, ...] = ()
    layers: tuple[bool, ...] = ()
    cover: bool = True
    edges: bool = True
    parts: tuple[bool, ...] = ()
