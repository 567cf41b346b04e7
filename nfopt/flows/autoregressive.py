"""Autoregressive layers: every feature is transformed, conditioned on its parents.

After Papamakarios et al. (2017). The density takes one pass; the inverse as many as the longest
chain of parents has features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nfopt import adjacency as graph
from nfopt.flows import conditioner, maps
from nfopt.flows.layer import Column, Dropout, Rows, StackLayer, Weights, feature_order, slots_of
from nfopt.flows.loops import repeat
from nfopt.flows.registry import registers
from nfopt.spec import Autoregressive


@registers(Autoregressive)
class AutoregressiveLayer(StackLayer):
    """An autoregressive layer for a population of adjacencies."""

    def __init__(self, column: Column) -> None:
        """Lay out the adjacencies."""
        specs, order, device, dtype = column.specs, column.order, column.device, column.dtype
        self.spec: Autoregressive = specs[0]
        self.map = maps.of(self.spec.map)
        self.context = context = column.context
        members, features = order.shape
        self.order = feature_order(members, features)
        self.rows = Rows(slots_of(order, self.order), features, device)
        net = self.spec.conditioner
        graphs = [spec.adjacency() for spec in specs]
        self.passes = max(graph.passes(adjacency) for adjacency in graphs)
        self.wirings = [graph.wire(parents, net.width, context=context > 0) for parents in graphs]

        def mask(rows: Sequence[np.typing.NDArray[np.bool_]]) -> Tensor:
            return torch.from_numpy(np.stack(rows)).to(device, dtype)

        self.masks = conditioner.Masks(
            input=mask([w.inputs for w in self.wirings]),
            hidden=mask([w.hidden for w in self.wirings]) if net.hidden_layers > 1 else None,
            output=mask([w.outputs for w in self.wirings]).unsqueeze(1),
        )
        outputs = (self.spec.map.parameters(), features)
        self.shapes = conditioner.shapes(net, features, context, outputs)
        self.matrices = conditioner.matrices(self.shapes)

    def forward(
        self, state: Tensor, weights: Weights, context: Tensor | None, dropout: Dropout | None
    ) -> tuple[Tensor, Tensor | float]:
        """Map every feature at once."""
        if state.dim() == 2 and self.rows.identity:  # the first layer: all members see the same
            seen, state = state, state.expand(len(self.order), -1, -1)
        else:
            seen = state = self.rows(state)
        parameters = conditioner.run(
            self.spec.conditioner, seen, weights, self.masks, context, dropout
        )
        y, log_derivative = self.map.forward(state, parameters)
        return y, 0.0 if log_derivative is None else log_derivative.sum(1)

    def inverse(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
        """Undo `forward`, one generation of the graph a pass."""

        def one_more(x: Tensor) -> tuple[Tensor]:
            parameters = conditioner.run(
                self.spec.conditioner, x, weights, self.masks, context, None
            )
            return (self.map.inverse(state, parameters),)

        (x,) = repeat(self.passes, one_more, torch.zeros_like(state))
        return x

    def start(self, name: str, member: int, generator: torch.Generator) -> Tensor:
        """Draw weights by fan-in, which counts only the weights that exist."""
        wiring = self.wirings[member]
        if name in ("input", "context", "bias"):
            fan_in = wiring.inputs.sum(1) + self.context
        elif name == "output":
            fan_in = wiring.outputs.sum(1)
        else:
            fan_in = wiring.hidden.sum(1)
        fan = torch.from_numpy(np.asarray(fan_in)).to(torch.get_default_dtype())
        fan = fan if name.endswith("bias") or "bias" in name else fan.unsqueeze(-1)
        return conditioner.start(name, self.own_shape(name, member), fan, generator)

    def active(self, name: str, member: int) -> Tensor | None:
        """Which weights the adjacency allows."""
        wiring = self.wirings[member]
        if name == "input":
            return torch.from_numpy(wiring.inputs)
        if name.startswith("hidden") and "bias" not in name:
            return torch.from_numpy(wiring.hidden)
        if name == "output":
            return torch.from_numpy(wiring.outputs).expand(self.own_shape(name, member))
        if name == "output_bias" or wiring.outputs.any():
            return None
        return torch.zeros(self.own_shape(name, member), dtype=torch.bool)
