"""SearchSpace: what a study searches, from data and limits, as plain data stored with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from nfopt.space.assemble import build
from nfopt.space.domains import Domain, Value
from nfopt.space.guide import Guide
from nfopt.space.inverse import params_of, split, traits
from nfopt.space.limits import (
    KEYS,
    SEARCHED_ORDERS,
    Limits,
    check_kind,
    check_limits,
    read_given,
)
from nfopt.space.plan import Plan
from nfopt.space.use import idle
from nfopt.spec import Autoregressive, Coupling, FlowSpec, Recipe, TrainSpec

if TYPE_CHECKING:
    import optuna

VERSION = 1
KEPT = ("clip", "patience", "steps", "optimiser", "schedule")
"""What is searched only if a user says so; by default it is the first recipe's."""


class SearchSpace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """The flows, trainings and marginal maps that a study chooses from.

        space = SearchSpace.for_data(values, kind="full", limits={"depth": [1, 4]})
        recipe = space.suggest(trial)         # recipe.flow, recipe.train, recipe.marginals
        study.enqueue_trial(space.params_of(recipe))

    Every value of every parameter gives a valid flow, and every trial has the same parameters:
    what a flow does not use is ignored. Frozen, JSON both ways.

    Attributes:
        kind: `coupling`, `layers`, `adjacency` or `full`.
        features: D.
        context_features: Columns that every conditioner also sees.
        limits: By key what the parameters may be; all keys that the kind has.
        train: What the limits say nothing of.
        guide: Orders, rankings and masks from the data's dependence, where they are needed.
    """

    kind: str
    features: int
    context_features: int = 0
    limits: dict[str, tuple[bool | int | float | str, ...]]
    train: TrainSpec
    guide: Guide | None = None
    version: int = VERSION

    @classmethod
    def create(
        cls,
        features: int,
        rows: int,
        *,
        kind: str | None = None,
        context_features: int = 0,
        limits: Mapping[str, Any] | None = None,
        recipes: Iterable[Recipe] = (),
        guide: Guide | None = None,
    ) -> SearchSpace:
        """Make a space from the shape of the data and a user's limits.

        Args:
            features: D, at least 1.
            rows: Training rows; small tables have small batches to choose from.
            kind: By default what `limits` say, else `full`.
            context_features: Columns that every conditioner also sees.
            limits: By key a value, `[least, greatest]` or a list of choices; see `KEYS`.
            recipes: Flows that the space should have: limits that the user did not give are
                widened to them, and the first one's training is kept where nothing is searched.
            guide: What the data say; needed by kinds `adjacency` and `full` (from 3 features on),
                and by the orders and masks named `dependence`.

        Raises:
            ValueError: On a wrong limit, a kind that needs more features, a missing guide.
        """
        kind, own = read_given(kind, limits)
        known = list(recipes)
        merged = {
            **{key: rule.default for key, rule in KEYS.items() if kind in rule.kinds},
            **_defaults(kind, features, rows, context_features, own),
        }
        if known:
            merged |= {key: KEYS[key].read(key, getattr(known[0].train, key)) for key in KEPT}
        for recipe in known:
            merged = _widened(merged, recipe)
        merged |= own
        _check(kind, features, merged, guide)
        if guide is not None:
            needed = merged.get("measure", ())
            if merged.get("edges") == (True,):
                needed = needed[:1]  # edges have no measure, but are drawn by one
            ranks = {name: rows for name, rows in guide.ranks.items() if name in needed}
            guide = msgspec.structs.replace(guide, ranks=ranks)
        train = known[0].train if known else TrainSpec()
        return cls(
            kind=kind,
            features=features,
            context_features=context_features,
            limits=merged,
            train=train,
            guide=guide,
        )

    @classmethod
    def for_data(
        cls,
        values: NDArray[np.floating],
        *,
        kind: str | None = None,
        context_features: int = 0,
        limits: Mapping[str, Any] | None = None,
        recipes: Iterable[Recipe] = (),
    ) -> SearchSpace:
        """Make a space for training data; see `create`.

        Args:
            values: Training rows, shape (n, D), finite. Only the ranks in each column matter.
            kind: As in `create`.
            context_features: As in `create`.
            limits: As in `create`.
            recipes: As in `create`.

        Raises:
            ValueError: As `create`.
        """
        rows, features = values.shape
        wanted = kind or (limits or {}).get("kind") or "full"
        check_kind(wanted)
        depth = check_limits(wanted, {k: v for k, v in (limits or {}).items() if k == "depth"})
        layers = int(depth.get("depth", KEYS["depth"].default)[1])
        return cls.create(
            features,
            rows,
            kind=kind,
            context_features=context_features,
            limits=limits,
            recipes=recipes,
            guide=Guide.measure(values, layers),
        )

    @cached_property
    def plan(self) -> Plan:
        """The parameters, derived from the limits."""
        return Plan(self.kind, self.features, self.limits, self.guide)

    @property
    def parameters(self) -> dict[str, Domain]:
        """What every trial is asked for, by name, always the same."""
        return self.plan.parameters

    @property
    def shape_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that decide tensor shapes, batch size and steps.

        Trials that agree on these train as one program.
        """
        return self.plan.shape_parameters

    @property
    def mask_bits(self) -> int:
        """Bits of masks and edges under search: parameters, with the encoding `bits`."""
        return sum(self.plan.genes.values())

    def suggest(self, trial: optuna.trial.BaseTrial) -> Recipe:
        """Ask a trial of any sampler for a recipe. Never fails."""
        return self.build({name: d.suggest(trial, name) for name, d in self.parameters.items()})

    def build(self, params: Mapping[str, Value]) -> Recipe:
        """Build what a trial's parameters stand for.

        Raises:
            ValueError: If a parameter is missing or out of its range.
        """
        return build(self.plan, params, self.context_features, self.train)

    def params_of(self, recipe: Recipe) -> dict[str, Value]:
        """Find the parameters of a recipe, to enqueue it: `build` makes it from them.

        What the flow does not use gets a middle value. What the space holds fixed of the training
        and the marginal maps is not looked at; a weight decay of 0 in a logarithmic range is its
        least value.

        Raises:
            ValueError: If the space does not have it, naming what is outside.
        """
        return params_of(self.plan, recipe, self.context_features)

    def idle(self, params: Mapping[str, Value]) -> frozenset[str]:
        """Return the names of the parameters that the flow of these does not depend on."""
        return idle(self.plan, params)

    def encoded(self, encoding: str) -> SearchSpace:
        """Return the same space with masks and edges written `packed` or in `bits`."""
        if "encoding" not in self.limits:
            return self
        limits = self.limits | check_limits(self.kind, {"encoding": encoding})
        return msgspec.structs.replace(self, limits=limits)

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Return the parameters as Optuna's distributions."""
        return {name: domain.distribution() for name, domain in self.parameters.items()}

    def genome(self, flow: FlowSpec) -> str:
        """Write the structure under search in hex: equal for equal flows, whatever the encoding.

        For each layer up to the greatest depth its kind (two digits, 00 where there is none), then
        for a coupling the bits of `T` and of `I`, for an autoregressive layer its adjacency row by
        row. Mixing layers do not count.
        """
        parts = []
        for _, layer in split(flow):
            if isinstance(layer, Coupling):
                letters = np.array(list(layer.mask))
                bits, number = np.concatenate([letters == "T", letters == "I"]), 1
            elif isinstance(layer, Autoregressive):
                bits, number = layer.adjacency().ravel(), 2
            else:
                bits, number = np.zeros(0, dtype=bool), 3
            parts.append(f"{number:02x}{np.packbits(bits).tobytes().hex()}")
        return "".join(parts + ["00"] * (self.plan.depth - len(parts)))

    def to_json(self) -> str:
        """Write the canonical JSON: the same space gives the same bytes."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> SearchSpace:
        """Read what `to_json` wrote.

        Raises:
            ValueError: On another version, an unknown field, or limits that `create` would refuse.
        """
        try:
            raw = msgspec.json.decode(text)
            version = raw.get("version") if isinstance(raw, dict) else None
            if version != VERSION:
                raise ValueError(
                    f"`version` {version!r} of a SearchSpace is not known to this nfopt."
                )
            if isinstance(raw.get("limits"), dict):  # before there was a choice
                raw["limits"].setdefault("marginals", ["standardise"])
            space = msgspec.convert(raw, cls)
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            raise ValueError(f"SearchSpace JSON can't be read: {error}") from None
        check_limits(space.kind, space.limits)
        missing = {key for key, rule in KEYS.items() if space.kind in rule.kinds} - set(
            space.limits
        )
        if missing:
            raise ValueError(f"SearchSpace JSON can't be read: no limit `{min(missing)}`.")
        return space


def _defaults(kind: str, features: int, rows: int, context_features: int, own: Limits) -> Limits:
    """Defaults that depend on the data's shape or on what the user limited."""
    found: Limits = {"batch_size": _batches(rows)}
    if kind in ("adjacency", "full"):
        found["parents"] = (1, max(features - 1, 1))
    if kind in ("coupling", "full") and own.get("idle") == (True,):
        found["pairs"] = (False,)  # what is idle in one layer needn't be so in the next
    if set(own.get("orders", ())) & set(SEARCHED_ORDERS):
        found["edges"] = (True,)  # an order that is searched is the order of edges
    if kind == "layers":
        found["mixing"] = ("lu", "permutation_lu", "permutation", "none")
    if features == 1:
        found["mixing"] = ("none",)
        if kind in ("layers", "full"):
            found["layers"] = ("autoregressive",) if context_features else ("elementwise",)
    return found


