"""From a FlowSpec and its weights to what `zuko_flow.py` builds zuko modules from.

That is the structure as plain data, and the weights by the names that they have in zuko's modules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nfopt.data import ColumnMap, Preprocessing
from nfopt.data.maps.kinds import Asinh, Standardise
from nfopt.data.maps.quantile import Quantile
from nfopt.errors import ExportError
from nfopt.flows import Stack
from nfopt.flows.autoregressive import AutoregressiveLayer
from nfopt.flows.linear import LULayer
from nfopt.layers import Conditioner, ScalarMap, map_of
from nfopt.spec import (
    LU,
    Additive,
    Affine,
    Autoregressive,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Normal,
    Permutation,
    Reverse,
    Spline,
    StudentT,
)

Weights = Mapping[str, Tensor]
Part = tuple[dict[str, Any], dict[str, Tensor]]  # a transform's structure, and its state

LAYERS = (Coupling, Autoregressive, Elementwise, Permutation, Reverse, LU, Identity)
MAPS = (Additive, Affine, Spline)
BASES = (Normal, StudentT)
"""The kinds that zuko has a counterpart for, translated below; any other one is refused."""


def translate(
    spec: FlowSpec, weights: Weights, before: Preprocessing | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give what zuko_flow.json holds, and the state of the modules that it describes, in float64.

    Raises:
        ExportError: If zuko has no such layer or scalar map.
        ValueError: If the weights are not those of the spec.
    """
    if found := missing(spec):
        raise ExportError(f"zuko has no {found}: export a flow without it.")
    parts = [] if before is None else _preprocessing(before)
    given = [] if before is None or _straight(before) else marginal_maps(before.context)
    stack = stack_of(spec, weights)
    for number, layer in enumerate(spec.layers):
        prefix = f"{number}."
        own = {
            name.removeprefix(prefix): weight.detach().to("cpu", torch.float64)
            for name, weight in weights.items()
            if name.startswith(prefix)
        }
        match layer:
            case Coupling():
                parts.append(_coupling(layer, _standardised(own, before)))
            case Autoregressive():
                plan = stack.layers[number]
                assert isinstance(plan, AutoregressiveLayer)
                parts.append(_autoregressive(layer, plan, _standardised(own, before)))
            case Permutation():
                parts.append(_permutation(layer.order))
            case Reverse():
                parts.append(_permutation(tuple(range(spec.features))[::-1]))
            case LU():
                plan = stack.layers[number]
                assert isinstance(plan, LULayer)
                parts += _linear(plan, own)
            case Elementwise():
                parts.append(_elementwise(layer.map, own["parameters"]))
            case _:
                pass  # the identity
    if not parts:  # zuko's flow needs a transform
        parts.append(_permutation(tuple(range(spec.features))))
    if isinstance(spec.base, StudentT):
        base = {"base._0": torch.full((spec.features,), spec.base.df, dtype=torch.float64)}
    else:
        zeros = torch.zeros(spec.features, dtype=torch.float64)
        base = {"base._0": zeros, "base._1": zeros + 1}
    description = {
        "version": 1,
        "features": spec.features,
        "context": spec.context_features,
        "columns": None if before is None else [column.name for column in before.columns],
        "context_maps": [structure for structure, _ in given],
        "context_columns": None if before is None else [one.name for one in before.context],
        "transforms": [structure for structure, _ in parts],
        "base": {"kind": spec.base.kind},
    }
    state = {
        f"transform.transforms.{place}.{name}": tensor.contiguous()
        for place, (_, own) in enumerate(parts)
        for name, tensor in own.items()
    }
    state |= {
        f"context_maps.{place}.{name}": tensor.contiguous()
        for place, (_, own) in enumerate(given)
        for name, tensor in own.items()
    }
    return description, state | base


def missing(spec: FlowSpec) -> str | None:
    """Name the first layer, scalar map or base that zuko has no counterpart for."""
    for number, layer in enumerate(spec.layers):
        if type(layer) not in LAYERS:
            return f"layer for `layers` {number} ({layer.kind})"
        scalar = map_of(layer)
        if scalar is not None and type(scalar) not in MAPS:
            return f"scalar map for `layers` {number} ({scalar.kind})"
    return None if type(spec.base) in BASES else f"base for `base` ({spec.base.kind})"


