"""Conversion between a trial's parameters and a genome of the evolution.

    codec = Codec(space.distributions(), space)
    codec.decode(codec.encode(trial.params))      the same flow, in its canonical form

Without a search space every parameter is a variable of its own, but for those of masks and
adjacencies that an objective suggests. With one, rows of bits are masks and edges, and parameters
that a flow does not use do not distinguish two genomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nfopt.designs import parity
from nfopt.evolution.genome.blocks import EdgeBlock, MaskBlock, Usage
from nfopt.evolution.genome.genome import Genome
from nfopt.evolution.genome.layout import Layout
from nfopt.evolution.genome.variables import (
    EXACT,
    Category,
    Integer,
    Real,
    Value,
    Values,
    Variable,
    replaced,
)
from nfopt.masks import Masks, from_transformed
from nfopt.optuna_internals import in_distribution
from nfopt.samplers.declared import ENCODINGS
from nfopt.samplers.suggested import Suggested
from nfopt.space import SearchSpace
from nfopt.space.assemble import decode_edges, decode_order, encode_order, order_at
from nfopt.space.genes import decode, encode, gene_domains, recoded
from nfopt.space.plan import Plan
from nfopt.space.use import in_use, structure

Distributions = Mapping[str, BaseDistribution]
CACHED = 4096  # structures whose usage is cached


def variable_of(distribution: BaseDistribution) -> Variable:
    """The variable of a distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return Category(len(distribution.choices))
    if isinstance(distribution, IntDistribution):
        low, high = distribution.low, distribution.high
        return Integer(low, high, distribution.log, distribution.step)
    if isinstance(distribution, FloatDistribution):
        return Real(distribution.low, distribution.high, distribution.log, distribution.step)
    raise ValueError(f"`distribution` must be one of Optuna's three, not {distribution!r}.")


def internal(distribution: BaseDistribution, value: Any) -> Value | None:
    """A parameter's value as that of a variable, or None if it is outside the distribution."""
    try:
        number = distribution.to_internal_repr(value)
        if isinstance(distribution, IntDistribution):
            # Optuna keeps a double, which may lie outside the range that the whole number is in
            whole = variable_of(distribution).nearest(int(number))
            return whole if float(whole) == number else None
        if not in_distribution(distribution, value):
            return None
    except (OverflowError, TypeError, ValueError):
        return None
    return float(number) if isinstance(distribution, FloatDistribution) else int(number)


def external(distribution: BaseDistribution, value: Value) -> Any:
    """A variable's value as that of the parameter."""
    if isinstance(distribution, IntDistribution) and abs(value) > EXACT:
        # Optuna keeps a double: the objective must see what the storage will say
        kept = int(float(value))
        return min(max(kept, distribution.low), distribution.high)
    return distribution.to_external_repr(value)


