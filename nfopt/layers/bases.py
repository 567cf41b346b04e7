"""Base distributions: what a flow maps the data to."""

from __future__ import annotations

from typing import get_args

from nfopt.layers.plain import GREATEST, LEAST, Tagged, kind_of, settle


class Normal(Tagged, frozen=True, tag="normal"):
    """The standard normal in D dimensions."""


class StudentT(Tagged, frozen=True, tag="student_t"):
    """Independent standard Student t variables, for heavy tails.

    Attributes:
        df: Degrees of freedom.
    """

    df: float = 5.0

    def __post_init__(self) -> None:
        if not LEAST <= self.df <= GREATEST:
            raise ValueError(f"`df` must be from {LEAST:g} to {GREATEST:g}, got {self.df}.")
        settle(self, df=float(self.df))


Base = Normal | StudentT

BASES: dict[str, type[Base]] = {kind_of(spec): spec for spec in get_args(Base)}
"""Every kind of base by its name."""
