"""The flows against zuko's, with the same weights put into zuko's own modules by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zuko.distributions import DiagNormal
from zuko.flows import Flow, UnconditionalDistribution
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.transforms import MonotonicRQSTransform

from nfopt import adjacency as graph
from nfopt.flows import build
from nfopt.spec import Affine, Autoregressive, Conditioner, Coupling, FlowSpec, ScalarMap, Spline

DOUBLE = torch.float64
NET = Conditioner(width=24, hidden_layers=2)
MAPS: dict[str, tuple[ScalarMap, dict[str, object]]] = {
    "affine": (Affine(), {}),
    "spline": (
        Spline(bins=8),
        {"univariate": MonotonicRQSTransform, "shapes": [(8,), (8,), (7,)]},
    ),
}


def flow_of(transforms: list[nn.Module], features: int) -> Flow:
    base = UnconditionalDistribution(
        DiagNormal, torch.zeros(features), torch.ones(features), buffer=True
    )
    return Flow(transforms, base).to(DOUBLE)


def fill(hyper: nn.Sequential, own: dict[str, torch.Tensor], number: int) -> None:
    """Copy one layer's weights; zuko orders the outputs by feature, then by parameter."""
    weights = {name.split(".")[1]: value for name, value in own.items() if name[0] == str(number)}
    linear = [
        module for module in hyper if isinstance(module, nn.Module) and hasattr(module, "weight")
    ]
    with torch.no_grad():
        first = weights["input"]
        if "context" in weights:
            first = torch.cat((first, weights["context"]), 1)
        linear[0].weight.copy_(first)
        linear[0].bias.copy_(weights["bias"])
        linear[1].weight.copy_(weights["hidden_1"])
        linear[1].bias.copy_(weights["hidden_bias_1"])
        linear[2].weight.copy_(weights["output"].transpose(0, 1).flatten(0, 1))
        linear[2].bias.copy_(weights["output_bias"].T.flatten())


def compare(spec: FlowSpec, transforms: list[nn.Module]) -> None:
    (stack,) = build([spec], torch.Generator().manual_seed(0), dtype=DOUBLE)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # far from the identity
        stack.theta += 0.1 * torch.randn(stack.theta.shape, generator=generator, dtype=DOUBLE)
    theirs = flow_of(transforms, spec.features)
    for number, transform in enumerate(theirs.transform.transforms):
        fill(transform.hyper, stack.weights(0), number)
    x = 2 * torch.randn(500, spec.features, generator=generator, dtype=DOUBLE)
    context = torch.randn(500, spec.context_features, generator=generator, dtype=DOUBLE)
    given = context if spec.context_features else None
    with torch.no_grad():
        wanted = theirs(given).log_prob(x)
        difference = (stack.log_prob(x, given)[0] - wanted).abs()
        assert difference.max() < 1e-5
        assert (difference / wanted.abs()).median() < 1e-12


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("features", [2, 7, 43])
def test_couplings(name: str, features: int, context: int) -> None:
    scalar_map, settings = MAPS[name]
    even = ("CT" * features)[:features]
    odd = ("TC" * features)[:features]
    spec = FlowSpec(
        features=features,
        layers=tuple(
            Coupling(mask=mask, map=scalar_map, conditioner=NET) for mask in (even, odd, even)
        ),
        context_features=context,
    )
    transforms = [
        GeneralCouplingTransform(
            features,
            context,
            torch.tensor([letter == "C" for letter in mask]),
            hidden_features=(24, 24),
            **settings,
        )
        for mask in (even, odd, even)
    ]
    compare(spec, transforms)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("features", [2, 7, 43])
def test_autoregressive_flows(name: str, features: int, context: int) -> None:
    scalar_map, settings = MAPS[name]
    orders = [tuple(range(features)), tuple(range(features))[::-1]]
    net = Conditioner(width=64, hidden_layers=2)
    spec = FlowSpec(
        features=features,
        layers=tuple(Autoregressive(order=o, map=scalar_map, conditioner=net) for o in orders),
        context_features=context,
    )
    transforms = []
    for order in orders:
        transform = MaskedAutoregressiveTransform(
            features,
            context,
            order=torch.tensor(order).argsort(),  # zuko asks for each feature's place
            hidden_features=(64, 64),
            **settings,
        )
        # both wirings are full, but zuko hands the sets to the hidden units in another sequence
        wiring = graph.wire(graph.from_order(order), 64, context=context > 0)
        seen = torch.ones(64, context, dtype=torch.bool)
        masked = [module for module in transform.hyper if hasattr(module, "mask")]
        masked[0].mask = torch.cat((torch.from_numpy(wiring.inputs), seen), 1)
        masked[1].mask = torch.from_numpy(wiring.hidden)
        each = scalar_map.parameters()
        masked[2].mask = torch.from_numpy(wiring.outputs).repeat_interleave(each, 0)
        transforms.append(transform)
    compare(spec, transforms)
