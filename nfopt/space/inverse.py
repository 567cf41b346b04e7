"""From a flow back to parameters, where the space has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.adjacency import from_order, topological_order
from nfopt.designs import parity
from nfopt.layers import conditioner_of, map_of
from nfopt.masks import letters, parse
from nfopt.space.assemble import (
    build,
    design,
    edges_at,
    encode_order,
    moved,
    order_at,
    parents_within,
    settle,
)
from nfopt.space.domains import Real, Value
from nfopt.space.genes import encode
from nfopt.space.limits import TRAINING
from nfopt.space.plan import EVERY_MAP_KEY, NETS, Plan
from nfopt.spec import Autoregressive, Coupling, FlowSpec, Identity, Layer, Recipe

Slot = tuple[tuple[Layer, ...], Layer]
"""A layer, and the linear layers before it."""


def split(flow: FlowSpec) -> list[Slot]:
    """Take the linear layers together with the layer that follows them."""
    slots: list[Slot] = []
    before: list[Layer] = []
    for layer in flow.layers:
        if layer.mixing:
            before.append(layer)
        else:
            slots.append((tuple(before), layer))
            before = []
    if before:
        outside(f"its last layer is {before[-1].kind}, and a space mixes before a layer only")
    return slots


def traits(recipe: Recipe) -> dict[str, list[Value]]:
    """What a flow, its training and its maps have of each limit, layer by layer."""
    flow, train = recipe.flow, recipe.train
    slots = split(flow)
    layers = [layer for _, layer in slots]
    nets = [net for x in layers if (net := conditioner_of(x)) is not None]
    maps = [scalar for x in layers if (scalar := map_of(x)) is not None]
    mixing = [
        "_".join(x.kind for x in before) or "none"
        for before, layer in slots
        if not isinstance(layer, Identity)
    ]
    return {
        "depth": [len(slots)],
        "layers": [layer.kind for layer in layers],
        "maps": [scalar.kind for scalar in maps],
        "mixing": list(mixing),
        **{key: [getattr(x, key) for x in maps if hasattr(x, key)] for key in EVERY_MAP_KEY},
        **{key: [getattr(net, key) for net in nets] for key in NETS},
        "base": [flow.base.kind],
        "marginals": [recipe.marginals],
        **{key: [getattr(train, key)] for key in TRAINING},
    }


def params_of(plan: Plan, recipe: Recipe, context_features: int) -> dict[str, Value]:
    """Find the parameters that `build` makes the recipe from.

    What the flow does not use gets a middle value. What the space holds fixed of the training
    and the marginal maps is not looked at; a weight decay of 0 in a logarithmic range is its least
    value.

    Args:
        plan: The space.
        recipe: The flow, its training, its marginal maps.
        context_features: As in the space.

    Raises:
        ValueError: If the space does not have it, naming what is outside.
    """
    flow = recipe.flow
    if (flow.features, flow.context_features) != (plan.features, context_features):
        outside(
            f"it has {flow.features} features and {flow.context_features} context features, the "
            f"space {plan.features} and {context_features}"
        )
    params = _plain(plan, recipe)
    slots = split(flow)
    params |= _mask_params(plan, slots)
    if "masks" in plan.domains:
        params["masks"] = _design(plan, slots)
    if plan.ordered:
        params |= _order_params(plan, slots)
    params = {name: params[name] for name in plan.parameters}
    rebuilt = build(plan, params, context_features, recipe.train).flow
    wanted = settle(flow.layers) if plan.idle else flow.layers
    if rebuilt.layers != wanted:
        for number, (nearest, layer) in enumerate(zip(rebuilt.layers, wanted, strict=False)):
            if nearest != layer:
                outside(f"layer {number} is {_brief(layer)}, the nearest is {_brief(nearest)}")
        outside(f"it has {len(wanted)} layers, the nearest {len(rebuilt.layers)}")
    if rebuilt.base != flow.base:
        outside(f"its base is {_brief(flow.base)}, the nearest is {_brief(rebuilt.base)}")
    return params


def outside(reason: str, what: str = "flow") -> NoReturn:
    """Raise the ValueError of `params_of`."""
    raise ValueError(f"`{what}` is outside the space: {reason}.")


def _plain(plan: Plan, recipe: Recipe) -> dict[str, Value]:
    seen, flow = traits(recipe), recipe.flow
    params = {name: domain.middle() for name, domain in plan.domains.items()}
    for key in ("depth", "mixing", *EVERY_MAP_KEY, "base", *NETS):
        values = sorted(set(seen[key]), key=str)
        if len(values) > 1:
            outside(f"{key} is {values[0]} in one layer and {values[1]} in another")
        if values and key in params:
            params[key] = values[0]
    if not plan.per_layer:
        _one_kind(plan, seen)
        params["map"] = seen["maps"][0] if seen["maps"] else params["map"]
    else:
        for number, (_, layer) in enumerate(split(flow), 1):
            if number <= plan.depth:
                params[f"layer_{number}.kind"] = layer.kind
                if (scalar := map_of(layer)) is not None:
                    params[f"layer_{number}.map"] = scalar.kind
    for key in ("marginals", *TRAINING):
        domain = plan.domains.get(key)
        if domain is not None and key not in plan.fixed:
            value = seen[key][0]
            rest = isinstance(domain, Real) and domain.log and value == 0
            params[key] = domain.low if rest and isinstance(domain, Real) else value
    for name, domain in plan.domains.items():
        if not domain.holds(params[name]):
            what = "train" if name in TRAINING else "flow"
            what = name if name == "marginals" else what
            outside(f"{name} is {params[name]}, the space has {domain}", what)
    return params


def _one_kind(plan: Plan, seen: dict[str, list[Value]]) -> None:
    for number, kind in enumerate(seen["layers"], 1):
        if kind not in plan.layer_kinds:
            outside(f"layer {number} is {kind}, the space has {plan.layer_kinds[0]}")


def _mask_params(plan: Plan, slots: Sequence[Slot]) -> dict[str, Value]:
    params: dict[str, Value] = {}
    for own in plan.own_masks:
        # Where no coupling uses the mask, the halves of parity: a start for a deeper flow.
        row = parity(1, plan.features)[0]
        for number in (own, own + 1) if plan.pairs else (own,):
            layer = slots[number - 1][1] if number <= len(slots) else None
            if isinstance(layer, Coupling):
                row = parse([layer.mask])[0]
                if number != own:
                    row = np.where(row == "T", "C", "T")
                break
        params |= encode(f"layer_{own}.mask", row == "T", plan.encoding)
        if plan.idle:
            params |= encode(f"layer_{own}.idle", row == "I", plan.encoding)
    return params


def _design(plan: Plan, slots: Sequence[Slot]) -> Value:
    """Find the design that fixed masks are of."""
    masks = tuple(layer.mask for _, layer in slots if isinstance(layer, Coupling))
    for name in plan.limits["masks"]:
        if not masks or letters(design(plan, str(name), len(masks))) == masks:
            return name
    outside(f"its masks {', '.join(masks)} are none of {_list(map(str, plan.limits['masks']))}")


def _order_params(plan: Plan, slots: Sequence[Slot]) -> dict[str, Value]:
    feature_at = np.arange(plan.features)
    layers: dict[int, tuple[Autoregressive, NDArray[np.int64]]] = {}
    for number, (before, layer) in enumerate(slots, 1):
        feature_at = moved(feature_at, before)
        if isinstance(layer, Autoregressive):
            layers[number] = (layer, feature_at)
    if plan.edges:
        edges = np.zeros((plan.features, plan.features), dtype=bool)
        for layer, feature_at in layers.values():
            position = np.argsort(feature_at)
            edges |= layer.adjacency()[np.ix_(position, position)]
        order, params = None, dict[str, Value]()
        if plan.places:
            order = _searched_order(plan, layers)
            params |= encode_order(plan, order)
            edges = (edges | edges.T) & from_order(order)
        for feature, row in enumerate(edges):
            others = np.delete(row, feature)
            params |= encode(f"feature_{feature + 1}.edges", others, plan.encoding)
        if order is not None:
            edges |= edges.T
        return params | _orders(plan, layers, edges, "", 0, order)
    given = [layer.parents for layer, _ in layers.values() if layer.parents is not None]
    most = max((len(row) for parents in given for row in parents), default=plan.features - 1)
    failed: ValueError | None = None
    for measure in plan.limits["measure"]:
        try:
            params = _orders(plan, layers, None, str(measure), most)
        except ValueError as error:
            failed = failed or error
        else:
            wanted: dict[str, Value] = {"parents": most, "measure": measure}
            for name in wanted:
                if not plan.domains[name].holds(wanted[name]):
                    outside(f"{name} is {wanted[name]}, the space has {plan.domains[name]}")
            return params | wanted
    raise failed or ValueError("unreachable: a space has a measure")


def _searched_order(
    plan: Plan, layers: dict[int, tuple[Autoregressive, NDArray[np.int64]]]
) -> tuple[int, ...]:
    """The order that the first layer's edges are along; backwards where the space has only that."""
    for layer, feature_at in layers.values():
        order = tuple(
            int(feature_at[position]) for position in topological_order(layer.adjacency())
        )
        return order if "searched" in plan.limits["orders"] else order[::-1]
    return tuple(range(plan.features))


