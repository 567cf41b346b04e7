"""Which torch class each kind of layer and of scalar map has, from its spec class.

A torch class says itself what it is for, `@registers(Spline)`, and is found by that alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nfopt.layers import Tagged, kind_of

T = TypeVar("T", bound=type)

KINDS: dict[type[Tagged], type] = {}
"""Torch classes by spec class, as `registers` entered them."""


def registers(*specs: type[Tagged]) -> Callable[[T], T]:
    """Make the decorated class the torch class of these kinds.

    Raises:
        ValueError: If one of them has another one.
    """

    def bind(made: T) -> T:
        for spec in specs:
            if spec in KINDS:
                raise ValueError(f"Kind {kind_of(spec)!r} has a torch class: {KINDS[spec]}.")
            KINDS[spec] = made
        return made

    return bind


def torch_class(spec: Tagged) -> Any:
    """Give the torch class of a layer or a map.

    Raises:
        ValueError: If its kind has none.
    """
    try:
        return KINDS[type(spec)]
    except KeyError:
        raise ValueError(
            f"Kind {spec.kind!r} has no torch class: decorate one with"
            f" `@registers({type(spec).__name__})`."
        ) from None
