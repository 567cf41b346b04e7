"""Options of a command in groups: a dataclass for those that several commands take together."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints

from nfopt.cli import options as o
from nfopt.cli.reading import data_options, words


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take options in groups: typer sees each field of a dataclass as an option."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }
    shown = []
    for name, parameter in signature.parameters.items():
        if name not in groups:
            shown.append(parameter.replace(kind=parameter.KEYWORD_ONLY))
            continue
        kinds = get_type_hints(groups[name], include_extras=True)
        for field in fields(groups[name]):
            kind, default = kinds[field.name], field.default
            shown.append(
                inspect.Parameter(
                    field.name, parameter.KEYWORD_ONLY, default=default, annotation=kind
                )
            )

    def call(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    call.__name__, call.__doc__ = command.__name__, command.__doc__
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    call.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return call


@dataclass(frozen=True)
class TableOptions:
    """How a table is read."""

    columns: o.Columns = None
    context: o.Context = None
    bounds: o.Bounds = None
    log: o.Log = None
    weights: o.Weights = None
    split: o.Split = None
    dequantise: o.Dequantise = None
    header: o.Header = None
    separator: o.Separator = None
    decimal: o.Decimal = None
    drop_rows: o.DropRows = False
    strict: o.Strict = False

    def read(self) -> dict[str, Any]:
        """Give the arguments of `nfopt.search` and `nfopt.fit`.

        Raises:
            typer.BadParameter: If one is not written as it should be.
        """
        return data_options(**vars(self))


@dataclass(frozen=True)
class StudyOptions:
    """Which study `nfopt search` makes or goes on with, and how."""

    study: o.StudyName = None
    storage: o.Storage = None
    workers: o.Workers = 1
    engine: o.Engine = "local"
    artifacts: o.Artifacts = None
    lease: o.Lease = None
    space: o.Space = None
    sampler: o.Sampler = None
    encoding: o.Encoding = None
    objectives: o.Objectives = None
    initial: o.Initial = None

    def read(self) -> dict[str, Any]:
        """Give the arguments of `nfopt.search`.

        Raises:
            typer.BadParameter: If one is not written as it should be.
        """
        objectives = None if self.objectives is None else words(self.objectives, "objectives")
        initial = [str(path) for path in self.initial or ()]
        return vars(self) | {"objectives": objectives, "initial": initial}


AS_IT_IS, NEW_STUDY = TableOptions(), StudyOptions()
