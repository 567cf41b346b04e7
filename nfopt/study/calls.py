"""The arguments of a call in Python, looked at before any work: a wrong type is one line."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Set
from math import inf
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from nfopt.storage.url import mask_text

P = ParamSpec("P")
R = TypeVar("R")
Check = Callable[[Any], bool]


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Check the keyword arguments of a public function by their names.

    Raises:
        TypeError: If one is not what `_KINDS` says; None, which stands for a default, always is.
    """

    @functools.wraps(function)
    def call(*args: P.args, **given: P.kwargs) -> R:
        for name, value in given.items():
            what, fits = _KINDS.get(name, ("", _anything))
            if value is not None and not fits(value):
                raise TypeError(f"`{name}` must be {what}, got {_short(value)}.")
        return function(*args, **given)

    return call


def written(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    """Write down how a call was made, passwords masked: what made a flow is kept with it.

    Args:
        function: A public one.
        given: Its arguments.

    Returns:
        The command line where nfopt runs as a command, else the call in Python, without defaults.
    """
    if (line := command_line()) is not None:
        return mask_text(line, given.get("storage"))
    given = {**given, **given.get("data_options", {})}
    words = []
    for name, parameter in inspect.signature(function).parameters.items():
        value = given.get(name)
        if value is None or callable(value) or value is parameter.default:
            continue
        said = repr(os.fspath(value) if isinstance(value, os.PathLike) else value)
        plain = isinstance(value, str | bool | int | float | os.PathLike)
        said = said if plain or (_words(value) and len(said) <= 200) else name
        words.append(said if parameter.kind is not parameter.KEYWORD_ONLY else f"{name}={said}")
    return mask_text(f"nfopt.{function.__name__}({', '.join(words)})", given.get("storage"))


def command_line() -> str | None:
    """The command that this process runs, or None if it is not one of nfopt."""
    program = Path(sys.argv[0] if sys.argv else "")
    if program.stem == "nfopt" or program.parts[-2:] == ("nfopt", "__main__.py"):
        return shlex.join(["nfopt", *sys.argv[1:]])
    return None


def _anything(value: Any) -> bool:
    return True


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < inf


def _switch(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _path(value: Any) -> bool:
    return isinstance(value, str | os.PathLike) and str(value) != ""


def _columns(value: Any) -> bool:
    """Tell whether a value names columns; a set has no order, and a mapping is something else."""
    if isinstance(value, bytes | bool | float | Mapping | Set):
        return False
    if isinstance(value, str | int | np.integer):
        return True
    return isinstance(value, Iterable) and all(
        isinstance(one, str | int | np.integer) and not isinstance(one, bool) for one in value
    )


def _spread(value: Any) -> bool:
    return isinstance(value, bool | Mapping) or _columns(value)


def _words(value: Any) -> bool:
    several = isinstance(value, list | tuple) and all(isinstance(one, str) for one in value)
    return several or isinstance(value, str)


def _lines(value: Any) -> bool:
    paths = isinstance(value, list | tuple) and all(_path(one) for one in value)
    return paths or (_several(value) and not isinstance(value, list | tuple))


def _several(value: Any) -> bool:
    return not isinstance(value, int | float | bytes | Set) and (
        hasattr(value, "__iter__") or isinstance(value, os.PathLike) or hasattr(value, "to_json")
    )


def _short(value: object) -> str:
    text = repr(value).replace("\n", " ")
    return text if len(text) <= 40 else text[:37] + "..."


_COUNT = ("a whole number of at least 1", _whole)
_SWITCH = ("True or False", _switch)
_FOLDER = ("a path", _path)
_CALLED = ("a function", callable)
_WORD = ("a word", lambda value: isinstance(value, str))
_COLUMNS = ("a column's name or position, or a list of them", _columns)
_FLOWS = ("a FlowSpec, a JSON file, or a list of them", _several)

_KINDS: dict[str, tuple[str, Check]] = {
    "members": _COUNT,
    "workers": _COUNT,
    "lease": ("a positive number of seconds", _seconds),
    "drop_rows": _SWITCH,
    "strict": _SWITCH,
    "pictures": _SWITCH,
    "report": _SWITCH,
    "out": _FOLDER,
    "artifacts": _FOLDER,
    "on_event": _CALLED,
    "on_warning": _CALLED,
    "should_stop": _CALLED,
    "sampler": _WORD,
    "encoding": _WORD,
    "engine": _WORD,
    "objectives": ("a list of words", _words),
    "columns": _COLUMNS,
    "context": _COLUMNS,
    "log": _COLUMNS,
    "dequantise": ("True, False, columns, or a dict of column: step", _spread),
    "bounds": ("a dict of column: (low, high)", lambda value: isinstance(value, Mapping)),
    "space": ("a kind, a TOML file, limits or a SearchSpace", _lines),
    "initial": _FLOWS,
    "flow": _FLOWS,
}