class Codec:
    """Converts the parameters of trials to genomes and back.

    Args:
        distributions: Of all parameters, by name; those of a single value are ignored.
        space: The search space, which says what rows of bits mean; None: not known.
        suggested: Masks and adjacencies beside it, or without one.

    Attributes:
        distributions: As given, without those of a single value.
        suggested: As given.
        guide: What the data say of masks and edges, where the space knows it.
        genes: Names of the parameters that are no variables, in every encoding.
        names: Of the variables, in the order of the layout's.
        layout: Of the genomes.
    """

    def __init__(
        self,
        distributions: Distributions,
        space: SearchSpace | None = None,
        suggested: Suggested | None = None,
    ) -> None:
        self.distributions = {n: d for n, d in distributions.items() if not d.single()}
        self.plan: Plan | None = None if space is None else space.plan
        self.guide = None if self.plan is None else self.plan.guide
        self.suggested = suggested or Suggested()
        self._defaults = {}
        own: dict[str, frozenset[str]] = {encoding: frozenset() for encoding in ENCODINGS}
        if self.plan is not None:
            self._defaults = {n: d.middle() for n, d in self.plan.parameters.items()}
            own = {encoding: _gene_names(self.plan, encoding) for encoding in ENCODINGS}
            self._rows = own[self.plan.encoding]
        others = frozenset[str]().union(*self.suggested.names.values())
        self.genes = others.union(*own.values())
        self._needed = self.distributions.keys() - others
        self.names = tuple(name for name in self.distributions if name not in self.genes)
        self.index = {name: index for index, name in enumerate(self.names)}
        self._kinds = [self.distributions[name] for name in self.names]
        self.layout = self._layout()

    # ------------------------------------------------------------------------------- parameters

    def encode(self, params: Mapping[str, Any]) -> Genome | None:
        """The canonical genome of a trial's parameters.

        A parameter of the search space that the trial does not have counts as the middle of its
        range.

        Returns:
            None if a parameter is missing, or has a value outside its distribution.
        """
        values: list[Value] = []
        for name, distribution in zip(self.names, self._kinds, strict=True):
            if name not in params and name not in self._defaults:
                return None
            value = internal(distribution, params.get(name, self._defaults.get(name)))
            if value is None:
                return None
            values.append(value)
        try:
            genome = replace(self.suggested.read(params), values=tuple(values))
            if self.plan is not None and self._rows:
                rows = params
                if not self._rows <= params.keys():
                    found = recoded(params, self.plan.genes, self.plan.encoding)
                    rows = {**self._defaults, **found}
                genome = replace(
                    genome,
                    masks=_masks(self.plan, rows),
                    order=_order(self.plan, rows),
                    parents=_edges(self.plan, rows),
                )
        except (TypeError, ValueError):  # words of another width: another space's trial
            return None
        return self.layout.repaired(genome)

    def decode(self, genome: Genome) -> dict[str, Any]:
        """All parameters of a canonical genome."""
        params = {
            name: external(distribution, value)
            for name, distribution, value in zip(
                self.names, self._kinds, genome.values, strict=True
            )
        }
        params |= self.suggested.write(genome)
        plan = self.plan
        if plan is not None and genome.masks is not None:
            for number in plan.own_masks:
                row = genome.masks[number - 1]
                if (row == "C").all():  # inactive: parity, a good start if it becomes active
                    row = parity(1, plan.features)[0]
                params |= encode(f"layer_{number}.mask", row == "T", plan.encoding)
                if plan.idle:
                    params |= encode(f"layer_{number}.idle", row == "I", plan.encoding)
        if plan is not None and plan.edges and genome.parents is not None:
            for feature, others in enumerate(genome.parents):
                name = f"feature_{feature + 1}.edges"
                params |= encode(name, np.delete(others, feature), plan.encoding)
        if plan is not None and plan.places and genome.order is not None:
            params |= encode_order(plan, [int(feature) for feature in genome.order])
        return params

    def held(self, params: Mapping[str, Any]) -> dict[int, Value]:
        """The active variables among parameters with given values, by index."""
        values: dict[int, Value] = {}
        for name, given in params.items():
            if name in self.index:
                value = internal(self.distributions[name], given)
                if value is not None:
                    values[self.index[name]] = value
        used = self.layout.used(replaced(self.layout.inactive_values, values)).variables
        return {index: value for index, value in values.items() if used[index]}

    def complete(self, params: Mapping[str, Any]) -> bool:
        """Whether these are all parameters that a trial needs."""
        return self._needed <= params.keys() and self.suggested.complete(params)

    # ----------------------------------------------------------------------------------- layout

    def _layout(self) -> Layout:
        variables = tuple([variable_of(distribution) for distribution in self._kinds])
        plan = self.plan
        if plan is None:
            masks, edges, parts = self.suggested.blocks()
            usage = self._usage(None) if self.suggested.rules else None
            return Layout(variables, masks, edges, usage=usage, parts=parts)
        depth = self.index.get("depth")
        layer_of = tuple([_layer(name) for name in self.names])
        masks = edges = None
        if plan.masked:
            masks = MaskBlock(
                layers=plan.depth,
                features=plan.features,
                idle=plan.idle,
                pairs=plan.pairs,
                depth=depth,
                commute=plan.idle and _uniform(plan),
            )
        if plan.edges:
            edges = EdgeBlock(plan.features, orders=bool(plan.places), order=_only_order(plan))
        return Layout(
            variables,
            masks=masks,
            edges=edges,
            layer_of=layer_of if max(layer_of, default=-1) >= 0 else (),
            depth=depth,
            usage=self._usage(plan),
            parts=self.suggested.blocks()[2],
        )

    def _usage(self, plan: Plan | None) -> Callable[[Values], Usage]:
        decisive = {} if plan is None else dict.fromkeys(structure(plan))
        decisive |= {rule.parameter: None for rule in self.suggested.rules.values()}
        names = [name for name in decisive if name in self.index]
        indices = [self.index[name] for name in names]
        kinds = [self.distributions[name] for name in names]

        @lru_cache(maxsize=CACHED)
        def usage_of(chosen: Values) -> Usage:
            values = dict(self._defaults)
            for name, kind, value in zip(names, kinds, chosen, strict=True):
                values[name] = external(kind, value)
            parts = self._present(self.suggested.parts, values)
            if plan is None:
                graph = self.suggested.graph
                layers = self._present(self.suggested.masks, values)
                edges = graph is None or self.suggested.present(graph, values)
                return Usage((), layers, cover=False, edges=edges, parts=parts)
            use = in_use(plan, values)
            couplings = set(use.couplings)
            return Usage(
                variables=tuple([name not in use.idle for name in self.names]),
                layers=tuple([n in couplings for n in range(1, plan.depth + 1)]),
                cover=use.cover,
                edges=use.edges,
                parts=parts,
            )

        def usage(values: Values) -> Usage:
            return usage_of(tuple([values[index] for index in indices]))

        return usage

    def _present(self, keys: Iterable[str], values: Mapping[str, Any]) -> tuple[bool, ...]:
        return tuple([self.suggested.present(key, values) for key in keys])


