"""Small flows of every kind, and rows of data for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nfopt.data import ColumnHint, Preprocessing
from nfopt.flows import build
from nfopt.model import Flow
from nfopt.spec import (
    LU,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Spline,
)

NET = Conditioner(width=8, hidden_layers=1)
COLUMNS = ("mass", "width", "share")
Array = NDArray[np.float64]


def table(rows: int = 300, seed: int = 0) -> Array:
    """One plain column, one positive, one within (0, 1)."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rows, 3))
    return np.column_stack([50 + 7 * a[:, 0], np.exp(a[:, 1]), 1 / (1 + np.exp(-a[:, 2]))])


def preprocessing(context: Array | None = None) -> Preprocessing:
    return Preprocessing.fit(
        table(),
        COLUMNS,
        [ColumnHint(), ColumnHint(low=0.0), ColumnHint(low=0.0, high=1.0)],
        context=context,
        context_columns=() if context is None else ("hour", "place"),
    )


def affine(context: int = 0) -> FlowSpec:
    layers = (LU(), Coupling(mask="CTT", map=Affine(), conditioner=NET))
    return FlowSpec(features=3, layers=layers, context_features=context)


def spline(context: int = 0) -> FlowSpec:
    map = Spline(bins=4)
    layers = (Autoregressive(order=(2, 0, 1), map=map, conditioner=NET), Elementwise(map=map))
    return FlowSpec(features=3, layers=layers, context_features=context)


def make_flow(specs: list[FlowSpec], **options: Any) -> Flow:
    weights: list[dict[str, torch.Tensor]] = [{} for _ in specs]
    for stack in build(specs, torch.Generator().manual_seed(1)):
        with torch.no_grad():
            stack.theta.add_(stack.active * 0.3 * noise(stack.theta.shape, seed=3))
        for row, member in enumerate(stack.positions):
            weights[member] = stack.weights(row)
    seen = None
    if specs[0].context_features:
        seen = np.random.default_rng(5).normal(3, 2, size=(300, 2))
    return Flow(specs, weights, preprocessing(seen), **options)


def noise(shape: torch.Size, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


FLOWS: dict[str, Callable[[], Flow]] = {
    "one affine": lambda: make_flow([affine()]),
    "one spline": lambda: make_flow([spline()]),
    "equal shapes": lambda: make_flow([affine()] * 3),
    "mixed shapes": lambda: make_flow([affine(), spline(), affine()]),
    "with context": lambda: make_flow([affine(2), spline(2)]),
    "no layers": lambda: make_flow([FlowSpec(features=3)]),
}


def context_of(flow: Flow, rows: int) -> Array | None:
    if not flow.context_columns:
        return None
    return np.random.default_rng(9).normal(3, 2, size=(rows, 2))
