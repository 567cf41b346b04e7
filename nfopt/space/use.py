"""Which parameters affect a flow: it is the same flow whatever the values of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nfopt.space.domains import Value
from nfopt.space.genes import gene_domains
from nfopt.space.plan import EVERY_MAP_KEY, MAP_KEYS, MAPPED, NETS, NETTED, Plan


class Use(NamedTuple):
    """Which parameters affect a flow.

    Attributes:
        idle: Names of the parameters that do not, except for rows of bits.
        couplings: Numbers of the layers that are couplings, from 1: those whose masks are used.
        cover: Whether the masks must cover every feature, as no other layer transforms any.
        edges: Whether any layer uses the edges, where they are searched.
    """

    idle: frozenset[str]
    couplings: tuple[int, ...]
    cover: bool
    edges: bool


def structure(plan: Plan) -> tuple[str, ...]:
    """Names of the parameters that `in_use` depends on."""
    names = ["depth", "map", "parents"]
    names += [f"layer_{layer}.{part}" for layer in _layers(plan.depth) for part in ("kind", "map")]
    return tuple(name for name in names if name in plan.parameters)


def in_use(plan: Plan, values: Mapping[str, Value]) -> Use:
    """Which parameters affect a flow of these values.

    Args:
        plan: The space.
        values: The parameters that `structure` names.
    """
    known = {**plan.fixed, **values}
    depth = int(known["depth"])
    kinds = {n: str(known.get(f"layer_{n}.kind", plan.layer_kinds[0])) for n in _layers(depth)}
    mapped = [n for n, kind in kinds.items() if kind in MAPPED]
    maps = {known.get(f"layer_{n}.map", known.get("map")) for n in mapped}
    nets = NETTED & set(kinds.values())
    graphs = "autoregressive" in nets
    couplings = tuple(n for n, kind in kinds.items() if kind == "coupling")
    idle: set[str] = set()
    for layer in _layers(plan.depth):
        kind = kinds.get(layer)
        idle |= set() if kind else {f"layer_{layer}.kind"}
        idle |= set() if kind in MAPPED else {f"layer_{layer}.map"}
        idle |= set() if kind == "autoregressive" else {f"layer_{layer}.order"}
    if None not in maps:
        idle |= set(EVERY_MAP_KEY).difference(*(MAP_KEYS[str(name)] for name in maps))
    idle |= set() if mapped else {"map"}
    idle |= set() if nets else {*NETS, "dropout"}
    idle |= set() if couplings else {"masks"}
    if not graphs:
        idle |= {"parents", "measure"}
    elif int(known.get("parents", 0)) >= plan.features - 1:
        idle.add("measure")  # all parents that the order allows, so none are ranked
    cover = set(kinds.values()) <= {"coupling", "identity"}
    return Use(frozenset(idle & plan.parameters.keys()), couplings, cover, graphs)


def _layers(count: int) -> range:
    return range(1, count + 1)


def idle(plan: Plan, params: Mapping[str, Value]) -> frozenset[str]:
    """Names of the parameters that do not affect a flow, rows of bits in both encodings.

    Args:
        plan: The space.
        params: All that the space has.
    """
    use = in_use(plan, params)
    rows = [
        gene_domains(row, bits, encoding)
        for row, bits in plan.genes.items()
        for encoding in ("packed", "bits")
        if not _row_in_use(plan, row, use)
    ]
    places = frozenset() if use.edges else frozenset(plan.places)
    return use.idle.union(places, *rows)


def _row_in_use(plan: Plan, row: str, use: Use) -> bool:
    first, _, part = row.partition(".")
    if part == "edges":
        return use.edges
    layer = int(first.removeprefix("layer_"))
    return layer in use.couplings or (plan.pairs and layer + 1 in use.couplings)
