"""A flow that begins from the weights of another one, whose masks are other."""

from __future__ import annotations

import pytest
import torch

from nfopt.flows import Stack, build
from nfopt.flows.inherit import inherit
from nfopt.spec import LU, Autoregressive, Conditioner, Coupling, FlowSpec, Spline

NET = Conditioner(width=8, hidden_layers=2)


def flow(*masks: str, width: int = 8) -> FlowSpec:
    net = Conditioner(width=width, hidden_layers=2)
    couplings = [Coupling(mask=mask, map=Spline(bins=4), conditioner=net) for mask in masks]
    return FlowSpec(
        features=4, layers=(*couplings, LU(), Autoregressive(order=(2, 0, 3, 1), conditioner=NET))
    )


def drawn(spec: FlowSpec, seed: int) -> Stack:
    """Weights that are nothing special."""
    (stack,) = build([spec], torch.Generator().manual_seed(seed))
    with torch.no_grad():
        stack.theta.copy_(
            torch.randn(stack.theta.shape, generator=torch.Generator().manual_seed(seed))
        )
    return stack


PARENT = flow("CCTT", "TTCC")


def test_the_same_masks_begin_as_the_very_flow() -> None:
    parent, child = drawn(PARENT, 0), drawn(PARENT, 1)
    inherit(child, 0, PARENT, parent.weights(0))
    assert torch.equal(child.theta, parent.theta)


def test_weights_of_features_follow_the_features() -> None:
    spec = flow("CTCT", "TTCC")  # in the first layer 1 and 2 have changed sides
    parent, child = drawn(PARENT, 0), drawn(spec, 1)
    before, old = child.weights(0), parent.weights(0)
    inherit(child, 0, PARENT, old)
    new = child.weights(0)
    assert torch.equal(new["0.input"][:, 0], old["0.input"][:, 0])  # feature 0
    assert not new["0.input"][:, 1].any()  # feature 2 was no input
    assert torch.equal(new["0.output"][:, 1], old["0.output"][:, 1])  # feature 3
    assert torch.equal(new["0.output"][:, 0], before["0.output"][:, 0])  # 1 was not transformed
    assert torch.equal(new["0.output_bias"][:, 1], old["0.output_bias"][:, 1])
    for key in new.keys() - {"0.input", "0.output", "0.output_bias"}:
        assert torch.equal(new[key], old[key]), key


def test_other_numbers_of_letters_and_a_stack_of_several() -> None:
    spec = flow("CTTT", "TICC")
    (stack,) = build([PARENT, spec], torch.Generator().manual_seed(3))
    first, old = stack.weights(0), drawn(PARENT, 0).weights(0)
    inherit(stack, 1, PARENT, old)
    new = stack.weights(1)
    assert torch.equal(new["0.input"][:, 0], old["0.input"][:, 0])
    assert torch.equal(new["0.output"][:, 1:], old["0.output"])
    assert torch.equal(new["1.output"], old["1.output"][:, :1])
    assert torch.equal(new["1.input"], old["1.input"])
    assert all(torch.equal(stack.weights(0)[key], first[key]) for key in first)
    assert stack.log_prob(torch.randn(5, 4)).isfinite().all()


def test_another_shape_is_refused() -> None:
    child = drawn(flow("CCTT", "TTCC", width=9), 0)
    with pytest.raises(ValueError, match="`spec` must have the shape"):
        inherit(child, 0, PARENT, drawn(PARENT, 0).weights(0))
    with pytest.raises(ValueError, match="`weights` must be those"):
        inherit(drawn(PARENT, 1), 0, PARENT, {})
