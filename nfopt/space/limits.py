"""What a user may limit: the keys, what each may be, and their defaults.

A limit is a single value (held fixed), a range `[least, greatest]`, or a list of choices:

    kind = "full"
    depth = [1, 10]
    width = 64
    maps = ["affine", "spline"]
    learning_rate = [1e-4, 1e-2]
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from nfopt.data import MARGINALS, check_marginals
from nfopt.layers import BASES, LAYERS, MAPS, LayerKind, MapKind
from nfopt.space.domains import Choice, Domain, Integer, Real, Value

Kind = Literal["coupling", "layers", "adjacency", "full"]
KINDS: tuple[str, ...] = get_args(Kind)
Limit = tuple[Value, ...]
Limits = dict[str, Limit]

_NETS = frozenset(KINDS)
_MASKED = frozenset({"coupling", "full"})
_MIXED = frozenset({"layers", "full"})
_ORDERED = frozenset({"adjacency", "full"})

ORDERS = ("given", "reverse", "dependence", "dependence_reverse")
RANDOM_ORDERS = tuple(f"random_{number}" for number in range(1, 17))
SEARCHED_ORDERS = ("searched", "searched_reverse")  # one free order, and the same backwards


@dataclass(frozen=True)
class Span:
    """A limit that is a range."""

    least: float
    greatest: float
    default: Limit
    whole: bool = False
    log: bool = False
    kinds: frozenset[str] = _NETS

    def read(self, key: str, given: Any) -> Limit:
        """Check what a user gave; a single number is a range of one.

        Raises:
            ValueError: If it is no range, an empty one, or reaches too far.
        """
        pair = [given, given] if not isinstance(given, list | tuple) else list(given)
        what = "whole numbers" if self.whole else "numbers"
        fine = (int,) if self.whole else (int, float)
        if len(pair) != 2 or any(isinstance(x, bool) or not isinstance(x, fine) for x in pair):
            raise ValueError(f"`{key}` must be [least, greatest] in {what}, or one, not {given!r}.")
        low, high = pair if self.whole else (float(pair[0]), float(pair[1]))
        if low > high:
            raise ValueError(f"`{key}` is an empty range: {given!r}; give [least, greatest].")
        if not (self.least <= low and high <= self.greatest):
            raise ValueError(
                f"`{key}` must be within {self.least:g} to {self.greatest:g}, not {given!r}."
            )
        return (low, high)

    def widen(self, limit: Limit, value: Value) -> Limit:
        """Reach out to a value."""
        if self.log and value == 0:
            return limit
        return (min(limit[0], value), max(limit[1], value))

    def domain(self, limit: Limit) -> Domain:
        """Say what the parameter may be."""
        low, high = limit
        log = self.log and float(low) > 0
        return (
            Integer(int(low), int(high), log) if self.whole else Real(float(low), float(high), log)
        )


@dataclass(frozen=True)
class Options:
    """A limit that is a list of choices, a single one if `one`; of counts if `among` is empty."""

    among: tuple[Value, ...]
    default: Limit
    one: bool = False
    kinds: frozenset[str] = _NETS

    def read(self, key: str, given: Any) -> Limit:
        """Check what a user gave; a single value is a list of one.

        Raises:
            ValueError: If there is none, one twice, or one that is not known.
        """
        values = tuple(given) if isinstance(given, list | tuple) else (given,)
        if not values:
            raise ValueError(f"`{key}` is an empty list; give at least one choice.")
        for value in values:
            if not self.among:
                if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                    raise ValueError(f"`{key}` must be whole numbers above 0, not {value!r}.")
            elif not any(value is known or value == known for known in self._like(value)):
                near = get_close_matches(str(value), [str(known) for known in self.among], 1, 0.0)
                raise ValueError(
                    f"`{key}` must be among {_words(self.among)}, not {_word(value)}; "
                    f"did you mean {near[0] if near else _word(self.among[0])}?"
                )
        if len(set(values)) < len(values):
            raise ValueError(f"`{key}` names a choice twice: {given!r}.")
        if self.one and len(values) > 1:
            raise ValueError(
                f"`{key}` must be a single one of {_words(self.among)}, not {given!r}."
            )
        return values

    def _like(self, value: Value) -> list[Value]:
        # 1 == True, but it isn't what was meant.
        return [known for known in self.among if isinstance(known, bool) == isinstance(value, bool)]

    def widen(self, limit: Limit, value: Value) -> Limit:
        """Reach out to a value; to one that no space has there is no reaching out."""
        if value in limit or (self.among and value not in self.among):
            return limit
        return (*limit, value)

    def domain(self, limit: Limit) -> Domain:
        """Say what the parameter may be."""
        return Choice(limit)


def _searched(kinds: Mapping[str, type[LayerKind] | type[MapKind]]) -> Options:
    """Let a user choose among the kinds that can be searched; the default is what they say."""
    among = {name: kind.search for name, kind in kinds.items() if kind.search is not None}
    default = [(own.default, name) for name, own in among.items() if own.default is not None]
    return Options(tuple(among), tuple(name for _, name in sorted(default)))


@dataclass(frozen=True)
class Maps(Options):
    """A limit that is a list of marginal maps, each for all columns or one a column."""

    def read(self, key: str, given: Any) -> Limit:
        """Check what a user gave; a single value is a list of one.

        Raises:
            ValueError: If there is none, one twice, or one that is not known.
        """
        values = given if isinstance(given, list | tuple) else (given,)
        for value in values:
            if not isinstance(value, str) or "," not in value:
                super().read(key, value)
        written = tuple(check_marginals(value) for value in values)
        return super().read(key, written) if set(written) <= set(self.among) else written


_SWITCH = (False, True)

KEYS: dict[str, Span | Options] = {
    # structure
    "depth": Span(1, 64, (1, 8), whole=True),
    "layers": replace(_searched(LAYERS), kinds=_MIXED),
    "maps": _searched(MAPS),
    "mixing": Options(
        ("none", "reverse", "permutation", "lu", "reverse_lu", "permutation_lu"), ("lu", "none")
    ),
    "masks": Options(
        ("parity", "halves", "binary_code", "dependence"),
        ("parity",),
        kinds=frozenset({"layers"}),
    ),
    "pairs": Options(_SWITCH, (True,), one=True, kinds=_MASKED),
    "idle": Options(_SWITCH, (False,), one=True, kinds=_MASKED),
    "orders": Options(
        (*ORDERS, *SEARCHED_ORDERS, *RANDOM_ORDERS),
        (*ORDERS, *RANDOM_ORDERS[:4]),
        kinds=_ORDERED,
    ),
    "parents": Span(1, 1023, (1, 1023), whole=True, log=True, kinds=_ORDERED),
    "measure": Options(
        ("partial_correlation", "mutual_information"),
        ("partial_correlation", "mutual_information"),
        kinds=_ORDERED,
    ),
    "edges": Options(_SWITCH, (False,), one=True, kinds=_ORDERED),
    # scalar maps, conditioners, base
    "bins": Span(2, 32, (4, 16), whole=True),
    "bound": Span(1, 100, (5.0, 5.0)),
    "width": Span(1, 4096, (16, 256), whole=True, log=True),
    "hidden_layers": Span(1, 16, (1, 3), whole=True),
    "activation": Options(("relu", "elu", "silu", "gelu", "tanh"), ("relu", "silu")),
    "residual": Options(_SWITCH, _SWITCH),
    "base": Options(tuple(BASES), ("normal",)),
    # the data
    "marginals": Maps(tuple(MARGINALS), ("asinh", "standardise", "quantile")),
    # training
    "learning_rate": Span(1e-7, 1, (3e-4, 1e-2), log=True),
    "batch_size": Options((), (128, 256, 512, 1024)),
    "weight_decay": Span(0, 10, (1e-6, 1e-1), log=True),
    "dropout": Span(0, 0.95, (0.0, 0.3)),
    "clip": Span(0, 1e6, (5.0, 5.0), log=True),
    "patience": Span(0, 1 << 31, (0, 0), whole=True),
    "steps": Span(1, 1 << 31, (4000, 4000), whole=True, log=True),
    "optimiser": Options(("adam", "adamw", "muon"), ("adamw",)),
    "schedule": Options(("cosine", "one_cycle", "constant", "trapezoid"), ("cosine",)),
    # how masks and edges are written
    "encoding": Options(("packed", "bits"), ("packed",), one=True, kinds=_MASKED | _ORDERED),
}

TRAINING = (
    "learning_rate", "batch_size", "weight_decay", "dropout", "clip", "patience", "steps",
    "optimiser", "schedule",
)  # fmt: skip


def check_kind(kind: str) -> None:
    """Raise ValueError unless it is one of `KINDS`."""
    if kind not in KINDS:
        near = get_close_matches(str(kind), KINDS, 1, 0.0)
        raise ValueError(
            f"`kind` must be {_words(KINDS)}, not {_word(kind)}; did you mean {near[0]}?"
        )


def check_limits(kind: str, given: Mapping[str, Any]) -> Limits:
    """Check a user's limits, key by key.

    Raises:
        ValueError: On a key that is unknown or of another kind, an empty range, a wrong value.
    """
    check_kind(kind)
    return {key: _rule(kind, key).read(key, value) for key, value in given.items()}


def read_given(kind: str | None, given: Mapping[str, Any] | None) -> tuple[str, Limits]:
    """Read a kind and a user's limits, which may name the kind too; "full" if neither does.

    Raises:
        ValueError: If the two kinds differ, or as `check_limits`.
    """
    own = dict(given or {})
    named = own.pop("kind", None)
    if kind is not None and named is not None and named != kind:
        raise ValueError(f"`kind` is {kind!r}, but the limits say {named!r}; drop one.")
    found = kind or named or "full"
    return found, check_limits(found, own)


def _rule(kind: str, key: str) -> Span | Options:
    known = [name for name, rule in KEYS.items() if kind in rule.kinds]
    if key in known:
        return KEYS[key]
    if key in KEYS:
        others = [other for other in KINDS if other in KEYS[key].kinds]
        raise ValueError(f"`{key}` is no limit of kind {kind!r}, only of {_words(others)}.")
    near = get_close_matches(key, known, 1, 0.0)[0]
    raise ValueError(f"`{key}` is no limit; did you mean `{near}`?")


def read_limits(path: str | Path) -> dict[str, Any]:
    """Read limits from a TOML file; the key `kind`, if there is one, names the kind of space.

    Raises:
        ValueError: If the file can't be read, or is not TOML. The keys are checked later.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"`space` file {str(path)!r} can't be read: {reason}.") from None


def parse_limits(lines: Iterable[str]) -> dict[str, Any]:
    """Read limits as they are written on a command line: `depth=[1,4]`, `maps=spline`.

    A value that is no TOML is a word, or several with commas between.

    Raises:
        ValueError: If there is no `=`.
    """
    limits: dict[str, Any] = {}
    for line in lines:
        key, equals, text = (part.strip() for part in line.partition("="))
        if not equals or not key:
            raise ValueError(f"`space` limit {line!r} must be written as key=value.")
        try:
            limits[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            words = [word.strip() for word in text.strip("[]").split(",")]
            limits[key] = words if len(words) > 1 else words[0]
    return limits


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _words(values: Iterable[Any]) -> str:
    return ", ".join(
        str(value).lower() if isinstance(value, bool) else str(value) for value in values
    )
