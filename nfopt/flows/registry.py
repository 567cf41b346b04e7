"""The torch classes of the kinds of layers and scalar maps, by spec class.

A torch class registers itself for its kinds: `@registers(Spline)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nfopt.layers import Tagged, kind_of

T = TypeVar("T", bound=type)

KINDS: dict[type[Tagged], type] = {}
"""Torch classes by spec class, filled by `registers`."""


def registers(*specs: type[Tagged]) -> Callable[[T], T]:
    """Make the decorated class the torch class of these kinds.

    Raises:
        ValueError: If one of them has a torch class already.
    """

    def bind(made: T) -> T:
        for spec in specs:
            if spec in KINDS:
                raise ValueError(f"Kind {kind_of(spec)!r} has a torch class: {KINDS[spec]}.")
            KINDS[spec] = made
        return made

    return bind


def torch_class(spec: Tagged) -> Any:
    """The torch class of a layer or a map.

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
