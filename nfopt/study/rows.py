"""The rows that a search trains on: fewer than the retraining's, where the table is large."""

from __future__ import annotations

from nfopt import seeds
from nfopt.data import Prepared
from nfopt.events import Notice, OnEvent
from nfopt.study.length import SEARCH_ROWS, SEARCH_VAL_ROWS
from nfopt.training import TrainData


def search_rows(data: Prepared, seed: int, device: str, on_event: OnEvent) -> TrainData:
    """Take the rows of a search, the same in each of its workers, onto a device.

    Args:
        data: All rows.
        seed: Of the study.
        device: Where to train.
        on_event: Told if they are not all.
    """
    rows = len(data.parts[0])
    if rows > SEARCH_ROWS:
        data = data.subsample(
            SEARCH_ROWS,
            seeds.derive(seed, seeds.SUBSAMPLE),
            val_rows=SEARCH_VAL_ROWS,
        )
        on_event(
            Notice(
                f"the search uses {SEARCH_ROWS:,} of {rows:,} training rows;"
                " the retraining uses all"
            )
        )
    return TrainData.of(data, device)