def stack_of(spec: FlowSpec, weights: Weights) -> Stack:
    """Make the flow in float64."""
    stack = Stack([spec], dtype=torch.float64)
    stack.load_weights(0, dict(weights))
    return stack


def _preprocessing(before: Preprocessing) -> list[Part]:
    hints = [column.hint for column in before.columns]
    parts: list[Part] = []
    if any(hint.kind != "identity" for hint in hints):
        low = _numbers([-np.inf if hint.low is None else hint.low for hint in hints])
        high = _numbers([np.inf if hint.high is None else hint.high for hint in hints])
        parts.append(({"kind": "bounds"}, {"_0": low, "_1": high}))
    return parts + marginal_maps(before.columns)


def marginal_maps(columns: Sequence[ColumnMap]) -> list[Part]:
    """Write marginal maps as transforms of all columns, each of which leaves the others alone.

    Raises:
        ExportError: If a map is of a kind that is not known here.
    """
    parts: list[Part] = []
    maps = [column.map for column in columns]
    for one in maps:
        if not isinstance(one, Standardise | Asinh | Quantile):
            raise ExportError(f"zuko has no transform for marginal maps of {type(one).__name__}.")
    if any(isinstance(one, Asinh) for one in maps):
        median = _numbers([one.median if isinstance(one, Asinh) else 0.0 for one in maps])
        width = _numbers([one.width if isinstance(one, Asinh) else 1.0 for one in maps])
        on = torch.tensor([isinstance(one, Asinh) for one in maps])
        parts.append(({"kind": "asinh"}, {"_0": median, "_1": width, "_2": on}))
    splines = {k: one for k, one in enumerate(maps) if isinstance(one, Quantile)}
    if splines:
        most = max(len(one.knots) for one in splines.values())
        tables = torch.ones(3, len(maps), most, dtype=torch.float64)
        tables[:2] = torch.arange(most, dtype=torch.float64)  # of columns without: never looked at
        for k, one in splines.items():
            for table, values in zip(tables, (one.knots, one.scores, one.slopes), strict=True):
                table[k, : len(values)] = _numbers(values)
        sizes = [len(splines[k].knots) if k in splines else 0 for k in range(len(maps))]
        count = torch.tensor(sizes)
        state = {f"_{k}": table for k, table in enumerate((*tables, count))}
        parts.append(({"kind": "quantile", "knots": most}, state))
    mean = _numbers([0.0 if isinstance(one, Quantile) else one.mean for one in maps])
    scale = _numbers([1.0 if isinstance(one, Quantile) else one.scale for one in maps])
    return [*parts, ({"kind": "standardise"}, {"_0": mean, "_1": scale})]


