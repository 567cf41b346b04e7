"""From parameters to a flow: every value of every parameter gives one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt import adjacency as graph
from nfopt import designs
from nfopt.layers import BASES
from nfopt.masks import Masks, canonical_order, from_transformed, letters, parse, repair
from nfopt.space.domains import Value
from nfopt.space.genes import Bits, decode, recoded
from nfopt.space.limits import TRAINING
from nfopt.space.plan import MAP_KEYS, Plan, searched
from nfopt.spec import (
    LU,
    Base,
    Conditioner,
    Coupling,
    FlowSpec,
    Layer,
    Permutation,
    Recipe,
    Reverse,
    ScalarMap,
    TrainSpec,
)

Order = tuple[int, ...]
Values = Mapping[str, Value]


def build(plan: Plan, params: Values, context_features: int, train: TrainSpec) -> Recipe:
    """Build the flow, its training and its marginal maps that the parameters stand for.

    Args:
        plan: The space.
        params: A value for each of `plan.parameters`, rows of bits in either encoding; others are
            ignored.
        context_features: Columns that every conditioner also sees.
        train: What the space says nothing of.

    Raises:
        ValueError: If a parameter is missing or out of its range.
    """
    params = recoded(params, plan.genes, plan.encoding)
    for name, domain in plan.parameters.items():
        if name not in params:
            raise ValueError(f"`params` must have all parameters of the space: no {name!r}.")
        if not domain.holds(params[name]):
            raise ValueError(f"`params` has {name} = {params[name]!r}, the space {domain}.")
    values = {**{name: params[name] for name in plan.parameters}, **plan.fixed}
    base: Base = BASES[str(values["base"])]()
    flow = FlowSpec(
        features=plan.features,
        layers=_layers(plan, values),
        context_features=context_features,
        base=base,
    )
    searched_fields = {key: values[key] for key in TRAINING if key in values}
    trained = msgspec.structs.replace(train, **searched_fields)
    return Recipe(flow, trained, str(values["marginals"]))


def _layers(plan: Plan, values: Values) -> tuple[Layer, ...]:
    numbers = range(1, int(values["depth"]) + 1)
    kinds = [str(values.get(f"layer_{number}.kind", plan.layer_kinds[0])) for number in numbers]
    masks = _masks(plan, values, kinds)
    mixing = str(values["mixing"])
    feature_at = np.arange(plan.features)  # the feature at each position, as permutations move them
    edges = decode_edges(plan, values) if plan.edges else None
    free = decode_order(plan, values)
    layers: list[Layer] = []
    for number, kind in zip(numbers, kinds, strict=True):
        if kind != "identity":
            between = mixing_layers(mixing, number, plan.features)
            layers += between
            feature_at = moved(feature_at, between)
        made = searched("layers", kind)
        fields: dict[str, Any] = {}
        if "map" in made.__struct_fields__:
            fields["map"] = _map(values, number)
        if "conditioner" in made.__struct_fields__:
            fields["conditioner"] = _net(values)
        if kind == "coupling":
            fields["mask"] = masks[number]
        if kind == "autoregressive":
            order, parents = _dependencies(plan, values, number, kinds, feature_at, edges, free)
            fields |= {"order": order, "parents": parents}
        layers.append(made(**fields))
    return settle(layers) if plan.idle else tuple(layers)


def _map(values: Values, number: int) -> ScalarMap:
    name = str(values.get(f"layer_{number}.map", values.get("map")))
    made: ScalarMap = searched("maps", name)(**{key: values[key] for key in MAP_KEYS[name]})
    return made


def _net(values: Values) -> Conditioner:
    return Conditioner(
        width=int(values["width"]),
        hidden_layers=int(values["hidden_layers"]),
        activation=str(values["activation"]),  # type: ignore[arg-type]
        residual=bool(values["residual"]),
    )


# ---------------------------------------------------------------------------- mixing and positions


def mixing_layers(name: str, number: int, features: int) -> tuple[Layer, ...]:
    """The linear layers before the layer of this number, from 1."""
    layers: list[Layer] = []
    if name.startswith("reverse"):
        layers.append(Reverse())
    if name.startswith("permutation"):
        layers.append(Permutation(order=random_order(number, features)))
    if name.endswith("lu"):
        layers.append(LU())
    return tuple(layers)


def moved(feature_at: NDArray[np.int64], layers: Sequence[Layer]) -> NDArray[np.int64]:
    """The feature at each position after these layers; an LU starts as the identity."""
    for layer in layers:
        if isinstance(layer, Reverse):
            feature_at = feature_at[::-1]
        elif isinstance(layer, Permutation):
            feature_at = feature_at[list(layer.order)]
    return feature_at


def random_order(number: int, features: int) -> Order:
    """A fixed permutation for each number, by the raw words of PCG64, which no version changes."""
    words = np.random.PCG64(number).random_raw(features)
    return tuple(int(feature) for feature in np.argsort(words, kind="stable"))


# -------------------------------------------------------------------------------------------- masks


def _masks(plan: Plan, values: Values, kinds: Sequence[str]) -> dict[int, str]:
    """The mask of each coupling layer, by the layer's number."""
    numbers = [number for number, kind in enumerate(kinds, 1) if kind == "coupling"]
    if not numbers:
        return {}
    if plan.masked:
        wanted = np.concatenate([_own_mask(plan, values, number) for number in numbers])
    else:
        wanted = design(plan, str(values["masks"]), len(numbers))
    # Beside layers that transform all features, couplings need not cover them.
    cover = set(kinds) <= {"coupling", "identity"}
    return dict(zip(numbers, letters(repair(wanted, cover=cover)), strict=True))


