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
from nfopt.data.maps.kinds import Standardise
from nfopt.errors import ExportError
from nfopt.flows import Stack
from nfopt.flows.autoregressive import AutoregressiveLayer
from nfopt.flows.linear import LULayer
from nfopt.layers import Conditioner, ScalarMap, map_of
from nfopt.model.tables import Table, bounds_table, marginal_tables
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
    specs: Sequence[FlowSpec],
    weights: Sequence[Weights],
    maps: Sequence[Preprocessing],
    shares: Sequence[float] | None,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Give what zuko_flow.json holds, and the state of the modules that it describes, in float64.

    Args:
        specs: One a member of the mixture.
        weights: Of each.
        maps: The preprocessing of each.
        shares: Of each; None: all alike.

    Raises:
        ExportError: If zuko has no such layer or scalar map.
    """
    refuse_missing(specs)
    members: list[dict[str, Any]] = []
    state: dict[str, Tensor] = {}
    for number, own in enumerate(zip(specs, weights, maps, strict=True)):
        description, tensors = _member(*own)
        members.append(description)
        state |= {f"{number}.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    found = {
        "version": 2,
        "features": specs[0].features,
        "context": specs[0].context_features,
        "columns": [column.name for column in maps[0].columns],
        "context_columns": [column.name for column in maps[0].context],
        "members": members,
        "shares": list(shares or [1 / len(specs)] * len(specs)),
    }
    return found, state


def refuse_missing(specs: Sequence[FlowSpec]) -> None:
    """Refuse what zuko has no counterpart for.

    Raises:
        ExportError: It names the first part, and where else the flow can go.
    """
    for spec in specs:
        if found := missing(spec):
            raise ExportError(
                f"zuko has no {found}: export to torch-export or onnx, which have all of nfopt's."
            )


def _member(
    spec: FlowSpec, weights: Weights, before: Preprocessing
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Describe one flow."""
    parts = [*map(_table, bounds_table(before.columns)), *_marginals(before.columns)]
    given = [] if not before.context or _straight(before) else _marginals(before.context)
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
        "transforms": [structure for structure, _ in parts],
        "context_maps": [structure for structure, _ in given],
        "base": {"kind": spec.base.kind},
    }
    state = {
        f"{name}.{place}.{key}": tensor
        for name, group in (("transform.transforms", parts), ("context_maps", given))
        for place, (_, own) in enumerate(group)
        for key, tensor in own.items()
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


def _marginals(columns: Sequence[ColumnMap]) -> list[Part]:
    return [_table(one) for one in marginal_tables([columns])]


def _table(table: Table) -> Part:
    kind, tensors = table
    structure: dict[str, Any] = {"kind": kind}
    if kind == "quantile":
        structure["knots"] = tensors[0].shape[-1]
    return structure, {f"_{place}": tensor for place, tensor in enumerate(tensors)}


def _numbers(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _straight(before: Preprocessing) -> bool:
    """Say whether a conditioner's first layer can do the context's maps."""
    return all(isinstance(column.map, Standardise) for column in before.context)


def _standardised(own: dict[str, Tensor], before: Preprocessing) -> dict[str, Tensor]:
    """Let a conditioner's first layer see the context on the data's own scale."""
    if not before.context or not _straight(before):
        return own
    maps = [column.map for column in before.context if isinstance(column.map, Standardise)]
    mean, scale = _numbers([one.mean for one in maps]), _numbers([one.scale for one in maps])
    context = own["context"] / scale
    return own | {"context": context, "bias": own["bias"] - context @ mean}


def _coupling(layer: Coupling, own: dict[str, Tensor]) -> Part:
    letters = np.array(list(layer.mask))
    kept = letters != "T"
    fed = torch.from_numpy(letters[kept] == "C")
    # zuko feeds all that is kept: weights from an idle feature are masked
    first = torch.zeros(layer.conditioner.width, len(fed), dtype=torch.float64)
    first[:, fed] = own["input"]
    idle = not bool(fed.all())
    structure = {"kind": "coupling", "kept": kept.tolist(), "idle": idle, **_common(layer)}
    state = _network(layer.conditioner, own, first)
    if idle:
        name = _places(layer.conditioner)[0]
        seen = torch.ones(state[f"{name}.weight"].shape, dtype=torch.bool)
        seen[:, : len(fed)] = fed
        state[f"{name}.mask"] = seen
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
