"""The rows that flows are trained on, under the marginal maps that each of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from nfopt import seeds
from nfopt.data import Prepared, Preprocessing, merge_fault
from nfopt.events import Notice, OnEvent
from nfopt.study.length import SEARCH_ROWS, SEARCH_VAL_ROWS
from nfopt.training import TrainData


@dataclass(frozen=True, eq=False)
class MappedRows:
    """A prepared table on a device; each choice of marginal maps is fitted and moved there once.

    Attributes:
        data: Split and preprocessed.
        device: Where to train.
    """

    data: Prepared
    device: str = "cpu"
    _each: dict[str, TrainData] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The device's type."""
        return torch.device(self.device).type

    def under(self, marginals: str) -> TrainData:
        """Give the rows under one choice of maps."""
        if marginals not in self._each:
            self._each[marginals] = TrainData.of(self.data.under(marginals), self.device)
        return self._each[marginals]

    def of_members(self, marginals: Sequence[str]) -> TrainData:
        """Give the rows as the members of a stack see them, each under maps of its own."""
        distinct = list(dict.fromkeys(marginals))
        each = [self.under(one) for one in distinct]
        return TrainData.mixed(each, [distinct.index(one) for one in marginals])

    def preprocessing(self, marginals: str) -> Preprocessing:
        """Give the maps, fitted on all training rows."""
        return self.data.under(marginals).preprocessing

    def fault(self, marginals: str) -> str:
        """Say why no flow can be trained under these maps, or nothing."""
        return merge_fault(self.data.lines, marginals)


def search_rows(data: Prepared, seed: int, device: str, on_event: OnEvent) -> MappedRows:
    """Take the rows of a search, the same in each of its workers, onto a device.

    Args:
        data: All rows.
        seed: Of the study.
        device: Where to train.
        on_event: Told if they are not all.
    """
    rows = data.sizes[0]
    if rows > SEARCH_ROWS:
        data = data.subsample(
            SEARCH_ROWS,
            seeds.derive(seed, seeds.SUBSAMPLE),
            val_rows=SEARCH_VAL_ROWS,
        )
        on_event(
            Notice(f"the search uses {SEARCH_ROWS:,} of {rows:,} training rows; `fit` uses all")
        )
    return MappedRows(data, device)
