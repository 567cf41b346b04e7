"""Autoregressive layers: every feature is transformed, conditioned on its parents.

After Papamakarios et al. (2017). The density takes one pass; the inverse as many as the longest
chain of parents has features.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nfopt import adjacency as graph
from nfopt.flows import conditioner, maps
from nfopt.flows.layer import Column, Dropout, Rows, StackLayer, Weights, feature_order, slots_of
from nfopt.flows.loops import exporting, repeat
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
        depths = np.stack([graph.generations(adjacency) for adjacency in graphs])
        self.generations, self.back = _generations(depths, device)
        self.passes = len(self.generations)
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
        if exporting():  # a loop of passes that are alike, over all features each
            return self._inverse_in_a_loop(state, weights, context)
        members, features, batch = state.shape
        net = conditioner.Growing(self.spec.conditioner, weights, self.masks, context, batch)
        y = F.pad(state, (0, 0, 0, 1)).reshape(-1, batch)
        found = []
        for rows in self.generations:
            parameters = net.parameters(rows)
            x = self.map.inverse(y.index_select(0, rows).view(members, -1, batch), parameters)
            net.feed(rows, x)
            found.append(x)
        flat = torch.cat(found, 1).reshape(-1, batch)
        return flat.index_select(0, self.back).view(members, features, batch)

    def _inverse_in_a_loop(self, state: Tensor, weights: Weights, context: Tensor | None) -> Tensor:
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


def _generations(
    depths: np.typing.NDArray[np.int64], device: torch.device
) -> tuple[list[Tensor], Tensor]:
    """List the features of each generation, and where each feature stands among all of them.

    Args:
        depths: The generation of each feature, shape (P, D).
        device: Of the tensors.

    Returns:
        One tensor a generation, as `conditioner.Growing` numbers features, padded with no feature;
        and a place for each member and feature in the generations one after the other.
    """
    members, features = depths.shape
    counts = np.stack([(depths == g).sum(1) for g in range(int(depths.max(initial=0)) + 1)])
    starts = np.concatenate([[0], np.cumsum(counts.max(1))])
    order = np.argsort(depths, axis=1, kind="stable")
    places = np.full((members, starts[-1]), features)
    back = np.empty_like(depths)
    for member, own in enumerate(order):
        depth = depths[member, own]
        first = np.concatenate([[0], np.cumsum(counts[:, member])])
        position = starts[depth] + np.arange(features) - first[depth]
        places[member, position] = own
        back[member, own] = position
    numbers = np.arange(members)[:, None]
    rows = places + numbers * (features + 1)
    generations = [
        torch.from_numpy(rows[:, a:b].reshape(-1).copy()).to(device)
        for a, b in itertools.pairwise(starts)
    ]
    return generations, torch.from_numpy((back + numbers * starts[-1]).reshape(-1)).to(device)
