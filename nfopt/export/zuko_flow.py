"""A normalizing flow that nfopt trained, as ordinary zuko modules.

    from zuko_flow import load

    flow = load()                            # a zuko.flows.Flow, or a mixture of them
    flow().log_prob(x)                       # nats, x on the data's own scale, shape (n, D)
    flow().sample((1000,))
    flow(context).log_prob(x)                # where the flow is conditional
    flow.flows, flow.shares                  # of a mixture: its members

This file needs zuko and safetensors (`pip install zuko safetensors`), and not nfopt. It reads the
structure from zuko_flow.json and the weights from zuko_flow.safetensors beside it; column_maps.py
has what is done to the columns first. Tensors are float64 unless `load` is told otherwise: in
float32 a column with a large mean loses its digits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, StudentT, Transform
from zuko.distributions import DiagNormal
from zuko.flows import Flow, UnconditionalDistribution, UnconditionalTransform
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.flows.coupling import GeneralCouplingTransform
from zuko.flows.gaussianization import ElementWiseTransform
from zuko.lazy import LazyDistribution
from zuko.nn import Linear, MaskedLinear, Residual
from zuko.transforms import (
    AdditiveTransform,
    DependentTransform,
    LULinearTransform,
    MonotonicAffineTransform,
    MonotonicRQSTransform,
    PermutationTransform,
)

if __package__:
    from .column_maps import KINDS
else:
    from column_maps import KINDS  # type: ignore[import-not-found, no-redef]

ACTIVATIONS = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}
SLOPE = 1e-3  # the least slope of a map in training


def load(directory: str | Path | None = None, dtype: torch.dtype = torch.float64) -> Any:
    """Build the flow from the files in `directory` (default: where this file is)."""
    home = Path(__file__).parent if directory is None else Path(directory)
    description = json.loads((home / "zuko_flow.json").read_text(encoding="utf-8"))
    return build(description, load_file(home / "zuko_flow.safetensors"), dtype)


def build(description: Mapping[str, Any], state: Mapping[str, Tensor], dtype: torch.dtype) -> Any:
    """Build the flow from its structure and its weights: a `Flow`, or a `Mixture` of several."""
    if description["version"] != 2:
        raise ValueError(f"version {description['version']!r} of zuko_flow.json is not known")
    flows = []
    for number, one in enumerate(description["members"]):
        flow = _flow(one, description["features"], description["context"]).to(dtype)
        prefix = f"{number}."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        flow.load_state_dict(own)
        flows.append(flow)
    return flows[0] if len(flows) == 1 else Mixture(flows, description["shares"]).to(dtype)


def _flow(one: Mapping[str, Any], features: int, context: int) -> Flow:
    transforms = [_transform(each, features, context) for each in one["transforms"]]
    base = _base(one["base"], features)
    if not one["context_maps"]:
        return Flow(transforms, base)
    return Conditional(transforms, base, [_transform(m, context, 0) for m in one["context_maps"]])


def _transform(one: Mapping[str, Any], features: int, context: int) -> Any:
    zeros, ones = torch.zeros(features), torch.ones(features)
    match one["kind"]:
        case "bounds":
            tables = [zeros, ones, zeros, ones]
            return UnconditionalTransform(KINDS["bounds"], *tables, buffer=True)
        case "standardise":
            return UnconditionalTransform(KINDS["standardise"], zeros, ones, buffer=True)
        case "asinh":
            tables = [zeros, ones, zeros.bool()]
            return UnconditionalTransform(KINDS["asinh"], *tables, buffer=True)
        case "quantile":
            tables = [*[torch.zeros(features, one["knots"])] * 3, zeros.long()]
            return UnconditionalTransform(KINDS["quantile"], *tables, buffer=True)
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
            if one["idle"]:  # features that are kept and not seen
                layer.hyper[0] = _masked_linear(fed + context, one["net"]["width"])
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


class Conditional(Flow):  # type: ignore[misc]
    """A flow whose context is mapped first."""

    def __init__(self, transforms: Sequence[Any], base: Any, maps: Sequence[Any]) -> None:
        super().__init__(transforms, base)
        self.context_maps = nn.ModuleList(maps)

    def forward(self, c: Tensor | None = None) -> Distribution:
        for one in self.context_maps:
            c = one()(c)
        density: Distribution = super().forward(c)
        return density


def elementwise(univariate: Callable[..., Transform], *phi: Tensor) -> Transform:
    """Map each feature with parameters of its own."""
    transform: Transform = DependentTransform(univariate(*phi), 1)
    return transform


def student_t(df: Tensor) -> Distribution:
    """Draw each feature from a Student t of its own."""
    return Independent(StudentT(df), 1)


class Mixture(LazyDistribution):  # type: ignore[misc]
    """A mixture of flows, as a flow is used: `mixture(context)` is its density.

    Attributes:
        flows: The members, each a `Flow`.
        shares: Of each, of sum 1.
    """

    def __init__(self, flows: Sequence[Flow], shares: Sequence[float]) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.register_buffer("shares", torch.tensor(shares, dtype=torch.float64))

    def forward(self, c: Tensor | None = None) -> Distribution:
        return MixtureDensity([one(c) for one in self.flows], self.shares)


class MixtureDensity(Distribution):
    """The density of a mixture, of any members (torch's own wants them alike)."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, members: Sequence[Distribution], shares: Tensor) -> None:
        first = members[0]
        super().__init__(first.batch_shape, first.event_shape, validate_args=False)
        self.members, self.shares = list(members), shares

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density, nats."""
        scores = torch.stack([one.log_prob(x) for one in self.members], -1) + self.shares.log()
        none = scores.isneginf().all(-1)  # would give gradients that are no numbers
        found = scores.masked_fill(none.unsqueeze(-1), 0).logsumexp(-1)
        return found.masked_fill(none, -torch.inf)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw from all members, and take each row from one of them."""
        shape = torch.Size(sample_shape)
        which = Categorical(self.shares).sample(shape + self.batch_shape)  # type: ignore[no-untyped-call]
        drawn = torch.stack([one.sample(shape) for one in self.members], -2)
        index = which[..., None, None].expand(*which.shape, 1, drawn.shape[-1])
        return drawn.gather(-2, index).squeeze(-2)


__all__: Sequence[str] = ["build", "load"]
