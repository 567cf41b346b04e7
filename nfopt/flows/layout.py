"""The layers of a stack, built from specs.

The order of the slots is passed from layer to layer, so that permutations cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nfopt.flows.layer import Column, Pads, StackLayer, feature_order
from nfopt.flows.registry import torch_class
from nfopt.spec import FlowSpec


def layers(
    specs: Sequence[FlowSpec],
    pads: Sequence[Pads] | None,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[list[Pads], list[StackLayer]]:
    """Lay out every layer for all members at once.

    Args:
        specs: One a member, of one shape.
        pads: Padded sizes of each layer; None: the smallest for these members.
        device: Of the layers' tensors.
        dtype: Of the layers' tensors.

    Returns:
        The padded sizes of each layer, and the layers.

    Raises:
        ValueError: If a kind has no torch class.
    """
    order = feature_order(len(specs), specs[0].features)
    padded: list[Pads] = []
    made: list[StackLayer] = []
    for number, column in enumerate(zip(*(spec.layers for spec in specs), strict=True)):
        kind: type[StackLayer] = torch_class(column[0])
        padded.append(kind.pads(column) if pads is None else pads[number])
        context = specs[0].context_features
        made.append(kind(Column(column, order, context, padded[-1], device, dtype)))
        order = made[-1].order
    return padded, made