def _batches(rows: int) -> tuple[int, ...]:
    """Powers of 2 from 128 to 1,024; for small tables from a 16th to half of the rows."""
    low, high = min(128.0, rows / 16), min(1024.0, rows / 2)
    sizes = [1 << power for power in range(4, 11)]
    return tuple(size for size in sizes if low <= size <= high) or (16,)


def _widened(limits: Limits, recipe: Recipe) -> Limits:
    """Reach out to what a recipe has."""
    wide = dict(limits)
    for key, values in traits(recipe).items():
        for value in values if key in wide and key not in KEPT else ():
            wide[key] = KEYS[key].widen(wide[key], value)
    return wide


def _check(kind: str, features: int, limits: Limits, guide: Guide | None) -> None:
    """Refuse what doesn't fit together."""
    layers = limits.get("layers", ("coupling",) if kind == "coupling" else ("autoregressive",))
    if features == 1 and "coupling" in layers:
        raise ValueError(
            "`kind` 'coupling' needs at least 2 features, not 1: a coupling transforms some and "
            "conditions on others. Use 'full', or `layers` without 'coupling'."
        )
    if limits.get("idle") == limits.get("pairs") == (True,):
        raise ValueError("`pairs` can't be true where `idle` is: give `pairs` = false.")
    if "parents" in limits and features > 1 and int(limits["parents"][0]) > features - 1:
        raise ValueError(
            f"`parents` is an empty range for {features} features: {list(limits['parents'])}; a "
            f"feature has at most {features - 1}."
        )
    free = set(limits.get("orders", ())) & set(SEARCHED_ORDERS)
    if free and limits["edges"] == (False,):
        raise ValueError("`edges` can't be false where `orders` are searched.")
    if free and free != set(limits["orders"]):
        raise ValueError(
            f"`orders` must be of {' and '.join(SEARCHED_ORDERS)} alone where one is, not "
            f"{', '.join(map(str, limits['orders']))}."
        )
    for key in ("orders", "masks"):
        named = any("dependence" in str(choice) for choice in limits.get(key, ()))
        used = "autoregressive" if key == "orders" else "coupling"
        if named and guide is None and features > 1 and used in layers:
            raise ValueError(
                f"`guide` must be given for `{key}` by dependence: use SearchSpace.for_data."
            )
    searched = kind in ("adjacency", "full") and "autoregressive" in layers
    if searched and guide is None and features > 2 and limits["edges"] == (False,):
        raise ValueError("`guide` must be given to rank parents: use SearchSpace.for_data.")
    if searched and guide is not None and features > 2 and limits["edges"] == (False,):
        for measure in limits["measure"]:
            if measure not in guide.ranks:
                raise ValueError(f"`guide` must have the measure {measure!r}.")
    if guide is not None and len(guide.order) != features:
        raise ValueError(f"`guide` is for {len(guide.order)} features, the space has {features}.")


msgspec.json.Decoder(SearchSpace)  # read now: two threads that do it at once crash msgspec
