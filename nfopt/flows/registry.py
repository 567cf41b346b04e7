"""From specs to the layers of a stack: each kind of layer has its line here.

The slots' order is handed from layer to layer, so that permutations cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from nfopt.flows.autoregressive import AutoregressiveLayer
from nfopt.flows.coupling import CouplingLayer
from nfopt.flows.coupling import pads as coupling_pads
from nfopt.flows.layer import Order, StackLayer, feature_order
from nfopt.flows.linear import ElementwiseLayer, IdentityLayer, LULayer, PermutationLayer
from nfopt.flows.residual import PlanarLayer, RadialLayer
from nfopt.spec import (
    LU,
    Autoregressive,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Permutation,
    Planar,
    Radial,
    Reverse,
)

Pads = tuple[tuple[int, int] | None, ...]
"""For each coupling the padded numbers of C's and T's, None for other layers."""


def pads(specs: Sequence[FlowSpec]) -> Pads:
    """Find the greatest numbers of C's and T's a layer among the members."""
    columns = zip(*(spec.layers for spec in specs), strict=True)
    return tuple(
        coupling_pads([layer for layer in column if isinstance(layer, Coupling)])
        if isinstance(column[0], Coupling)
        else None
        for column in columns
    )


def layers(
    specs: Sequence[FlowSpec], padding: Pads, device: torch.device, dtype: torch.dtype
) -> list[StackLayer]:
    """Lay out every layer for all members at once."""
    order = feature_order(len(specs), specs[0].features)
    context = specs[0].context_features
    made: list[StackLayer] = []
    for number, pad in enumerate(padding):
        column = [spec.layers[number] for spec in specs]
        made.append(_layer(column, order, context, pad, device, dtype))
        order = made[-1].order
    return made


def _layer(
    specs: Sequence[Any],
    order: Order,
    context: int,
    pad: tuple[int, int] | None,
    device: torch.device,
    dtype: torch.dtype,
) -> StackLayer:
    makers: dict[type, Callable[[], StackLayer]] = {
        Coupling: lambda: CouplingLayer(specs, order, context, pad or (1, 1), device, dtype),
        Autoregressive: lambda: AutoregressiveLayer(specs, order, context, device, dtype),
        Planar: lambda: PlanarLayer(order, device),
        Radial: lambda: RadialLayer(order, device),
        Permutation: lambda: PermutationLayer(specs, order, device),
        Reverse: lambda: PermutationLayer(specs, order, device),
        LU: lambda: LULayer(order, device, dtype),
        Elementwise: lambda: ElementwiseLayer(specs[0], order, device),
        Identity: lambda: IdentityLayer(order),
    }
    return makers[type(specs[0])]()