def _gene_names(plan: Plan, encoding: str) -> frozenset[str]:
    """Parameters of a space's rows of bits and of its order."""
    rows = [gene_domains(row, bits, encoding) for row, bits in plan.genes.items()]
    return frozenset(plan.places).union(*rows)


def _layer(name: str) -> int:
    """The layer, from 0, that a parameter of a space describes; -1 for none."""
    first, dot, _ = name.partition(".")
    return int(first.removeprefix("layer_")) - 1 if dot and first.startswith("layer_") else -1


def _uniform(plan: Plan) -> bool:
    """Whether all layers are couplings of one map with nothing between them, and so may commute."""
    mapped = "map" in plan.domains or len(plan.limits["maps"]) == 1
    return plan.layer_kinds == ("coupling",) and plan.fixed.get("mixing") == "none" and mapped


def _only_order(plan: Plan) -> tuple[int, ...] | None:
    """The order that edges must follow, if all layers have the same one."""
    if (
        plan.places
        or len(plan.limits["orders"]) > 1
        or plan.fixed.get("mixing") not in ("none", "lu")
    ):
        return None
    return order_at(plan, str(plan.limits["orders"][0]), np.arange(plan.features))


def _masks(plan: Plan, params: Mapping[str, Any]) -> Masks | None:
    """The masks before repair; a layer without bits of its own is all `C`."""
    if not plan.masked:
        return None
    masks = from_transformed(np.zeros((plan.depth, plan.features), dtype=bool))
    for number in plan.own_masks:
        transformed = decode(params, f"layer_{number}.mask", plan.features, plan.encoding)
        masks[number - 1, transformed] = "T"
        if plan.idle:
            idle = decode(params, f"layer_{number}.idle", plan.features, plan.encoding)
            masks[number - 1, idle & ~transformed] = "I"
    return masks


def _order(plan: Plan, params: Mapping[str, Any]) -> Any:
    order = decode_order(plan, params)
    return None if order is None else np.array(order, dtype=np.intp)


def _edges(plan: Plan, params: Mapping[str, Any]) -> Any:
    return decode_edges(plan, params) if plan.edges else None
