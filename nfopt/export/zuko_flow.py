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
import math
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
    base = _base(description["base"], features)
    flow = Flow(transforms, base)
    if description.get("context_maps"):
        maps = [_transform(one, context, 0) for one in description["context_maps"]]
        flow = Conditional(transforms, base, maps)
    flow = flow.to(dtype)
    flow.load_state_dict(dict(state))
    return flow


def _transform(one: Mapping[str, Any], features: int, context: int) -> Any:
    zeros, ones = torch.zeros(features), torch.ones(features)
    match one["kind"]:
        case "bounds":
            return UnconditionalTransform(Bounds, zeros, ones, buffer=True)
        case "standardise":
            return UnconditionalTransform(standardise, zeros, ones, buffer=True)
        case "asinh":
            on = zeros.bool()
            return UnconditionalTransform(Asinh, zeros, ones, on, buffer=True)
        case "quantile":
            knots = torch.zeros(features, one["knots"])
            return UnconditionalTransform(Quantile, knots, knots, knots, zeros.long(), buffer=True)
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


class Asinh(Transform):
    """Take asinh((x - median) / width) of the columns that are `on`; the others stay."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, median: Tensor, width: Tensor, on: Tensor) -> None:
        super().__init__()
        self.median, self.width, self.on = median, width, on

    def _call(self, x: Tensor) -> Tensor:
        ratio = (x - self.median) / self.width
        far = ratio.abs() > 1e12
        beyond = ((x - self.median).abs().log() - self.width.log() + math.log(2)).copysign(ratio)
        return torch.where(self.on, torch.where(far, beyond, ratio.asinh()), x)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.where(self.on, self.median + self.width * y.sinh(), y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        slope = torch.hypot(x - self.median, self.width.expand_as(x)).log()
        return torch.where(self.on, -slope, 0).sum(-1)


class Quantile(Transform):
    """Take columns by a monotone cubic between knots, by a logarithm beyond; without knots: as is.

    Args:
        knots: Rising, shape (D, K); a column has `count` of them.
        scores: What they are mapped to.
        slopes: At the knots.
        count: Knots of each column, or 0.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, knots: Tensor, scores: Tensor, slopes: Tensor, count: Tensor) -> None:
        super().__init__()
        self.on = count > 0
        self.last = (count - 1).clamp_min(1)
        padding = torch.arange(knots.shape[1], device=knots.device) > self.last[:, None]
        self.knots, self.scores = (one.masked_fill(padding, torch.inf) for one in (knots, scores))
        self.slopes = slopes

    def _piece(self, table: Tensor, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]).T.contiguous()
        at = torch.searchsorted(table.contiguous(), flat, right=True) - 1
        return at.T.reshape(x.shape).clamp_min(0).minimum(self.last - 1)

    def _pick(self, table: Tensor, at: Tensor) -> Tensor:
        wide = table.expand(*at.shape, table.shape[-1])
        return wide.gather(-1, at.unsqueeze(-1)).squeeze(-1)

    def _ends(self, at: Tensor) -> list[Tensor]:
        tables = (self.knots, self.scores, self.slopes)
        return [self._pick(table, place) for table in tables for place in (at, at + 1)]

    def _cubic(self, at: Tensor, part: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the cubics rise to at `part` of their width, and the slope there."""
        left, right, low, high, first, last = self._ends(at)
        width, rise, rest = right - left, high - low, 1 - part
        value = part * part * (3 - 2 * part) * rise
        value = value + part * rest * (rest * first - part * last) * width
        slope = 6 * part * rest * rise / width
        slope = slope + rest * (1 - 3 * part) * first + part * (3 * part - 2) * last
        return low + value, slope

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        at = self._piece(self.knots, x)
        left, right, low, high, first, last = self._ends(at)
        y, slope = self._cubic(at, ((x - left) / (right - left)).clamp(0, 1))
        slope = slope.log()
        for way, score, tail, gap in ((-1, low, first, left - x), (1, high, last, x - right)):
            beyond = torch.log1p(tail * gap.clamp_min(0))
            out = (gap > 0) & ((at == 0) if way < 0 else (at == self.last - 1))
            y = torch.where(out, score + way * beyond, y)
            slope = torch.where(out, tail.log() - beyond, slope)
        return torch.where(self.on, y, x), torch.where(self.on, slope, 0)

    def _call(self, x: Tensor) -> Tensor:
        return self._both(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        at = self._piece(self.scores, y)
        left, right, low, high, first, last = self._ends(at)
        below, above = torch.zeros_like(y), torch.ones_like(y)
        for _ in range(60):
            middle = (below + above) / 2
            over = self._cubic(at, middle)[0] > y
            below, above = torch.where(over, below, middle), torch.where(over, middle, above)
        x = left + (below + above) / 2 * (right - left)
        x = torch.where((at == 0) & (y < low), left - torch.expm1(low - y) / first, x)
        top = (at == self.last - 1) & (y > high)
        x = torch.where(top, right + torch.expm1(y - high) / last, x)
        return torch.where(self.on, x, y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self._both(x)[1].sum(-1)


def _next(bound: Tensor, way: int) -> Tensor:
    """Give the first number inside a bound."""
    return bound.nextafter(torch.full_like(bound, way * torch.inf)).where(bound.isfinite(), bound)


__all__: Sequence[str] = ["build", "load"]
