"""A normalizing flow that nfopt trained, as ordinary zuko modules.

    from zuko_flow import load

    flow = load()                            # a zuko.flows.Flow
    flow().log_prob(x)                       # nats, x on the data's own scale, shape (n, D)
    flow().sample((1000,))
    flow(context).log_prob(x)                # where the flow is conditional

This file needs zuko and safetensors (`pip install zuko safetensors`), and not nfopt. It reads the
structure from zuko_flow.json and the weights from zuko_flow.safetensors beside it. Tensors are
float64 unless `load` is told otherwise: in float32 a column with a large mean loses its digits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    StudentT,
    Transform,
    constraints,
)
from zuko.distributions import DiagNormal
from zuko.flows import Flow, UnconditionalDistribution, UnconditionalTransform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.nn import Linear, MaskedLinear, Residual
from zuko.transforms import (
    AdditiveTransform,
    DependentTransform,
    LULinearTransform,
    MonotonicAffineTransform,
    MonotonicRQSTransform,
    PermutationTransform,
)

ACTIVATIONS = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}
SLOPE = 1e-3  # the least slope of a map in training


def load(directory: str | Path | None = None, dtype: torch.dtype = torch.float64) -> Flow:
    """Build the flow from the files in `directory` (default: where this file is)."""
    home = Path(__file__).parent if directory is None else Path(directory)
    description = json.loads((home / "zuko_flow.json").read_text(encoding="utf-8"))
    return build(description, load_file(home / "zuko_flow.safetensors"), dtype)


def build(description: Mapping[str, Any], state: Mapping[str, Tensor], dtype: torch.dtype) -> Flow:
    """Build the flow from its structure and its weights."""
    if description["version"] != 1:
        raise ValueError(f"version {description['version']!r} of zuko_flow.json is not known")
    features, context = description["features"], description["context"]
    transforms = [_transform(one, features, context) for one in description["transforms"]]
    flow = Flow(transforms, _base(description["base"], features)).to(dtype)
    flow.load_state_dict(dict(state))
    return flow


def _transform(one: Mapping[str, Any], features: int, context: int) -> Any:
    zeros, ones = torch.zeros(features), torch.ones(features)
    match one["kind"]:
        case "bounds":
            return UnconditionalTransform(Bounds, zeros, ones, buffer=True)
        case "standardise":
            return UnconditionalTransform(standardise, zeros, ones, buffer=True)
        case "permutation":
            order = torch.arange(features)
            return UnconditionalTransform(PermutationTransform, order, buffer=True)
        case "linear":
            return UnconditionalTransform(LULinearTransform, torch.eye(features))
        case "shift":
            return UnconditionalTransform(elementwise, AdditiveTransform, zeros)
        case "elementwise":
            univariate, shapes = _univariate(one["map"])
            phi = [torch.zeros(features, *shape) for shape in shapes]
            return UnconditionalTransform(elementwise, univariate, *phi)
    univariate, shapes = _univariate(one["map"])
    outputs = sum(shape[0] if shape else 1 for shape in shapes)
    net = partial(_network, one["net"])
    small = {"univariate": univariate, "shapes": shapes, "hidden_features": ()}
    layer: Any
    match one["kind"]:
        case "coupling":
            kept = torch.tensor(one["kept"])
            layer = GeneralCouplingTransform(features, context, mask=kept, **small)
            fed, moved = int(kept.sum()), int((~kept).sum())
            layer.hyper = net(Linear, fed + context, moved * outputs)
        case "autoregressive":
            order = torch.arange(features)
            layer = MaskedAutoregressiveTransform(features, context, order=order, **small)
            layer.order, layer.passes = None, one["passes"]
            layer.hyper = net(_masked_linear, features + context, features * outputs)
        case "conditional":
            layer = ElementWiseTransform(features, context, **small)
            layer.hyper = net(Linear, context, features * outputs)
        case unknown:
            raise ValueError(f"transform {unknown!r} in zuko_flow.json is not known")
    return layer


def _univariate(one: Mapping[str, Any]) -> tuple[Callable[..., Transform], list[tuple[int, ...]]]:
    """Name a map's constructor and the shapes of its parameters."""
    if one["kind"] == "additive":
        return AdditiveTransform, [()]
    if one["kind"] == "affine":
        return partial(MonotonicAffineTransform, slope=SLOPE), [(), ()]
    if one["kind"] != "spline":
        raise ValueError(f"map {one['kind']!r} in zuko_flow.json is not known")
    bins = one["bins"]
    spline = partial(MonotonicRQSTransform, bound=one["bound"], slope=SLOPE)
    return spline, [(bins,), (bins,), (bins - 1,)]