def _own_mask(plan: Plan, values: Values, number: int) -> Masks:
    """The mask of a layer's own bits, or the complement of its partner's; repaired before."""
    own = number if number in plan.own_masks else number - 1
    transformed = decode(values, f"layer_{own}.mask", plan.features, plan.encoding)
    mask = from_transformed(transformed[None, :])
    if plan.idle:
        idle = decode(values, f"layer_{own}.idle", plan.features, plan.encoding)
        mask[:, idle & ~transformed] = "I"
    mask = repair(mask)
    return mask if own == number else from_transformed(mask == "C")


def design(plan: Plan, name: str, layers: int) -> Masks:
    """Fixed masks by the name of their design."""
    if name == "dependence":
        cuts = plan.guide.cuts if plan.guide is not None else ()
        return parse([cuts[layer % len(cuts)] for layer in range(layers)])
    if name == "binary_code":
        return designs.binary_code(plan.features, layers)
    fixed = designs.halves if name == "halves" else designs.parity
    return fixed(layers, plan.features)


def settle(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Put neighbouring couplings that commute in the canonical order.

    Only couplings with the same map, so that specs of one shape keep one shape.
    """
    settled: list[Layer] = []
    for key, run in groupby(layers, lambda x: x.map if isinstance(x, Coupling) else None):
        group = list(run)
        if key is not None:
            masks = parse([layer.mask for layer in group if isinstance(layer, Coupling)])
            group = [group[index] for index in canonical_order(masks)]
        settled += group
    return tuple(settled)


# ------------------------------------------------------------------------------ orders and parents


def order_at(
    plan: Plan, name: str, feature_at: NDArray[np.int64], free: Order | None = None
) -> Order:
    """A named order of the positions of a layer; `free` is that of the features under search."""
    features = plan.features
    if name.startswith("random_"):
        return random_order(int(name.removeprefix("random_")), features)
    order: Sequence[int] = range(features)
    own = free if name.startswith("searched") else None
    if name.startswith("dependence") and plan.guide is not None:
        own = plan.guide.order
    if own is not None:
        position = np.argsort(feature_at)
        order = [int(position[feature]) for feature in own]
    return tuple(order[::-1] if name.endswith("reverse") else order)


def ranking_at(plan: Plan, measure: str, feature_at: NDArray[np.int64]) -> list[list[int]]:
    """The ranking of each position's parents in a layer."""
    ranks = plan.guide.ranks[measure] if plan.guide is not None else ()
    position = np.argsort(feature_at)
    return [[int(position[other]) for other in ranks[feature]] for feature in feature_at]


def edges_at(edges: Bits, order: Order, feature_at: NDArray[np.int64]) -> graph.Adjacency:
    """The edges that a layer's order allows, between positions."""
    return np.asarray(edges[np.ix_(feature_at, feature_at)] & graph.from_order(order))


def decode_edges(plan: Plan, values: Values) -> Bits:
    """The edges under search, shape (D, D); with a searched order only those along it."""
    edges = np.zeros((plan.features, plan.features), dtype=bool)
    for feature in range(plan.features):
        name = f"feature_{feature + 1}.edges"
        row = decode(values, name, plan.features - 1, plan.encoding)
        edges[feature, np.arange(plan.features) != feature] = row
    order = decode_order(plan, values)
    return edges if order is None else edges & graph.from_order(order)


def decode_order(plan: Plan, values: Values) -> Order | None:
    """The searched order of the features, or None; any values give an order."""
    if not plan.places:
        return None
    places = [int(values[name]) for name in plan.places]
    return tuple(int(feature) for feature in np.argsort(places, kind="stable"))


def encode_order(plan: Plan, order: Sequence[int]) -> dict[str, Value]:
    """The parameters of an order of the features."""
    return {plan.places[feature]: number for number, feature in enumerate(order, 1)}


def parents_within(
    plan: Plan, measure: str, budget: int, order: Order, feature_at: NDArray[np.int64]
) -> graph.Parents | None:
    """The parents within a budget; None if the budget includes all that the order allows."""
    if budget >= plan.features - 1 or plan.guide is None:
        return None
    ranking = ranking_at(plan, measure, feature_at)
    if budget > len(ranking[0]):
        return None
    return graph.strongest_parents(order, ranking, budget)


def _dependencies(
    plan: Plan,
    values: Values,
    number: int,
    kinds: Sequence[str],
    feature_at: NDArray[np.int64],
    edges: Bits | None,
    free: Order | None,
) -> tuple[Order | None, graph.Parents | None]:
    """The order of an autoregressive layer, or its parents; exactly one of the two."""
    if not plan.ordered:
        # Orders alternate between the given one and its reverse.
        before = kinds[: number - 1].count("autoregressive")
        order = tuple(range(plan.features))
        return (order[::-1] if before % 2 else order), None
    order = order_at(plan, str(values[f"layer_{number}.order"]), feature_at, free)
    if edges is not None:
        # a layer of the reversed order has the reversed edges
        allowed = edges_at(edges if free is None else edges | edges.T, order, feature_at)
        whole = np.array_equal(allowed, graph.from_order(order))
        return (order, None) if whole else (None, graph.parents_of(allowed))
    parents = parents_within(
        plan, str(values["measure"]), int(values["parents"]), order, feature_at
    )
    return (order, None) if parents is None else (None, parents)
