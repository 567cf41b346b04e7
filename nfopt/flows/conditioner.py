"""The network that computes the parameters of the scalar maps, for a whole population at once.

Shapes: inputs (P, C, B) or shared (C, B), context (P, X, B) or (X, B), outputs (P, K, T, B).
Weights: `input` (H, C), `context` (H, X), `bias` (H), `hidden_i` (H, H), `hidden_bias_i` (H),
`output` (K, T, H), `output_bias` (K, T).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nfopt.flows.layer import Dropout, Shape, Weights
from nfopt.spec import Conditioner

# A flow starts best near the identity; exact zeros would give the layers below no gradient.
OUTPUT_SCALE = 0.1

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
}


@dataclass
class Masks:
    """Factors on the weights; None where every weight exists."""

    input: Tensor | None = None
    hidden: Tensor | None = None
    output: Tensor | None = None


def shapes(spec: Conditioner, fed: int, context: int, outputs: tuple[int, int]) -> dict[str, Shape]:
    """The weights' shapes by name, for `fed` inputs and (K, T) outputs."""
    width = spec.width
    named: dict[str, Shape] = {"input": (width, fed)}
    if context:
        named["context"] = (width, context)
    named["bias"] = (width,)
    for i in range(1, spec.hidden_layers):
        named[f"hidden_{i}"] = (width, width)
        named[f"hidden_bias_{i}"] = (width,)
    named["output"] = (*outputs, width)
    named["output_bias"] = outputs
    return named


def matrices(shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    """Names of the weights that are matrices; the output has one matrix a feature."""
    return tuple(name for name in shapes if "bias" not in name)


def start(name: str, shape: Shape, fan_in: int | Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform weights within 1 / sqrt(fan in), the outputs smaller, their biases zero."""
    if name == "output_bias":
        return torch.zeros(shape)
    drawn = torch.rand(shape, generator=generator) * 2 - 1
    scale = OUTPUT_SCALE if name == "output" else 1.0
    if isinstance(fan_in, Tensor):
        return drawn * scale / fan_in.clamp_min(1).sqrt()
    return drawn * scale / math.sqrt(max(fan_in, 1))


def run(
    spec: Conditioner,
    seen: Tensor,
    weights: Weights,
    masks: Masks,
    context: Tensor | None,
    dropout: Dropout | None,
) -> Tensor:
    """Compute the parameters (P, K, T, B)."""
    first = weights["input"] if masks.input is None else weights["input"] * masks.input
    hidden = _linear(first, seen, weights["bias"])
    if context is not None:
        hidden = hidden + torch.matmul(weights["context"], context)
    active = _hidden(spec, hidden, weights, masks, dropout)
    output = weights["output"]
    if masks.output is not None:
        output = output * masks.output
    members, parameters, moved, width = output.shape
    flat = _linear(
        output.reshape(members, parameters * moved, width),
        active,
        weights["output_bias"].reshape(members, parameters * moved),
    )
    return flat.view(members, parameters, moved, flat.shape[-1])


class Growing:
    """The parameters of some outputs at a time, while inputs become known: a pass costs little.

    Args:
        spec: The network.
        weights: Of P members.
        masks: Factors on them.
        context: Shape (P, X, B), (X, B) or None.
        batch: B.
    """

    def __init__(
        self,
        spec: Conditioner,
        weights: Weights,
        masks: Masks,
        context: Tensor | None,
        batch: int,
    ) -> None:
        first = weights["input"] if masks.input is None else weights["input"] * masks.input
        output, bias = weights["output"], weights["output_bias"]
        output = output if masks.output is None else output * masks.output
        self._spec, self._weights, self._masks = spec, weights, masks
        self._members, self._parameters, _, self._width = output.shape
        # what belongs to a feature as a row of its own, and a row of zeros for no feature
        self._first = _rows(first.transpose(1, 2))
        self._output = _rows(output.transpose(1, 2))
        self._bias = _rows(bias.transpose(1, 2))
        self._hidden = weights["bias"].unsqueeze(-1).expand(-1, -1, batch)
        if context is not None:
            self._hidden = self._hidden + torch.matmul(weights["context"], context)

    def parameters(self, rows: Tensor) -> Tensor:
        """Compute the parameters (P, K, T, B) of T features a member, from what is known.

        Args:
            rows: Their numbers, shape (P * T,): member times (D + 1), plus feature; D is none.
        """
        active = _hidden(self._spec, self._hidden, self._weights, self._masks, None)
        output = self._output.index_select(0, rows).view(self._members, -1, self._width)
        bias = self._bias.index_select(0, rows).view(self._members, -1, 1)
        found = torch.baddbmm(bias, output, active)
        found = found.view(self._members, -1, self._parameters, found.shape[-1])
        return found.transpose(1, 2).contiguous()

    def feed(self, rows: Tensor, x: Tensor) -> None:
        """Take the values (P, T, B) of T features a member, numbered as for `parameters`."""
        first = self._first.index_select(0, rows).view(self._members, -1, self._first.shape[-1])
        self._hidden = torch.baddbmm(self._hidden, first.transpose(1, 2), x)


def _rows(weight: Tensor) -> Tensor:
    """Flatten (P, D, ...) to (P * (D + 1), ...), zeros after each member's D rows."""
    flat = weight.flatten(2)
    return F.pad(flat, (0, 0, 0, 1)).reshape(-1, flat.shape[-1])


def _hidden(
    spec: Conditioner, hidden: Tensor, weights: Weights, masks: Masks, dropout: Dropout | None
) -> Tensor:
    """Run the hidden layers, from the sums that enter the first one."""
    activation = _ACTIVATIONS[spec.activation]
    for i in range(1, spec.hidden_layers):
        active = activation(hidden)
        if dropout is not None:
            active = dropout(active)
        weight = weights[f"hidden_{i}"]
        if masks.hidden is not None:
            weight = weight * masks.hidden
        after = _linear(weight, active, weights[f"hidden_bias_{i}"])
        hidden = hidden + after if spec.residual else after
    active = activation(hidden)
    return active if dropout is None else dropout(active)


def _linear(weight: Tensor, x: Tensor, bias: Tensor) -> Tensor:
    """Multiply (P, out, in) with (P, in, B), or with a shared (in, B), and add (P, out)."""
    if x.dim() == 2:
        members, out, size = weight.shape
        flat = torch.addmm(bias.reshape(-1, 1), weight.reshape(members * out, size), x)
        return flat.view(members, out, x.shape[-1])
    return torch.baddbmm(bias.unsqueeze(-1), weight, x)