def _numbers(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _straight(before: Preprocessing) -> bool:
    """Say whether a conditioner's first layer can do the context's maps."""
    return all(isinstance(column.map, Standardise) for column in before.context)


def _standardised(own: dict[str, Tensor], before: Preprocessing | None) -> dict[str, Tensor]:
    """Let a conditioner's first layer see the context on the data's own scale."""
    if before is None or not before.context or not _straight(before):
        return own
    maps = [column.map for column in before.context if isinstance(column.map, Standardise)]
    mean, scale = _numbers([one.mean for one in maps]), _numbers([one.scale for one in maps])
    context = own["context"] / scale
    return own | {"context": context, "bias": own["bias"] - context @ mean}


def _coupling(layer: Coupling, own: dict[str, Tensor]) -> Part:
    letters = np.array(list(layer.mask))
    kept = letters != "T"
    # zuko feeds all that is kept: an idle feature has zero weights
    first = torch.zeros(layer.conditioner.width, int(kept.sum()), dtype=torch.float64)
    first[:, torch.from_numpy(letters[kept] == "C")] = own["input"]
    structure = {"kind": "coupling", "kept": kept.tolist(), **_common(layer)}
    state = _network(layer.conditioner, own, first)
    return structure, {"mask": torch.from_numpy(kept), **state}


def _autoregressive(
    layer: Autoregressive, plan: AutoregressiveLayer, own: dict[str, Tensor]
) -> Part:
    wiring, context = plan.wirings[0], "context" in own
    if not context and not wiring.outputs.any():  # all features are independent
        return _elementwise(layer.map, own["output_bias"])
    if len(wiring.outputs) == 1:  # zuko's has no features to see but the context
        state = _network(layer.conditioner, own, own["input"][:, :0])
        return {"kind": "conditional", **_common(layer)}, state
    state = _network(layer.conditioner, own, own["input"])
    seen = [torch.from_numpy(wiring.inputs)]
    if context:
        seen.append(torch.ones(own["context"].shape, dtype=torch.bool))
    each = layer.map.parameters()
    masks = [
        torch.cat(seen, 1),
        *[torch.from_numpy(wiring.hidden)] * (layer.conditioner.hidden_layers - 1),
        torch.from_numpy(wiring.outputs).repeat_interleave(each, 0),
    ]
    for name, mask in zip(_places(layer.conditioner), masks, strict=True):
        state[f"{name}.mask"] = mask.clone()
    return {"kind": "autoregressive", "passes": plan.passes, **_common(layer)}, state


def _common(layer: Coupling | Autoregressive) -> dict[str, Any]:
    net = layer.conditioner
    structure = {
        "width": net.width,
        "hidden_layers": net.hidden_layers,
        "activation": net.activation,
        "residual": net.residual,
    }
    return {"map": _map(layer.map), "net": structure}


def _map(scalar_map: ScalarMap) -> dict[str, Any]:
    if isinstance(scalar_map, Spline):
        return {"kind": scalar_map.kind, "bins": scalar_map.bins, "bound": scalar_map.bound}
    return {"kind": scalar_map.kind}


def _places(net: Conditioner) -> list[str]:
    """Name the linear modules of zuko_flow's network from input to output."""
    if net.residual:
        inner = [f"hyper.{i}.1" for i in range(1, net.hidden_layers)]
        return ["hyper.0", *inner, f"hyper.{net.hidden_layers + 1}"]
    return [f"hyper.{2 * i}" for i in range(net.hidden_layers + 1)]


def _network(net: Conditioner, own: dict[str, Tensor], first: Tensor) -> dict[str, Tensor]:
    """Name the weights; zuko keeps the parameters of a feature together."""
    if "context" in own:
        first = torch.cat((first, own["context"]), 1)
    inner = range(1, net.hidden_layers)
    weights = [first, *(own[f"hidden_{i}"] for i in inner)]
    weights.append(own["output"].transpose(0, 1).flatten(0, 1))
    biases = [
        own["bias"],
        *(own[f"hidden_bias_{i}"] for i in inner),
        own["output_bias"].T.flatten(),
    ]
    state: dict[str, Tensor] = {}
    for name, weight, bias in zip(_places(net), weights, biases, strict=True):
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return state


def _permutation(order: tuple[int, ...]) -> Part:
    return {"kind": "permutation"}, {"_0": torch.tensor(order)}


def _linear(plan: LULayer, own: dict[str, Tensor]) -> list[Part]:
    """Write (L d) (U / d) x + bias: zuko's diagonal is the lower triangle's, ours the upper's."""
    batched = {name: weight.unsqueeze(0) for name, weight in own.items()}
    lower, upper, log_diagonal = (one[0] for one in plan.triangles(batched))
    diagonal = log_diagonal.exp()
    both = lower * diagonal + (upper / diagonal.unsqueeze(-1)).triu(1)
    return [({"kind": "linear"}, {"_0": both}), ({"kind": "shift"}, {"_1": own["bias"]})]


def _elementwise(scalar_map: ScalarMap, parameters: Tensor) -> Part:
    sizes = [1] * scalar_map.parameters()
    if isinstance(scalar_map, Spline):
        sizes = [scalar_map.bins, scalar_map.bins, scalar_map.bins - 1]
    pieces = [piece.T for piece in torch.split(parameters, sizes)]
    if not isinstance(scalar_map, Spline):
        pieces = [piece.squeeze(-1) for piece in pieces]
    state = {f"_{place}": piece for place, piece in enumerate(pieces, start=1)}
    return {"kind": "elementwise", "map": _map(scalar_map)}, state
