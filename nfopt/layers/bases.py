"""Base distributions: what a flow maps the data to."""

from __future__ import annotations

from typing import get_args

from nfopt.layers.plain import Tagged, kind_of, settle


class Normal(Tagged, frozen=True, tag="normal"):
    """The standard normal in D dimensions."""


class StudentT(Tagged, frozen=True, tag="student_t"):
    """Independent standard Student t variables, for heavy tails."""

    df: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.df < float("inf"):
            raise ValueError(f"`df` must be positive and finite, got {self.df}.")
        settle(self, df=float(self.df))


Base = Normal | StudentT

BASES: dict[str, type[Base]] = {kind_of(spec): spec for spec in get_args(Base)}
"""Every kind of base by its name."""
