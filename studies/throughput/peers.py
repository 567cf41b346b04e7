"""The same coupling flow in zuko, nflows and normflows, each trained as its own users train it.

A trainer is a function of a batch (B, D) that takes one optimiser step. All have the same layers,
conditioners (an MLP with ReLU), batch and learning rate; what differs is the library's own way of
parametrising the map. Weights start from each library's own default. A library is imported by the
trainer that needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEARNING_RATE = 1e-3
BOUND = 5.0

Trainer = Callable[[Tensor], None]


@dataclass(frozen=True)
class Case:
    """One shape of flow: the scalar map ("affine" or "spline") and the number of features D."""

    map: str
    features: int
    layers: int = 6
    width: int = 64
    hidden_layers: int = 2
    bins: int = 8

    @property
    def name(self) -> str:
        return f"{self.map}, D {self.features}"

    @property
    def hidden(self) -> list[int]:
        return [self.width] * self.hidden_layers


def checkered(case: Case) -> list[str]:
    """One mask a layer, as zuko's default has them: every other feature, then the others."""
    return [
        "".join("CT"[(i + layer) % 2] for i in range(case.features)) for layer in range(case.layers)
    ]


def _train(model: nn.Module, loss: Callable[[Tensor], Tensor], fused: bool) -> Trainer:
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=fused)

    def step(x: Tensor) -> None:
        optimiser.zero_grad()
        loss(x).backward()
        optimiser.step()

    return step


def zuko_trainer(
    case: Case, masks: list[str], *, fused: bool = False, device: str = "cpu"
) -> Trainer:
    """zuko.flows.coupling.GeneralCouplingTransform; its mask is true where a feature is kept."""
    import zuko

    options: dict[str, object] = {}
    if case.map == "spline":
        k = case.bins
        options = {
            "univariate": zuko.transforms.MonotonicRQSTransform,
            "shapes": [(k,), (k,), (k - 1,)],
        }
    transforms = [
        zuko.flows.coupling.GeneralCouplingTransform(
            case.features,
            mask=torch.tensor([letter == "C" for letter in mask]),
            hidden_features=case.hidden,
            **options,
        )
        for mask in masks
    ]
    base = zuko.lazy.UnconditionalDistribution(
        zuko.distributions.DiagNormal,
        torch.zeros(case.features),
        torch.ones(case.features),
        buffer=True,
    )
    flow = zuko.lazy.Flow(transforms, base).to(device)
    return _train(flow, lambda x: -flow().log_prob(x).mean(), fused)


class _Net(nn.Module):
    """An MLP that takes, and does not use, the context that nflows and normflows hand over."""

    def __init__(self, inputs: int, outputs: int, case: Case) -> None:
        from nflows.nn.nets import MLP

        super().__init__()
        self.hidden_features = case.width  # by which the splines scale their parameters down
        self.net = MLP([inputs], [outputs], case.hidden)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


def nflows_trainer(case: Case, masks: list[str]) -> Trainer:
    """nflows' coupling transforms; their mask is positive where a feature is transformed."""
    import nflows.transforms
    from nflows.distributions import StandardNormal
    from nflows.flows import Flow

    layers: list[nn.Module] = []
    for mask in masks:
        moved = torch.tensor([int(letter == "T") for letter in mask])

        def net(inputs: int, outputs: int) -> nn.Module:
            return _Net(inputs, outputs, case)

        if case.map == "affine":
            layers.append(nflows.transforms.AffineCouplingTransform(moved, net))
        else:
            layers.append(
                nflows.transforms.PiecewiseRationalQuadraticCouplingTransform(
                    moved, net, num_bins=case.bins, tails="linear", tail_bound=BOUND
                )
            )
    flow = Flow(nflows.transforms.CompositeTransform(layers), StandardNormal([case.features]))
    return _train(flow, lambda x: -flow.log_prob(x).mean(), fused=False)


def normflows_trainer(case: Case, masks: list[str]) -> Trainer:
    """normflows' coupling blocks; its affine one splits into halves, swapped between layers."""
    import normflows
    from normflows.flows.neural_spline.coupling import PiecewiseRationalQuadraticCoupling

    layers: list[nn.Module] = []
    for mask in masks:
        if case.map == "affine":
            first = (case.features + 1) // 2
            sizes = [first, *case.hidden, 2 * (case.features - first)]
            layers.append(normflows.flows.AffineCouplingBlock(normflows.nets.MLP(sizes)))
            layers.append(normflows.flows.Permute(case.features, mode="swap"))
        else:
            moved = torch.tensor([int(letter == "T") for letter in mask])
            layers.append(
                PiecewiseRationalQuadraticCoupling(
                    moved,
                    lambda inputs, outputs: _Net(inputs, outputs, case),
                    num_bins=case.bins,
                    tails="linear",
                    tail_bound=BOUND,
                )
            )
    base = normflows.distributions.DiagGaussian(case.features, trainable=False)
    flow = normflows.NormalizingFlow(base, layers)
    return _train(flow, flow.forward_kld, fused=False)