def _orders(
    plan: Plan,
    layers: dict[int, tuple[Autoregressive, NDArray[np.int64]]],
    edges: NDArray[np.bool_] | None,
    measure: str,
    budget: int,
    free: tuple[int, ...] | None = None,
) -> dict[str, Value]:
    names = [str(name) for name in plan.limits["orders"]]
    params: dict[str, Value] = {
        f"layer_{number}.order": names[(number - 1) % min(2, len(names))]
        for number in range(1, plan.depth + 1)
    }
    for number, (layer, feature_at) in layers.items():
        graph = layer.adjacency()
        for name in names:
            order = order_at(plan, name, feature_at, free)
            if edges is not None:
                same = np.array_equal(edges_at(edges, order, feature_at), graph)
            else:
                parents = parents_within(plan, measure, budget, order, feature_at)
                same = layer.order == order if parents is None else layer.parents == parents
            if same:
                params[f"layer_{number}.order"] = name
                break
        else:
            what = "order" if layer.order is not None else "parents"
            outside(
                f"the {what} of layer {number}, {_brief(layer)}, are none that the space has "
                f"(orders: {_list(names)})"
            )
    return params


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _brief(part: Layer | msgspec.Struct) -> str:
    text = msgspec.json.encode(part, order="deterministic").decode()
    return text if len(text) <= 160 else f"{text[:157]}..."
