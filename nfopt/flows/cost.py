"""What a flow costs, counted from its spec alone: multiply-adds, the same on every machine.

A kind of layer or map that says no cost of its own is refused with a ValueError.
"""

from __future__ import annotations

from nfopt.spec import FlowSpec

BACKWARD = 2.0  # a backward pass costs twice a forward pass (two products for each one)
CALLS = 0.025  # millions of them that calling a layer's kernels costs a row (CPU, batches of 256)


def train_cost(spec: FlowSpec) -> float:
    """Count the multiply-adds of one row's log_prob and its gradient, in millions."""
    return (1.0 + BACKWARD) * log_prob_cost(spec)


def step_cost(spec: FlowSpec) -> float:
    """Count a training step as `train_cost`, and what each layer costs however small it is.

    Ratios of it are those of measured seconds to within a fifth (64 flows of 3 layers, D 8 to 36:
    `studies/autonf2023`); ratios of multiply-adds alone make large layers look too dear.
    """
    return train_cost(spec) + CALLS * sum(layer.calls for layer in spec.layers)


def log_prob_cost(spec: FlowSpec) -> float:
    """Count the multiply-adds of one row's log_prob, in millions."""
    return sum(x.multiply_adds(spec.features, spec.context_features) for x in spec.layers) / 1e6


def inverse_cost(spec: FlowSpec) -> float:
    """Count the multiply-adds of a sample, in millions; an autoregressive layer takes D passes."""
    total = 0.0
    for layer in spec.layers:
        once = layer.multiply_adds(spec.features, spec.context_features)
        total += layer.passes(spec.features) * once
    return total / 1e6
