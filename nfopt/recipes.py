"""The best known flow, and how to train it, for a number of features and rows: no search.

What `nfopt fit` trains and every study tries first. `studies/portfolio` trains a pool of recipes on
many tables, from which they are to be chosen; `studies/evidence` says what was seen before.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.adjacency import strongest_parents
from nfopt.data import DEFAULT
from nfopt.dependence import MEASURES, MOST_PARENTS, rank_features
from nfopt.designs import parity
from nfopt.masks import letters
from nfopt.spec import (
    LU,
    Activation,
    Autoregressive,
    Conditioner,
    Coupling,
    FlowSpec,
    Layer,
    Recipe,
    Spline,
    TrainSpec,
)

DEPTH = 6
WIDTH = 128
BINS = 8
BATCH = 256
LEARNING_RATE = 2e-3
EPOCHS = 75
FEWEST_STEPS, MOST_STEPS = 500, 20_000
ACTIVATION: Activation = "silu"
SPARSE = (
    (2, "mutual_information"),
    (4, "partial_correlation"),
    (8, "partial_correlation"),
    (16, "partial_correlation"),
)
"""Parents and what ranks them, of the sparse flows that are tried where rows are few."""


def recipe(features: int, rows: int, *, context_features: int = 0) -> Recipe:
    """Return the flow, the training and the marginal maps to begin with.

    Args:
        features: D, at least 1.
        rows: Training rows.
        context_features: Columns given as context.
    """
    flow = autoregressive(features, context_features=context_features)
    return Recipe(flow, training(features, rows), DEFAULT)


def first_trials(
    features: int,
    rows: int,
    *,
    values: NDArray[np.floating] | None = None,
    context_features: int = 0,
) -> list[Recipe]:
    """Return what a study tries first: the recipe, then variants that win on some tables.

    Args:
        features: D, at least 1.
        rows: Training rows.
        values: Training rows, shape (n, D); where they are few, flows in which each feature depends
            on few others are among the trials. Whether they win is a nat and more in one direction
            or the other, by table, and nothing but a trial tells. None: there are no such flows.
        context_features: Columns given as context.
    """
    best = recipe(features, rows, context_features=context_features)
    flow, train = best.flow, best.train

    def trained(**changes: Any) -> TrainSpec:
        return msgspec.structs.replace(train, **changes)

    other = 0.15 if train.dropout == 0 else 0.0
    slim = autoregressive(features, depth=4, width=64, context_features=context_features)
    deep = autoregressive(features, depth=10, width=96, context_features=context_features)
    fine = autoregressive(features, bins=2 * BINS, context_features=context_features)
    trials = [
        (flow, train),
        (flow, trained(dropout=other)),
        (fine, train),
        (slim, trained(dropout=0.1)),
        (deep, train),
        (flow, trained(learning_rate=2 * LEARNING_RATE, batch_size=2 * train.batch_size)),
    ]
    if features > 1:
        trials.insert(1, (couplings(features, context_features=context_features), train))
    if values is not None and _few(features, rows):
        spare = trained(learning_rate=2 * LEARNING_RATE)
        # each of them is trained in a fraction of the recipe's time
        trials[1:1] = [
            (sparse(values, count, measure, context_features=context_features), spare)
            for count, measure in SPARSE
            if count < features - 1
        ]
    return [Recipe(spec, trained_so, DEFAULT) for spec, trained_so in trials]


def autoregressive(
    features: int,
    *,
    depth: int = DEPTH,
    width: int = WIDTH,
    bins: int = BINS,
    context_features: int = 0,
) -> FlowSpec:
    """Autoregressive splines in alternating order, an LU layer before each."""
    forth = tuple(range(features))
    layers: list[Layer] = []
    for number in range(depth):
        order = forth if number % 2 == 0 else forth[::-1]
        conditioner = Conditioner(width=width, activation=ACTIVATION)
        layers += [LU(), Autoregressive(order=order, map=Spline(bins), conditioner=conditioner)]
    return FlowSpec(features=features, layers=tuple(layers), context_features=context_features)


def sparse(
    values: NDArray[np.floating],
    parents: int,
    measure: str,
    *,
    depth: int = 3,
    width: int = WIDTH,
    context_features: int = 0,
) -> FlowSpec:
    """Autoregressive splines forth and back, each feature on its most dependent predecessors.

    Args:
        values: Training rows, shape (n, D), finite.
        parents: How many predecessors at most.
        measure: Of dependence: "partial_correlation" or "mutual_information".
        depth: Layers.
        width: Of the conditioners.
        context_features: Columns given as context.
    """
    forth = tuple(range(values.shape[1]))
    ranking = rank_features(MEASURES[measure](values), MOST_PARENTS)
    layers = [
        Autoregressive(
            parents=strongest_parents(forth if number % 2 == 0 else forth[::-1], ranking, parents),
            map=Spline(BINS),
            conditioner=Conditioner(width=width, activation=ACTIVATION),
        )
        for number in range(depth)
    ]
    return FlowSpec(features=len(forth), layers=tuple(layers), context_features=context_features)


def couplings(
    features: int, *, depth: int = 8, width: int = WIDTH, context_features: int = 0
) -> FlowSpec:
    """Coupling splines with parity masks, an LU layer before each; needs two features."""
    layers: list[Layer] = []
    for mask in letters(parity(depth, features)):
        layers += [
            LU(),
            Coupling(
                mask=mask,
                map=Spline(BINS),
                conditioner=Conditioner(width=width, activation=ACTIVATION),
            ),
        ]
    return FlowSpec(features=features, layers=tuple(layers), context_features=context_features)


def training(features: int, rows: int) -> TrainSpec:
    """AdamW under a cosine that ends after `EPOCHS` passes; dropout where rows are few.

    Longer is worse, not better: the cosine keeps its rate up until the rows are learnt by heart. On
    tables of a few hundred rows fewer than `FEWEST_STEPS` are not enough to learn anything. Larger
    batches are worse, also on a GPU and with a learning rate of their own (`studies/gpu`).
    """
    steps = min(max(EPOCHS * rows // BATCH, FEWEST_STEPS), MOST_STEPS)
    return TrainSpec(
        learning_rate=LEARNING_RATE, batch_size=BATCH, steps=steps, dropout=_dropout(features, rows)
    )


def _dropout(features: int, rows: int) -> float:
    return 0.2 if _few(features, rows) else 0.0


def _few(features: int, rows: int) -> bool:
    return rows < 300 * features
