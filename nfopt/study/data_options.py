"""The options of a table, which `search`, `fit` and the studies' data share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar

from nfopt.data import SplitKind


class DataOptions(TypedDict, total=False):
    """How a table is read and split; what each is, stands in `nfopt.search`."""

    columns: Any
    context: Any
    header: bool | None
    separator: str | None
    decimal: str | None
    bounds: Mapping[str, tuple[float | None, float | None]] | None
    log: Any
    weights: Any
    groups: Any
    dequantise: Any
    drop_rows: bool
    strict: bool
    split: SplitKind | None


DEFAULTS: DataOptions = {"drop_rows": False, "strict": False}  # of others: None
OPTIONS = tuple([name for name in DataOptions.__annotations__ if name != "split"])

Function = TypeVar("Function", bound=Callable[..., Any])


def spelled_out(function: Function) -> Function:
    """Show each of the `DataOptions` in the signature of a function that takes them."""
    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=DEFAULTS.get(name),
            annotation=annotation,
        )
        for name, annotation in DataOptions.__annotations__.items()
    ]
    shown = signature.replace(parameters=[*own, *more])
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function
