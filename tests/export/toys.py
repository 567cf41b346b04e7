"""Untrained flows far from the identity, and data as it comes: bounded, large, shifted, tied."""

from __future__ import annotations

import numpy as np
import torch

from nfopt.data import Preprocessing
from nfopt.data.maps.preprocess import ColumnHint
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import (
    LU,
    Additive,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Permutation,
    Reverse,
    Spline,
    StudentT,
)

HINTS = [ColumnHint(3.0, 10.0), ColumnHint(-5.0), ColumnHint(), ColumnHint(high=12.0)]


def everything(features: int = 4, context: int = 0) -> FlowSpec:
    """All that zuko has a layer for."""
    net = Conditioner(width=12, hidden_layers=3, activation="elu", residual=True)
    return FlowSpec(
        features=features,
        layers=(
            Reverse(),
            LU(),
            Coupling(mask=("CTI" * features)[:features], map=Spline(bins=5), conditioner=net),
            Identity(),
            Permutation(order=(*range(1, features), 0)),
            Elementwise(map=Spline(bins=3, bound=2.0)),
            Autoregressive(parents=((), (0,), (), (0, 2)), map=Spline(bins=4), conditioner=net),
            Coupling(mask=("TC" * features)[:features], map=Additive()),
        ),
        context_features=context,
        base=StudentT(df=6.0),
    )


def simple(features: int = 4, context: int = 0) -> FlowSpec:
    """A coupling and a linear layer."""
    net = Conditioner(width=8, hidden_layers=1)
    layers = (LU(), Coupling(mask=("CT" * features)[:features], conditioner=net))
    return FlowSpec(features=features, layers=layers, context_features=context)


def table(spec: FlowSpec) -> np.ndarray:
    """300 rows: D features, then the context."""
    rng = np.random.default_rng(0)
    x = np.stack(
        [
            rng.beta(2, 3, 300) * 7 + 3,  # from 3 to 10
            np.exp(rng.standard_normal(300)) - 5,  # above -5
            1e6 + 30 * rng.standard_normal(300),
            12 - rng.gamma(2.0, size=300),  # below 12
        ],
        1,
    )[:, : spec.features]
    return np.concatenate([x, 2000 + 10 * rng.standard_normal((300, spec.context_features))], 1)


def maps(
    spec: FlowSpec,
    marginals: str = "standardise",
    hints: list[ColumnHint] | None = HINTS,
    seen: slice = slice(None),
) -> Preprocessing:
    """Fit the preprocessing to some of the rows."""
    x, context = np.split(table(spec)[seen], [spec.features], axis=1)
    return Preprocessing.fit(
        x,
        [f"column {k}" for k in range(spec.features)],
        None if hints is None else hints[: spec.features],
        marginals=marginals,
        context=context if spec.context_features else None,
        context_columns=[f"given {k}" for k in range(spec.context_features)],
    )


def made(
    spec: FlowSpec, *, members: int = 1, bounds: bool = True, marginals: str = "standardise"
) -> tuple[Flow, np.ndarray]:
    """A flow, or members alike in all but their weights, and the data."""
    before = maps(spec, marginals, HINTS if bounds else None)
    generator = torch.Generator().manual_seed(3)
    (stack,) = build([spec] * members, generator)
    with torch.no_grad():
        stack.theta += 0.3 * torch.randn(stack.theta.shape, generator=generator)
    return Flow.of(stack, before), table(spec)


def mixture(context: int = 0) -> tuple[Flow, np.ndarray]:
    """Members of two shapes, each with marginal maps of its own, and shares that differ."""
    specs = [everything(context=context), simple(context=context), simple(context=context)]
    kinds = ["asinh,quantile,standardise,quantile", "quantile", "standardise"]
    hints = [*HINTS[:3], ColumnHint(high=12.0, step=0.5)]
    before = [
        maps(spec, kind, hints, slice(20 * k, None))
        for k, (spec, kind) in enumerate(zip(specs, kinds, strict=True))
    ]
    flows = [made(spec)[0] for spec in specs]
    weights = [one.weights() for one in flows]
    weights[2] = {name: weight / 2 for name, weight in weights[2].items()}
    return Flow(specs, weights, before, shares=[3, 1, 2]), table(specs[0])


def rows_of(data: np.ndarray, context: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Split a table; one value lies on the bound of a tied column, one row is outside."""
    x, given = data[:, :4].copy(), data[:, 4:].copy()
    x[0, 3], x[1, 0] = 12.0, 10.0
    return x, given if context else None
