"""Scalar maps: the kinds of functions that a layer applies to one feature.

A new kind is a class here, listed in `ScalarMap`, and its torch class in `nfopt.flows`.
"""

from __future__ import annotations

from typing import ClassVar, get_args

from nfopt.layers.plain import GREATEST, LEAST, Search, Tagged, check_range, kind_of, settle

__all__ = ["MAPS", "MAX_BINS", "Additive", "Affine", "ScalarMap", "SinhArcsinh", "Spline"]

MAX_BINS = 32
SPLINE_WORK = 12  # multiply-adds a bin and feature: softmax, cumulative sums, the rational function
SINH_ARCSINH_WORK = 24  # multiply-adds a feature: sinh, arcsinh and their slopes


class MapKind(Tagged, frozen=True):
    """What every kind of scalar map says of itself.

    Its fields are keys of a search space by the same names.
    """

    search: ClassVar[Search | None] = None

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        self.refuse("number of parameters")

    def multiply_adds(self) -> int:
        """Count the multiply-adds of one feature of one row."""
        self.refuse("cost")


class Additive(MapKind, frozen=True, tag="additive"):
    """y = x + shift (NICE, Dinh et al. 2014)."""

    search: ClassVar[Search | None] = Search()

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        return 1

    def multiply_adds(self) -> int:
        """Count the multiply-adds of one feature of one row."""
        return 2


class Affine(MapKind, frozen=True, tag="affine"):
    """y = x * scale + shift (RealNVP, Dinh et al. 2016); the log-scale is bounded smoothly."""

    search: ClassVar[Search | None] = Search(default=2)

    def parameters(self) -> int:
        """Count the parameters of one feature."""
        return 2

    def multiply_adds(self) -> int:
        """Count the multiply-adds of one feature of one row."""
        return 2


class Spline(MapKind, frozen=True, tag="spline"):
    """Monotone rational-quadratic spline in a box, identity outside (Durkan et al. 2019).

    Attributes:
        bins: Pieces, 2 to 32.
        bound: It acts between -bound and bound.
    """

    search: ClassVar[Search | None] = Search(default=1)

    bins: int = 8
    bound: float = 5.0

    def __post_init__(self) -> None:
        check_range("bins", self.bins, 2, MAX_BINS)
        if not LEAST <= self.bound <= GREATEST:
            raise ValueError(f"`bound` must be from {LEAST:g} to {GREATEST:g}, got {self.bound}.")
        settle(self, bound=float(self.bound))

    def parameters(self) -> int:
        """Count the parameters of one feature: widths, heights, inner slopes."""
        return 3 * self.bins - 1

    def multiply_adds(self) -> int:
        """Count the multiply-adds of one feature of one row."""
        return SPLINE_WORK * self.bins


class SinhArcsinh(MapKind, frozen=True, tag="sinh_arcsinh"):
    """y = sinh(tail * arcsinh(x) + skew) (Jones and Pewsey 2009); log(tail) is bounded smoothly."""

    search: ClassVar[Search | None] = Search()

    def parameters(self) -> int:
        """Count the parameters of one feature: skew and log tail weight."""
        return 2

    def multiply_adds(self) -> int:
        """Count the multiply-adds of one feature of one row."""
        return SINH_ARCSINH_WORK


ScalarMap = Additive | Affine | Spline | SinhArcsinh

MAPS: dict[str, type[MapKind]] = {kind_of(spec): spec for spec in get_args(ScalarMap)}
"""Every kind of scalar map by its name."""
