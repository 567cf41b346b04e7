"""The cost of a flow in multiply-adds, counted from its spec alone, so equal on every machine.

A kind of layer or map without a cost is refused with a ValueError.
"""

from __future__ import annotations

from nfopt.spec import FlowSpec

BACKWARD = 2.0  # a backward pass costs twice a forward pass (two products for each one)
CALLS = 0.025  # overhead of a layer's kernel calls, in millions a row (CPU, batches of 256)


def train_cost(spec: FlowSpec) -> float:
    """Multiply-adds of one row's log_prob and its gradient, in millions."""
    return (1.0 + BACKWARD) * log_prob_cost(spec)


def step_cost(spec: FlowSpec) -> float:
    """Cost of a training step: `train_cost` and a fixed overhead a layer, in millions.

    Its ratios are those of measured seconds to within a fifth (64 flows of 3 layers, D 8 to 36:
    `studies/autonf2023`); ratios of multiply-adds alone overstate large layers.
    """
    return train_cost(spec) + CALLS * sum(layer.calls for layer in spec.layers)


def log_prob_cost(spec: FlowSpec) -> float:
    """Multiply-adds of one row's log_prob, in millions."""
    return sum(x.multiply_adds(spec.features, spec.context_features) for x in spec.layers) / 1e6


def inverse_cost(spec: FlowSpec) -> float:
    """Multiply-adds of one sample, in millions; an autoregressive layer takes D passes."""
    total = 0.0
    for layer in spec.layers:
        once = layer.multiply_adds(spec.features, spec.context_features)
        total += layer.passes(spec.features) * once
    return total / 1e6
