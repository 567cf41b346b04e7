"""The best known flow, and how to train it, for a number of features and rows: no search.

What `nfopt fit` trains and every study tries first. The rules were found by training on the tables
that `studies/recipe` names; that script prints the comparison behind each of them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nfopt.spec import (
    LU,
    Activation,
    Autoregressive,
    Conditioner,
    Coupling,
    FlowSpec,
    Layer,
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


def recipe(
    features: int, rows: int, *, context_features: int = 0, device: str = "cpu"
) -> tuple[FlowSpec, TrainSpec]:
    """Return the flow and the training to begin with.

    Args:
        features: D, at least 1.
        rows: Training rows.
        context_features: Columns given as context.
        device: "cpu", "cuda", ...: a device with thousands of units takes larger batches.
    """
    flow = autoregressive(features, context_features=context_features)
    return flow, training(features, rows, device=device)


def first_trials(
    features: int, rows: int, *, context_features: int = 0, device: str = "cpu"
) -> list[tuple[FlowSpec, TrainSpec]]:
    """Return what a study tries first: the recipe, then variants that win on some tables."""
    flow, train = recipe(features, rows, context_features=context_features, device=device)

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
    return trials


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


def couplings(
    features: int, *, depth: int = 8, width: int = WIDTH, context_features: int = 0
) -> FlowSpec:
    """Coupling splines with parity masks, an LU layer before each; needs two features."""
    layers: list[Layer] = []
    for number in range(depth):
        mask = "".join("CT"[(feature + number) % 2] for feature in range(features))
        layers += [
            LU(),
            Coupling(
                mask=mask,
                map=Spline(BINS),
                conditioner=Conditioner(width=width, activation=ACTIVATION),
            ),
        ]
    return FlowSpec(features=features, layers=tuple(layers), context_features=context_features)


def training(features: int, rows: int, *, device: str = "cpu") -> TrainSpec:
    """AdamW under a cosine that ends after `EPOCHS` passes; dropout where rows are few.

    Longer is worse, not better: the cosine keeps its rate up until the rows are learnt by heart. On
    tables of a few hundred rows fewer than `FEWEST_STEPS` are not enough to learn anything.
    """
    batch = BATCH if device == "cpu" else 4 * BATCH
    steps = min(max(EPOCHS * rows // batch, FEWEST_STEPS), MOST_STEPS)
    return TrainSpec(
        learning_rate=LEARNING_RATE, batch_size=batch, steps=steps, dropout=_dropout(features, rows)
    )


def _dropout(features: int, rows: int) -> float:
    return 0.2 if rows < 300 * features else 0.0
