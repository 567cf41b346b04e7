"""What each layer of a searched flow may be, and the flow that a choice for every layer stands for.

    options = options_of("types", features=10, width=64)       # four options a layer
    spec_of(options, (0, 1, 0), features=10)                   # a FlowSpec of three layers

A place is a layer's position in the search, from 0. An option may look different at odd places (a
coupling's mask), so it holds variants that alternate. `identity` is an empty option: with it, depth
is searched too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from nfopt.autonf.objective import MOST_PATHS
from nfopt.autonf.settings import Settings
from nfopt.designs import parity
from nfopt.layers import LAYERS, MAPS, map_of
from nfopt.masks import letters
from nfopt.spec import (
    LU,
    Activation,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Layer,
    Reverse,
    ScalarMap,
)

Path = tuple[int, ...]
"""A choice for every place: an index into the options, or `NOTHING`."""

NOTHING = -1  # in a path: no layer here (yet); costs nothing and does nothing

PRESETS = {
    "simple": ("planar", "radial"),
    "types": (
        "affine-autoregressive",
        "spline-autoregressive",
        "affine-coupling",
        "spline-coupling",
    ),
}
"""The published sets of options (after Wang et al.): of its first and of its second experiment."""

Mixing = Literal["reverse_lu", "lu"]
"""What stands before each autoregressive or coupling layer: as published, or as in the recipes."""


@dataclass(frozen=True)
class Option:
    """One thing that a layer may be.

    Attributes:
        name: For people, histories and cost tables.
        variants: Layers at place 0, 1, ..., in turn; empty layers are the identity.
    """

    name: str
    variants: tuple[tuple[Layer, ...], ...]

    def at(self, place: int) -> tuple[Layer, ...]:
        """Return the layers at a place."""
        return self.variants[place % len(self.variants)]

    @property
    def idle(self) -> bool:
        """Whether it does nothing."""
        return all(isinstance(layer, Identity) for layer in chain(*self.variants))


def options_of(
    names: str | Sequence[str],
    features: int,
    *,
    width: int = 64,
    hidden_layers: int = 2,
    bins: int = 8,
    activation: Activation = "silu",
    mixing: Mixing = "reverse_lu",
) -> tuple[Option, ...]:
    """Make options from their names.

    Args:
        names: Any of `KINDS` and `PRESETS`; a text may hold several with commas between.
        features: D.
        width: Of the conditioners.
        hidden_layers: Of the conditioners.
        bins: Of the splines.
        activation: Of the conditioners.
        mixing: Before each autoregressive or coupling layer: "reverse_lu" as published, or "lu"
            with orders that turn from place to place, as every `SearchSpace` has it.

    Raises:
        ValueError: If a name is unknown or an option can't be built for so many features.
    """
    words = names.split(",") if isinstance(names, str) else list(names)
    wanted: list[str] = []
    for word in (word.strip() for word in words):
        wanted += PRESETS.get(word, (word,) if word else ())
    net = Conditioner(width=width, hidden_layers=hidden_layers, activation=activation)
    found = []
    for name in dict.fromkeys(wanted):
        if name not in KINDS:
            known = ", ".join([*KINDS, *PRESETS])
            raise ValueError(f"`options` must be of {known}; got {name!r}.")
        if name.endswith("coupling") and features < 2:
            raise ValueError(
                f"`options` has {name!r}, which needs at least 2 features; the data has {features}."
            )
        found.append(Option(name, KINDS[name](features, net, bins, mixing)))
    return check_options(found)


def check_options(options: Sequence[Option], features: int | None = None) -> tuple[Option, ...]:
    """Refuse what can't be searched.

    Args:
        options: Of every layer.
        features: D, or None if not yet known.

    Raises:
        ValueError: If there is none, two share a name, or one can't be built for D.
    """
    if not options:
        raise ValueError("`options` must name at least two options for a layer, got none.")
    names = [option.name for option in options]
    if len(set(names)) < len(names):
        raise ValueError(f"`options` must have different names, got {', '.join(names)}.")
    for option in options:
        if not option.variants:
            raise ValueError(f"`options` has {option.name!r} without variants: give it layers.")
        for layers in option.variants if features is not None else ():
            try:
                FlowSpec(features=features or 1, layers=layers)
            except ValueError as error:
                raise ValueError(
                    f"`options` has {option.name!r}, which can't be built: {error}"
                ) from None
    return tuple(options)


def layers_of(options: Sequence[Option], path: Path) -> tuple[Layer, ...]:
    """Put the layers of a path one after the other, places counted without the idle ones.

    So the roles of couplings alternate also where a place does nothing, and equal sequences of
    options are equal flows.
    """
    chosen = [k for k in path if k != NOTHING and not options[k].idle]
    return tuple(chain.from_iterable(options[k].at(place) for place, k in enumerate(chosen)))


def spec_of(
    options: Sequence[Option], path: Path, features: int, context_features: int = 0
) -> FlowSpec:
    """Return the flow that a path stands for, as a flow of its own."""
    return FlowSpec(
        features=features, layers=layers_of(options, path), context_features=context_features
    )


def path_of(options: Sequence[Option], spec: FlowSpec, places: int) -> Path:
    """Find the path that is nearest to a flow: by kind of layer and of map, in their order.

    Mixing layers, widths and masks are not looked at. Layers beyond the places are left out; where
    the flow has fewer, or a kind that no option has, the place says `NOTHING`.
    """
    kinds = [_kind(option.at(0)) for option in options]
    seen = [kind for layer in spec.layers if (kind := _kind((layer,))) is not None]
    path = [kinds.index(kind) if kind in kinds else NOTHING for kind in seen[:places]]
    idle = next((k for k, option in enumerate(options) if option.idle), NOTHING)
    return (*path, *[idle] * (places - len(path)))


def _kind(layers: Sequence[Layer]) -> tuple[str, str] | None:
    """Name what an option is searched for: its last layer that is no linear mixing."""
    for layer in reversed(layers):
        if not layer.mixing and not isinstance(layer, Elementwise | Identity):
            scalar = map_of(layer)
            return layer.kind, "" if scalar is None else scalar.kind
    return None


# ------------------------------------------------------------------------------ the table of kinds

Variants = tuple[tuple[Layer, ...], ...]
Make = Callable[[int, Conditioner, int, Mixing], Variants]


def _autoregressive(scalar_map: Callable[[int], ScalarMap]) -> Make:
    def make(features: int, net: Conditioner, bins: int, mixing: Mixing) -> Variants:
        forth = tuple(range(features))
        if mixing == "lu":
            orders: tuple[tuple[int, ...], ...] = (forth, forth[::-1])
            before: tuple[Layer, ...] = (LU(),)
        else:
            orders, before = (forth,), (Reverse(), LU())
        return tuple(
            (*before, Autoregressive(order=order, map=scalar_map(bins), conditioner=net))
            for order in orders
        )

    return make


def _coupling(scalar_map: Callable[[int], ScalarMap]) -> Make:
    """Parity masks whose roles swap from place to place.

    With an even D the reversal before the layer swaps them already; with an odd D it does not.
    """

    def make(features: int, net: Conditioner, bins: int, mixing: Mixing) -> Variants:
        swapped = mixing == "reverse_lu" and features % 2 == 0
        before: tuple[Layer, ...] = (LU(),) if mixing == "lu" else (Reverse(), LU())

        masks = letters(parity(1 if swapped else 2, features))
        return tuple(
            (*before, Coupling(mask=mask, map=scalar_map(bins), conditioner=net)) for mask in masks
        )

    return make


def _plain(layer: Layer) -> Make:
    return lambda features, net, bins, mixing: ((layer,),)


def _scalar_map(spec: Any) -> Callable[[int], ScalarMap]:
    """Make a scalar map with so many bins, if it has bins."""
    return lambda bins: spec(bins=bins) if "bins" in spec.__struct_fields__ else spec()


def _kinds() -> dict[str, Make]:
    """Name what can be searched: layers without fields, and those with each scalar map."""
    plain: dict[str, Any] = {
        name: spec
        for name, spec in LAYERS.items()
        if spec.search is not None and not spec.__struct_fields__ and spec is not Identity
    }
    maps = {name: _scalar_map(spec) for name, spec in MAPS.items() if spec.search is not None}
    mapped = {"autoregressive": _autoregressive, "coupling": _coupling}
    return {
        **{name: _plain(spec()) for name, spec in plain.items()},
        **{f"{name}-{kind}": make(maps[name]) for kind, make in mapped.items() for name in maps},
        "identity": _plain(Identity()),
    }


KINDS: dict[str, Make] = _kinds()
"""Every option that has a name."""


def check_searched(
    options: Sequence[Option], features: int, settings: Settings
) -> tuple[Option, ...]:
    """Refuse options that leave nothing to search, or more paths than memory holds.

    Raises:
        ValueError: In one line.
    """
    options = check_options(options, features)
    if len(options) == 1:
        raise ValueError(
            f"`options` has one option, {options[0].name!r}: a search over it is trivial. Add"
            " another, or 'identity' to search the depth."
        )
    block = len(settings.blocks[0])
    paths = len(options) ** block
    needed = settings.estimator == "exact" or settings.objective == "mixture"
    if needed and paths > MOST_PATHS:
        most = max((b for b in range(1, block) if len(options) ** b <= MOST_PATHS), default=0)
        other = "" if settings.objective == "mixture" else "give estimator 'sampled', or "
        raise ValueError(
            f"`estimator` 'exact' would hold {len(options)}^{block} = {paths} paths at once, at"
            f" most {MOST_PATHS}: {other}a `block` of at most {most}."
        )
    return options
