"""The best known flow, and how to train it, for a number of features and rows: no search.

What `nfopt fit` trains and every study tries first: a portfolio, in the order in which its members
helped most on the tables of `studies/portfolio`, whose script prints the comparison.
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

Ranking = tuple[tuple[int, ...], ...]

DEPTH = 6
WIDTH = 128
BINS = 8
BATCH = 256
LEARNING_RATE, FEW_RATE, FEWEST_RATE = 6e-3, 8e-3, 1.6e-2  # of Muon; where rows are (very) few
AVERAGE = 0.995
EPOCHS = 60
FEWEST_STEPS, MOST_FEW_STEPS, MOST_STEPS = 300, 1500, 6000
DROPOUT = 0.4  # where rows are very few; 0.2 where they are few
PATIENCE = 10  # checks without a better validation NLL: then the rows are learnt by heart
ACTIVATION: Activation = "silu"
SPARSE = (
    (8, "partial_correlation", 0.4),
    (16, "partial_correlation", 0.2),
    (2, "mutual_information", 0.4),
    (4, "partial_correlation", 0.2),
)
"""Parents, what ranks them, and dropout, of the sparse flows that are tried where rows are few."""


def recipe(features: int, rows: int, *, context_features: int = 0) -> Recipe:
    """Return the flow, the training and the marginal maps to begin with.

    Args:
        features: D, at least 1.
        rows: Training rows.
        context_features: Columns given as context.
    """
    flow = autoregressive(features, context_features=context_features)
    return Recipe(flow, training(features, rows), DEFAULT)


def portfolio(
    features: int,
    rows: int,
    *,
    values: NDArray[np.floating] | None = None,
    context_features: int = 0,
) -> list[Recipe]:
    """Return the recipes that a study tries first, the best first.

    Those of one shape stand together, as they are trained and compared as one program. Which maps
    and which rate are best is a matter of the table, by half a nat in one direction or the other.

    Args:
        features: D, at least 1.
        rows: Training rows.
        values: Training rows, shape (n, D); where they are few, flows in which each feature depends
            on few others are among the recipes. None: there are no such flows.
        context_features: Columns given as context.
    """
    best = recipe(features, rows, context_features=context_features)
    few = _few(features, rows)

    def like(marginals: str = DEFAULT, flow: FlowSpec | None = None, **changes: Any) -> Recipe:
        train = msgspec.structs.replace(best.train, **changes)
        return Recipe(best.flow if flow is None else flow, train, marginals)

    rankings: dict[str, Ranking] = {}  # each is measured once
    thin = []
    for count, measure, dropout in SPARSE:
        if few and values is not None and count < features - 1:
            if measure not in rankings:
                rankings[measure] = ranked_parents(values, measure)
            flow = sparse(rankings[measure], count, context_features=context_features)
            thin.append(like(flow=flow, dropout=dropout))
    pairs = []
    if features > 1:
        flow = couplings(features, context_features=context_features)
        pairs.append(like(flow=flow, learning_rate=FEW_RATE if few else best.train.learning_rate))
    if few:  # which structure is best is a matter of the table, by a nat and more
        found = [
            best,
            like("quantile", learning_rate=FEW_RATE),
            like("standardise"),
            like(learning_rate=4e-3),
            like(dropout=0.6),
            *thin[:1],
            *pairs,
            *thin[1:],
        ]
    else:
        found = [
            best,
            like("quantile", learning_rate=8e-3),
            like("standardise", learning_rate=8e-3),
            like(learning_rate=1.2e-2),
            like("quantile", learning_rate=1.6e-2),
            like("standardise", learning_rate=1.6e-2),
            *pairs,
        ]
    slim = autoregressive(features, depth=3, context_features=context_features)
    deep = autoregressive(features, depth=10, width=96, context_features=context_features)
    fine = autoregressive(features, bins=2 * BINS, context_features=context_features)
    return [*found, like(flow=slim), like(flow=deep), like(flow=fine)]


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


def ranked_parents(values: NDArray[np.floating], measure: str) -> Ranking:
    """Rank for each feature the others by how much it depends on them.

    Args:
        values: Training rows, shape (n, D), finite.
        measure: Of dependence: "partial_correlation" or "mutual_information".
    """
    return rank_features(MEASURES[measure](values), MOST_PARENTS)


def sparse(
    ranking: Ranking,
    parents: int,
    *,
    depth: int = 3,
    width: int = WIDTH,
    context_features: int = 0,
) -> FlowSpec:
    """Autoregressive splines forth and back, each feature on its most dependent predecessors.

    Args:
        ranking: For each feature the others, the most dependent one first.
        parents: How many predecessors at most.
        depth: Layers.
        width: Of the conditioners.
        context_features: Columns given as context.
    """
    forth = tuple(range(len(ranking)))
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
    """Muon under a trapezoid, averaged weights; few steps and much dropout where rows are few.

    The rate stays until the last 30% of the steps, so that trainings can be compared on their way.
    """
    few = _few(features, rows)
    most = MOST_FEW_STEPS if few else MOST_STEPS
    steps = min(max(EPOCHS * rows // BATCH, FEWEST_STEPS), most)
    return TrainSpec(
        optimiser="muon",
        schedule="trapezoid",
        average=AVERAGE,
        learning_rate=_rate(features, rows),
        batch_size=BATCH,
        steps=steps,
        dropout=_dropout(features, rows),
        patience=PATIENCE if few else 0,
    )


def _rate(features: int, rows: int) -> float:
    if _very_few(features, rows):
        return FEWEST_RATE
    return FEW_RATE if _few(features, rows) else LEARNING_RATE


def _dropout(features: int, rows: int) -> float:
    if _very_few(features, rows):
        return DROPOUT
    return 0.2 if _few(features, rows) else 0.0


def _few(features: int, rows: int) -> bool:
    return rows < 300 * features


def _very_few(features: int, rows: int) -> bool:
    return rows < 100 * features
