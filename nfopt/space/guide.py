"""What the data say about the structure, small enough to be stored with the space."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt import designs
from nfopt.dependence import MEASURES, MOST_PARENTS, Strength, chain, rank_features
from nfopt.masks import letters


class Guide(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Orders, rankings and masks that follow from the dependence of every two features.

    Attributes:
        order: Each feature after those that it depends on most; see `nfopt.dependence.chain`.
        ranks: By measure, for each feature the others, the most dependent one first.
        cuts: Masks of the design `dependence`, one string a layer.
    """

    order: tuple[int, ...]
    ranks: dict[str, tuple[tuple[int, ...], ...]]
    cuts: tuple[str, ...]

    @classmethod
    def measure(cls, values: NDArray[np.floating], layers: int) -> Guide:
        """Measure the dependence in training data.

        Args:
            values: Shape (n, D), finite. Monotone changes of a column change nothing.
            layers: The greatest number of coupling layers.
        """
        return cls.of({name: measure(values) for name, measure in MEASURES.items()}, layers)

    @classmethod
    def of(cls, strengths: Mapping[str, Strength], layers: int) -> Guide:
        """Take the dependence as given.

        Args:
            strengths: By measure a matrix, shape (D, D); orders and masks follow
                `mutual_information` if it is there, else the last one.
            layers: The greatest number of coupling layers.

        Raises:
            ValueError: If there is no matrix, or the measure of one is not known.
        """
        unknown = sorted(set(strengths) - set(MEASURES))
        if unknown or not strengths:
            given = unknown[0] if unknown else "empty"
            raise ValueError(f"`strengths` must be of {', '.join(MEASURES)}, not {given}.")
        leading = strengths.get("mutual_information", list(strengths.values())[-1])
        features = len(leading)
        cuts = designs.dependence(layers, features, leading) if features > 1 else None
        return cls(
            order=chain(leading),
            ranks={name: rank_features(s, MOST_PARENTS) for name, s in strengths.items()},
            cuts=() if cuts is None else letters(cuts),
        )
