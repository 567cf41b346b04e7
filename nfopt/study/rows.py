"""The rows that flows are trained on, under the marginal maps that each of them has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nfopt import seeds
from nfopt.data import DEFAULT, Part, Prepared, Preprocessing, folds, merge_fault
from nfopt.events import Notice, OnEvent
from nfopt.model import Flow
from nfopt.model.gaussian import gaussian_log_prob
from nfopt.study.length import SEARCH_ROWS, SEARCH_VAL_ROWS
from nfopt.study.results import member_scores, mixture, score_of
from nfopt.training import TrainData


@dataclass(frozen=True, eq=False)
class MappedRows:
    """A prepared table on a device; each choice of marginal maps is fitted and moved there once.

    Where rows are few a candidate is a bag: one flow a fold, each of which holds out other rows of
    the training and validation part, so that all of them are trained on and all of them validate.

    Attributes:
        data: Split and preprocessed.
        device: Where to train.
        folds: Flows of a candidate; 0: one, trained on the training rows.
        seed: Of the folds.
    """

    data: Prepared
    device: str = "cpu"
    folds: int = 0
    seed: int = 0
    _each: dict[tuple[str, int | None], TrainData] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The device's type."""
        return torch.device(self.device).type

    @property
    def bag(self) -> int:
        """Flows of a candidate."""
        return self.folds or 1

    @cached_property
    def parts(self) -> list[Prepared]:
        """The table as each flow of a bag sees it."""
        if not self.folds:
            return [self.data]
        return folds(self.data, self.folds, seeds.derive(self.seed, seeds.FOLDS))

    def under(self, marginals: str, fold: int | None = None) -> TrainData:
        """Give the rows under one choice of maps; of a fold, or as they were split."""
        if (marginals, fold) not in self._each:
            data = self.data if fold is None else self.parts[fold]
            self._each[marginals, fold] = TrainData.of(data.under(marginals), self.device)
        return self._each[marginals, fold]

    def of_members(self, marginals: Sequence[str]) -> TrainData:
        """Give the rows as the members of a stack see them: those of the first bag, of the next."""
        seen = [
            (one, fold if self.folds else None) for one in marginals for fold in range(self.bag)
        ]
        distinct = list(dict.fromkeys(seen))
        each = [self.under(one, fold) for one, fold in distinct]
        return TrainData.mixed(each, [distinct.index(one) for one in seen])

    def preprocessing(self, marginals: str) -> Preprocessing:
        """Give the maps, fitted on the training rows."""
        return self.data.under(marginals).preprocessing

    def preprocessings(self, marginals: str) -> list[Preprocessing]:
        """Give the maps of each flow of a bag."""
        return [part.under(marginals).preprocessing for part in self.parts]

    def scores(self, flow: Flow) -> Tensor:
        """Log-density of the rows that a candidate's flows have held out, in their order."""
        if not self.folds:
            return mixture(member_scores(flow, self.data.parts[1]), flow.shares)
        scored = [member_scores(flow, part.parts[1])[k] for k, part in enumerate(self.parts)]
        return torch.cat(scored)

    @property
    def validation(self) -> Part:
        """The rows behind `scores`; of folds only their number and weights count."""
        parts = [part.parts[1] for part in self.parts]
        if len(parts) == 1:
            return parts[0]
        return Part(np.concatenate([p.z for p in parts]), np.concatenate([p.logdet for p in parts]))

    @property
    def weights(self) -> Tensor | None:
        """Of the rows behind `scores` in a mean of them, or None."""
        return None if self.folds else self.under(DEFAULT).val_weights

    def gaussian_nll(self) -> float:
        """Validation NLL of a Gaussian fitted to the training rows; nan with context columns."""
        if self.data.context_features:
            return math.nan
        scores = []
        for part in self.parts:
            train, val, _ = part.under("standardise").parts
            try:
                scores.append(gaussian_log_prob(train.z, val.z, train.weights) + val.logdet)
            except np.linalg.LinAlgError:
                return math.nan
        return score_of(torch.from_numpy(np.concatenate(scores)), self.validation).nll

    def fault(self, marginals: str) -> str:
        """Say why no flow can be trained under these maps, or nothing."""
        return merge_fault(self.data.lines, marginals)


def search_rows(
    data: Prepared, seed: int, device: str, on_event: OnEvent, *, folds: int = 0
) -> MappedRows:
    """Take the rows of a search, the same in each of its workers, onto a device.

    Args:
        data: All rows.
        seed: Of the study.
        device: Where to train.
        on_event: Told if they are not all.
        folds: Of the study.
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
    return MappedRows(data, device, folds, seed)
