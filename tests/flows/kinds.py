"""The tables of all scalar maps and of all kinds of layers: one line each, for every contract.

Each constructor makes the layers of one member; members differ in masks, orders and parents, in the
numbers of C's and T's too, and stack all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from nfopt.flows import Stack, build
from nfopt.spec import (
    LU,
    Additive,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Elementwise,
    FlowSpec,
    Identity,
    Layer,
    Normal,
    Permutation,
    Planar,
    Radial,
    Reverse,
    ScalarMap,
    SinhArcsinh,
    Spline,
    StudentT,
)

MEMBERS = 3

# tanh: a unit that is switched off for good would have no gradient
PLAIN = Conditioner(width=12, activation="tanh")
RESIDUAL = Conditioner(width=12, hidden_layers=3, activation="silu", residual=True)
ONE = Conditioner(width=12, hidden_layers=1, activation="gelu")
SPLINE = Spline(bins=4, bound=3.0)

Layers = tuple[Layer, ...]


def mask(features: int, member: int, letters: str = "CT") -> str:
    """A mask of any member: some have more C's, some more T's, each at least one of both."""
    row = [letters[(k * (member + 1) + k // 3) % len(letters)] for k in range(features)]
    row[member % features], row[(member + 1) % features] = "C", "T"
    return "".join(row)


def flipped(row: str) -> str:
    return row.translate(str.maketrans("CT", "TC"))


def order(features: int, member: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(member)
    return tuple(torch.randperm(features, generator=generator).tolist())


def parents(features: int, member: int) -> tuple[tuple[int, ...], ...]:
    """A sparse graph: each feature has at most two parents among those before it."""
    placed = order(features, member)
    chosen: list[tuple[int, ...]] = [()] * features
    for k, feature in enumerate(placed):
        chosen[feature] = tuple(
            {placed[j] for j in (k - 1 - member, k // 2 - member) if 0 <= j < k}
        )
    return tuple(chosen)


def couplings(features: int, member: int, scalar_map: ScalarMap, net: Conditioner) -> Layers:
    first = mask(features, member)
    return (
        Coupling(mask=first, map=scalar_map, conditioner=net),
        Coupling(mask=flipped(first), map=scalar_map, conditioner=net),
    )


def ordered(features: int, member: int, scalar_map: ScalarMap, net: Conditioner) -> Layers:
    return (Autoregressive(order=order(features, member), map=scalar_map, conditioner=net),)


def graphs(features: int, member: int, scalar_map: ScalarMap, net: Conditioner) -> Layers:
    if member == 0:  # orders and parents stack with each other
        return ordered(features, member, scalar_map, net)
    return (Autoregressive(parents=parents(features, member), map=scalar_map, conditioner=net),)


def mixed(features: int, member: int) -> Layers:
    """All that there is, couplings where there can be any."""
    middle: Layers = ()
    if features > 1:
        idle = mask(features, member, "CTI")
        middle = (
            Coupling(mask=idle, map=SPLINE, conditioner=RESIDUAL),
            Reverse(),
            Permutation(order=order(features, member + 10)),
            Coupling(mask=flipped(idle), map=Affine(), conditioner=PLAIN),
        )
    return (
        Permutation(order=order(features, member)),
        LU(),
        Elementwise(map=SPLINE),
        *middle,
        Identity(),
        Permutation(order=order(features, member + 20)),
        *graphs(features, member, SPLINE, PLAIN),
        Radial(),
        Reverse(),
        Planar(),
        Permutation(order=order(features, member + 30)),
    )


MAPS: dict[str, ScalarMap] = {
    "additive": Additive(),
    "affine": Affine(),
    "spline": SPLINE,
    "sinh_arcsinh": SinhArcsinh(),
}


def mapped(name: str, scalar_map: ScalarMap) -> dict[str, Callable[[int, int], Layers]]:
    """The layers that a scalar map can be in."""
    return {
        f"coupling {name}": lambda d, m: couplings(d, m, scalar_map, PLAIN),
        f"autoregressive {name}": lambda d, m: ordered(d, m, scalar_map, PLAIN),
        f"elementwise {name}": lambda d, m: (Elementwise(map=scalar_map),),
    }


KINDS: dict[str, Callable[[int, int], Layers]] = {
    "coupling affine residual": lambda d, m: couplings(d, m, Affine(), RESIDUAL),
    "coupling idle": lambda d, m: (
        Coupling(mask=mask(d, m, "CTI"), map=SPLINE, conditioner=ONE),
        Coupling(mask=flipped(mask(d, m, "ICT")), map=SPLINE, conditioner=ONE),
    ),
    "autoregressive of one layer": lambda d, m: ordered(d, m, Additive(), ONE),
    "autoregressive residual": lambda d, m: ordered(d, m, Affine(), RESIDUAL),
    "autoregressive parents": lambda d, m: graphs(d, m, Affine(), PLAIN),
    "autoregressive parents residual": lambda d, m: graphs(d, m, SPLINE, RESIDUAL),
    "autoregressive independent": lambda d, m: (
        Autoregressive(parents=((),) * d, map=SPLINE, conditioner=PLAIN),
    ),
    "planar": lambda d, m: (Planar(), Planar()),
    "radial": lambda d, m: (Radial(), Radial()),
    "permutation": lambda d, m: (Permutation(order=order(d, m)),),
    "reverse": lambda d, m: (Reverse() if m % 2 else Permutation(order=order(d, m)),),
    "lu": lambda d, m: (LU(), LU()),
    "identity": lambda d, m: (Identity(),),
    "no layers": lambda d, m: (),
    "mixed": mixed,
    "mixed, student t": mixed,
    **{key: make for name, scalar in MAPS.items() for key, make in mapped(name, scalar).items()},
}

CONDITIONAL = ("coupling", "autoregressive", "mixed")
CASES = [
    (kind, features, context)
    for kind in KINDS
    for features, context in ((1, 0), (2, 0), (7, 0), (64, 0), (1, 2), (7, 2))
    if (features > 1 or not kind.startswith("coupling"))
    and (context == 0 or kind.startswith(CONDITIONAL))
]
IDS = [f"{kind}, D {d}{', context' if x else ''}" for kind, d, x in CASES]


def spec_of(kind: str, features: int, context: int, member: int) -> FlowSpec:
    return FlowSpec(
        features=features,
        layers=KINDS[kind](features, member),
        context_features=context,
        base=StudentT(df=4.0) if "student" in kind else Normal(),
    )


def fresh(kind: str, features: int, context: int = 0) -> Stack:
    """Three members with their initial weights, in float64."""
    specs = [spec_of(kind, features, context, member) for member in range(MEMBERS)]
    generator = torch.Generator().manual_seed(7)
    (stack,) = build(specs, generator, dtype=torch.float64)
    return stack


def rows(count: int, features: int, context: int = 0) -> tuple[Tensor, Tensor | None]:
    """Skewed, curved data that no layer meets at its starting point, and its context."""
    generator = torch.Generator().manual_seed(count)
    noise = torch.randn(count, features + context, generator=generator, dtype=torch.float64)
    bent = torch.cat((noise[:, :1], noise[:, 1:] + 0.5 * noise[:, :-1] ** 2), 1)
    data = bent[:, context:] + 0.4 * (0.8 * bent[:, context:]).exp().clamp_max(6) - 0.3
    return data, noise[:, :context] if context else None


@cache
def trained(kind: str, features: int, context: int = 0) -> Stack:
    """The same after some steps of Adam."""
    stack = fresh(kind, features, context)
    x, given = rows(96, features, context)
    if stack.theta.numel() == 0:
        return stack
    optimiser = torch.optim.Adam([stack.theta], lr=0.03)
    for _ in range(16 if features < 64 else 8):
        optimiser.zero_grad()
        (-stack.log_prob(x, given).mean(1).sum()).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    optimiser.zero_grad()
    return stack