def _network(
    one: Mapping[str, Any], linear: Callable[[int, int], nn.Module], inputs: int, outputs: int
) -> nn.Module:
    """Lay out a conditioner; a residual one adds each inner layer to what it got."""
    width, activation = one["width"], ACTIVATIONS[one["activation"]]
    layers = [linear(inputs, width)]
    for _ in range(one["hidden_layers"] - 1):
        inner = [activation(), linear(width, width)]
        layers += [Residual(*inner)] if one["residual"] else inner
    return nn.Sequential(*layers, activation(), linear(width, outputs))


def _masked_linear(inputs: int, outputs: int) -> nn.Module:
    layer: nn.Module = MaskedLinear(torch.ones(outputs, inputs, dtype=torch.bool))
    return layer


def _base(one: Mapping[str, Any], features: int) -> Any:
    zeros, ones = torch.zeros(features), torch.ones(features)
    if one["kind"] == "student_t":
        return UnconditionalDistribution(student_t, ones, buffer=True)
    return UnconditionalDistribution(DiagNormal, zeros, ones, buffer=True)


def elementwise(univariate: Callable[..., Transform], *phi: Tensor) -> Transform:
    """Map each feature with parameters of its own."""
    transform: Transform = DependentTransform(univariate(*phi), 1)
    return transform


def standardise(mean: Tensor, scale: Tensor) -> Transform:
    """Take (x - mean) / scale."""
    return AffineTransform(mean, scale, event_dim=1).inv


def student_t(df: Tensor) -> Distribution:
    """Draw each feature from a Student t of its own."""
    return Independent(StudentT(df), 1)


class Bounds(Transform):
    """Take bounded columns to the line: by logit, or by log where one bound is infinite."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.below, self.above = low.isfinite(), high.isfinite()

    def _logs(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log(x - low), log(high - x), 0 where there is no bound, and who is inside."""
        from_low = torch.where(self.below, x - self.low, 1)
        to_high = torch.where(self.above, self.high - x, 1)
        inside = (from_low > 0) & (to_high > 0)
        return (
            torch.where(inside, from_low, 1).log(),
            torch.where(inside, to_high, 1).log(),
            inside,
        )

    def _call(self, x: Tensor) -> Tensor:
        low, high, inside = self._logs(x)
        bent = torch.where(self.below | self.above, low - high, x)
        return torch.where(inside, bent, 0)

    def _inverse(self, y: Tensor) -> Tensor:
        both = self.below & self.above
        part = (-y.abs()).exp()
        near = torch.where(both, self.high - self.low, 0) * part / (1 + part)
        between = torch.where(y < 0, self.low + near, self.high - near)
        one = torch.where(self.below, self.low + y.exp(), self.high - (-y).exp())
        x = torch.where(both, between, torch.where(self.below | self.above, one, y))
        return torch.minimum(torch.maximum(x, _next(self.low, 1)), _next(self.high, -1))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        low, high, inside = self._logs(x)
        span = torch.where(self.below & self.above, self.high - self.low, 1).log()
        return torch.where(inside, span - low - high, -torch.inf).sum(-1)


def _next(bound: Tensor, way: int) -> Tensor:
    """Give the first number inside a bound."""
    return bound.nextafter(torch.full_like(bound, way * torch.inf)).where(bound.isfinite(), bound)


__all__: Sequence[str] = ["build", "load"]
