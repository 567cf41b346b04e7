"""Plain data: frozen, hashable, JSON both ways; and the checks that its fields share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

import msgspec

Activation = Literal["relu", "elu", "silu", "gelu", "tanh"]

LEAST, GREATEST = 1e-3, 1e6  # of what a density is computed from in single precision


def check_range(name: str, value: int, low: int, high: int) -> None:
    """Raise ValueError unless low <= value <= high."""
    if not low <= value <= high:
        raise ValueError(f"`{name}` must be from {low} to {high}, got {value}.")


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise ValueError unless the value is one of a Literal's."""
    if value not in get_args(choices):
        raise ValueError(f"`{name}` must be one of {get_args(choices)}, got {value!r}.")


def settle(struct: msgspec.Struct, **values: Any) -> None:
    """Set fields of a frozen struct while it is made, so that equal specs have equal JSON."""
    for name, value in values.items():
        msgspec.structs.force_setattr(struct, name, value)


def indices(numbers: Iterable[int]) -> tuple[int, ...]:
    """Make a tuple of plain integers, also from NumPy's."""
    return tuple(int(number) for number in numbers)


class Plain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, hashable plain data; a field that it does not know is an error."""


class Tagged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    """Plain data with a `kind` in its JSON."""

    @property
    def kind(self) -> str:
        """The name of this kind, as in the JSON."""
        return kind_of(type(self))

    def refuse(self, what: str) -> NoReturn:
        """Raise the ValueError of a kind that does not say something of itself."""
        raise ValueError(f"Kind {self.kind!r} says no {what}: its spec class must.")


def kind_of(spec: type[Tagged]) -> str:
    """Give the name of a kind, as in the JSON."""
    return str(spec.__struct_config__.tag)


@dataclass(frozen=True)
class Search:
    """How a search space has a kind; a kind without one is never searched.

    Attributes:
        default: Its place among the choices of the default space, from 1; None: only where a user
            asks for it.
    """

    default: int | None = None
