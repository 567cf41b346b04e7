"""The tables: training, validation and test rows, and how strongly their columns depend."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nfopt.data import load
from nfopt.data.synthetic import sparse_graph
from nfopt.dependence import Strength, mutual_information, partial_correlation
from nfopt.study.dataset import read
from nfopt.training import TrainData

DROPPED = {"miniboone_vt": (4,)}
"""Columns left out: one value in 9% of the rows has no upper bound of the likelihood."""

GRAPH, GRAPH_FEATURES, GRAPH_ROWS = "graph", 12, 8_000
"""Names that begin so are sparse graphs made with the seed that follows."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A table, ready to train on.

    Attributes:
        name: Of the set.
        data: Training and validation rows.
        test: Test rows, shape (n, D).
        logdet: Log-determinant of the preprocessing at the test rows, shape (n,).
        edges: Who depends on whom, shape (D, D), where that is known.
    """

    name: str
    data: TrainData
    test: Tensor
    logdet: Tensor
    edges: np.ndarray | None = None

    @property
    def features(self) -> int:
        return self.data.x.shape[1]

    @cached_property
    def mutual(self) -> Strength:
        """Mutual information of ranks, of the training rows."""
        return mutual_information(self.data.x.numpy())

    @cached_property
    def partial(self) -> Strength:
        """Partial correlation of normal scores, of the training rows."""
        return partial_correlation(self.data.x.numpy())

    def first(self, count: int | None) -> Rows:
        """The same with the first `count` training rows; validation and test rows stay."""
        if count is None or count >= len(self.data.x):
            return self
        return replace(self, data=replace(self.data, x=self.data.x[:count]))


def rows_of(name: str, folder: Path | None) -> Rows:
    """Read a table.

    Args:
        name: Of an NPZ file in the folder, a named set, or `graph` and a seed.
        folder: Where the files are; None: named sets.
    """
    edges = None
    if name.startswith(GRAPH):
        seed = int(name.removeprefix(GRAPH))
        graph = sparse_graph(GRAPH_FEATURES, seed)
        edges = graph.adjacency
        source = read(graph.sample(GRAPH_ROWS, seed), seed=seed, on_warning=lambda text: None)
    else:
        place = name if folder is None else str(folder / f"{name}.npz")
        columns = None
        if name in DROPPED:
            every = load(place, on_warning=lambda text: None).columns
            columns = [every[k] for k in range(len(every)) if k not in DROPPED[name]]
        source = read(place, seed=0, on_warning=lambda text: None, columns=columns)
    part = source.data.parts[2]
    data = TrainData.of(source.data)
    return Rows(name, data, torch.from_numpy(part.z), torch.from_numpy(part.logdet), edges)
