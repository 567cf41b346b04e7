"""What a space searches: which parameters there are, and what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from nfopt.layers import LAYERS, MAPS
from nfopt.space.domains import Domain, Integer, Value, only
from nfopt.space.genes import gene_domains
from nfopt.space.guide import Guide
from nfopt.space.limits import KEYS, SEARCHED_ORDERS, TRAINING, Limits

NETS = ("width", "hidden_layers", "activation", "residual")
MAP_KEYS = {name: tuple(kind.__struct_fields__) for name, kind in MAPS.items()}
"""By kind of scalar map the keys that it has a value of."""
EVERY_MAP_KEY = tuple(dict.fromkeys(chain.from_iterable(MAP_KEYS.values())))
MAPPED, NETTED = (
    frozenset(name for name, kind in LAYERS.items() if field in kind.__struct_fields__)
    for field in ("map", "conditioner")
)
"""The kinds of layers with a scalar map, and those with a conditioner."""
SHAPE = frozenset(
    {"depth", "mixing", "map", *EVERY_MAP_KEY, "base", "batch_size", "steps", "optimiser"}
    | {"schedule", *NETS}
)


def searched(key: str, name: str) -> Any:
    """Find the spec class of a kind by its name, for `layers` or `maps`.

    Raises:
        ValueError: If it is not known, or not searched.
    """
    known: Mapping[str, Any] = LAYERS if key == "layers" else MAPS
    spec = known.get(name)
    if spec is None or spec.search is None:
        raise ValueError(f"`{key}` has the kind {name!r}, which no space searches.")
    return spec


@dataclass(frozen=True)
class Plan:
    """The parameters of a space, derived from its limits.

    The set is fixed: all that the deepest flow with all its options needs, in the order of
    `parameters`. What a flow does not use is ignored.
    """

    kind: str
    features: int
    limits: Limits
    guide: Guide | None = None

    @property
    def depth(self) -> int:
        """The greatest number of layers, mixing layers not counted."""
        return int(self.limits["depth"][1])

    @property
    def layer_kinds(self) -> tuple[str, ...]:
        """The kinds that a layer may be."""
        if self.kind in ("coupling", "adjacency"):
            return ("coupling",) if self.kind == "coupling" else ("autoregressive",)
        return tuple(str(kind) for kind in self.limits["layers"])

    @property
    def per_layer(self) -> bool:
        """Whether kind and scalar map are chosen layer by layer."""
        return self.kind in ("layers", "full")

    @property
    def ordered(self) -> bool:
        """Whether orders and parents of autoregressive layers are searched."""
        searched = self.kind in ("adjacency", "full") and self.features > 1
        return searched and "autoregressive" in self.layer_kinds

    @property
    def masked(self) -> bool:
        """Whether masks are searched."""
        return self.kind in ("coupling", "full") and "coupling" in self.layer_kinds

    @property
    def edges(self) -> bool:
        """Whether the edges themselves are searched."""
        return self.ordered and bool(self.limits["edges"][0])

    @property
    def places(self) -> tuple[str, ...]:
        """Parameters of the order under search, one a feature: it goes by them, ties by index."""
        if not self.edges or self.limits["orders"][0] not in SEARCHED_ORDERS:
            return ()
        return tuple(f"feature_{feature}.place" for feature in range(1, self.features + 1))

    @property
    def pairs(self) -> bool:
        """Whether every second layer's mask is the complement of the one before."""
        return self.masked and bool(self.limits["pairs"][0])

    @property
    def idle(self) -> bool:
        """Whether a mask may have idle features."""
        return self.masked and bool(self.limits["idle"][0])

    @property
    def encoding(self) -> str:
        """How rows of bits are written, `packed` or `bits`."""
        return str(self.limits["encoding"][0]) if self.masked or self.ordered else "packed"

    @property
    def own_masks(self) -> tuple[int, ...]:
        """The layers, from 1, that have a mask of their own."""
        return tuple(range(1, self.depth + 1, 2 if self.pairs else 1)) if self.masked else ()

    @cached_property
    def genes(self) -> dict[str, int]:
        """The rows of bits under search, and how many bits each has."""
        genes: dict[str, int] = {}
        for layer in self.own_masks:
            genes[f"layer_{layer}.mask"] = self.features
            if self.idle:
                genes[f"layer_{layer}.idle"] = self.features
        if self.edges:
            for feature in range(1, self.features + 1):
                genes[f"feature_{feature}.edges"] = self.features - 1
        return genes

    @cached_property
    def domains(self) -> dict[str, Domain]:
        """All that is no row of bits, the fixed values too."""
        keys = ["depth", "mixing"]
        domains = {key: self._domain(key) for key in keys}
        mapped = MAPPED & set(self.layer_kinds)
        for layer in range(1, self.depth + 1):
            if self.per_layer:
                domains[f"layer_{layer}.kind"] = self._domain("layers")
                if mapped:
                    domains[f"layer_{layer}.map"] = self._domain("maps")
            if self.ordered:
                domains[f"layer_{layer}.order"] = self._domain("orders")
        if not self.per_layer:
            domains["map"] = self._domain("maps")
        if self.ordered and not self.edges:
            domains |= {key: self._domain(key) for key in ("parents", "measure")}
        if "masks" in self.limits and "coupling" in self.layer_kinds:
            domains["masks"] = self._domain("masks")
        if mapped:
            for name in self.limits["maps"]:
                keys = searched("maps", str(name)).__struct_fields__
                domains |= {key: self._domain(key) for key in keys}
        nets = NETTED & set(self.layer_kinds)
        if nets:
            domains |= {key: self._domain(key) for key in NETS}
        domains |= {key: self._domain(key) for key in ("base", "marginals")}
        training = [key for key in TRAINING if nets or key != "dropout"]
        return domains | {key: self._domain(key) for key in training}

    @cached_property
    def fixed(self) -> dict[str, Value]:
        """What has a single value, and so is no parameter."""
        values = {name: only(domain) for name, domain in self.domains.items()}
        return {name: value for name, value in values.items() if value is not None}

    @cached_property
    def parameters(self) -> dict[str, Domain]:
        """The parameters that every trial is asked for, in this order."""
        rows: dict[str, Domain] = {}
        for name, bits in self.genes.items():
            rows |= gene_domains(name, bits, self.encoding)
        rows |= {name: Integer(1, self.features) for name in self.places}
        free = {name: d for name, d in self.domains.items() if name not in self.fixed}
        training = {name: free.pop(name) for name in TRAINING if name in free}
        return free | rows | training

    @property
    def shape_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that tensor shapes, batches and steps follow from."""
        return tuple(
            name for name in self.parameters if name in SHAPE or name.endswith((".kind", ".map"))
        )

    def _domain(self, key: str) -> Domain:
        domain = KEYS[key].domain(self.limits[key])
        if key == "parents" and isinstance(domain, Integer):
            greatest = min(domain.high, self.features - 1)
            return Integer(min(domain.low, greatest), greatest, domain.log)
        return domain
