"""What a flow costs, counted from its spec alone: multiply-adds, the same on every machine."""

from __future__ import annotations

from nfopt.spec import (
    LU,
    Autoregressive,
    Coupling,
    Elementwise,
    FlowSpec,
    Layer,
    Planar,
    Radial,
    Spline,
)

BACKWARD = 2.0  # a backward pass costs twice a forward pass (two products for each one)
SPLINE_WORK = 12  # multiply-adds a bin and feature: softmax, cumulative sums, the rational function
CALLS = 0.025  # millions of them that calling a layer's kernels costs a row (CPU, batches of 256)
BISECTIONS = 40  # forward passes that invert a planar or radial layer


def train_cost(spec: FlowSpec) -> float:
    """Count the multiply-adds of one row's log_prob and its gradient, in millions."""
    return (1.0 + BACKWARD) * log_prob_cost(spec)


def step_cost(spec: FlowSpec) -> float:
    """Count a training step as `train_cost`, and what each layer costs however small it is.

    Ratios of it are those of measured seconds to within a fifth (64 flows of 3 layers, D 8 to 36:
    `studies/autonf2023`); ratios of multiply-adds alone make large layers look too dear.
    """
    called = Coupling | Autoregressive | Planar | Radial
    return train_cost(spec) + CALLS * sum(isinstance(layer, called) for layer in spec.layers)


def log_prob_cost(spec: FlowSpec) -> float:
    """Count the multiply-adds of one row's log_prob, in millions."""
    return sum(_forward(x, spec.features, spec.context_features) for x in spec.layers) / 1e6


def inverse_cost(spec: FlowSpec) -> float:
    """Count the multiply-adds of a sample, in millions; an autoregressive layer takes D passes."""
    total = 0.0
    for layer in spec.layers:
        passes = {Autoregressive: spec.features, Planar: BISECTIONS, Radial: BISECTIONS}
        once = _forward(layer, spec.features, spec.context_features)
        total += passes.get(type(layer), 1) * once
    return total / 1e6


def _forward(layer: Layer, features: int, context: int) -> float:
    match layer:
        case Coupling():
            fed, moved = layer.mask.count("C") + context, layer.mask.count("T")
        case Autoregressive():
            fed, moved = features + context, features  # dense products with a mask
        case Planar() | Radial():
            return 2.0 * features
        case LU():
            return float(features * features)
        case Elementwise():
            return float(features * _map(layer))
        case _:
            return 0.0
    net = layer.conditioner
    inner = (net.hidden_layers - 1) * net.width * net.width
    outputs = moved * layer.map.parameters()
    return float(fed * net.width + inner + net.width * outputs + moved * _map(layer))


def _map(layer: Coupling | Autoregressive | Elementwise) -> int:
    return SPLINE_WORK * layer.map.bins if isinstance(layer.map, Spline) else 2
