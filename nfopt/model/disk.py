"""A flow on disk: flow.safetensors (weights) and flow.json (all else); nothing is pickled."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file
from torch import Tensor

from nfopt.data import Preprocessing
from nfopt.files import remove_unfinished, replacing
from nfopt.layers.plain import check_range
from nfopt.model.weights_file import MOST_DESCRIBED, described_in, read_weights, weights_of
from nfopt.spec import FlowSpec

WEIGHTS = "flow.safetensors"
DESCRIPTION = "flow.json"
VERSION = 2
KNOWN = (1, 2)  # 1: one preprocessing for all members

# What a description can hold, so that any is read or refused in about a second.
_INDENTED = 1 << 20  # bytes up to which it is laid out for readers
_MOST_INFO = 4 << 20  # bytes
_MOST_MEMBERS = 1024
_MOST_LAYERS = 8192  # of all members
_MOST_COLUMNS = 1 << 17  # of all preprocessings
_DEEPEST = 64
_REASON = 300  # characters

UNWRITTEN = (OSError, SafetensorError)  # what a full disk or a read-only folder raises
_BROKEN = (SafetensorError, msgspec.MsgspecError, ValueError, OSError, RecursionError)


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """What flow.json holds, its parts not yet read: first they are counted.

    `maps` says which preprocessing each member has; without `shares` all members count alike.
    """

    members: list[msgspec.Raw]
    preprocessing: msgspec.Raw
    info: msgspec.Raw
    maps: list[int] = []
    shares: list[float] = []
    version: int = VERSION


class _Version(msgspec.Struct):
    """The version alone."""

    version: Any = 1


class _Layers(msgspec.Struct):
    """The layers of a member, not yet read."""

    layers: list[msgspec.Raw] = []


class _Columns(msgspec.Struct):
    """The columns of a preprocessing, not yet read."""

    columns: list[msgspec.Raw] = []
    context: list[msgspec.Raw] = []


for _kind in (_Description, _Version, _Layers, _Columns):
    msgspec.json.Decoder(_kind)  # read now: two threads that do it at once crash msgspec


@dataclass(frozen=True)
class Stored:
    """What the two files say: the parts that make a `Flow`."""

    specs: Sequence[FlowSpec]
    weights: Sequence[dict[str, Tensor]]
    preprocessings: Sequence[Preprocessing]
    info: dict[str, Any]
    shares: Sequence[float] | None = None


def save(home: Path, stored: Stored) -> None:
    """Write both files, each replaced in one step.

    The weights carry a copy of the description, so that whenever a crash comes, the directory
    holds a whole flow: the old one or this one.
    """
    tensors, text = _written(stored)
    remove_unfinished(home)
    with replacing(home / DESCRIPTION) as about, replacing(home / WEIGHTS) as weights:
        save_file(tensors, weights, metadata={DESCRIPTION: text})
        about.write_text(text + "\n", encoding="utf-8")


def save_elsewhere(home: Path, stored: Stored) -> Path:
    """Save a flow that can't be written into `home`: in the first HOME-2, HOME-3, ... that is free.

    Returns:
        That folder, or a temporary one where nothing can be written beside `home` either.

    Raises:
        OSError, SafetensorError: If there can't be one.
    """
    home = home.absolute()
    number = next(n for n in count(2) if not os.path.lexists(f"{home}-{n}"))
    beside = Path(f"{home}-{number}")
    try:
        save(beside, stored)
    except UNWRITTEN:
        with suppress(OSError):  # left empty
            beside.rmdir()
    else:
        return beside
    folder = Path(tempfile.mkdtemp(prefix=f"{home.name}-"))
    save(folder, stored)
    return folder


def dumps(stored: Stored) -> tuple[bytes, str]:
    """Give what the two files would hold: safetensors and JSON."""
    tensors, text = _written(stored)
    return save_bytes(tensors), text


def loads(weights: bytes, text: str) -> Stored:
    """Read what `dumps` gave.

    Raises:
        ValueError: If it is broken, or of a version that is not known.
    """
    try:
        description = _describe(text)
        specs, preprocessings, info = _read(description)
        tensors = weights_of(load_bytes(weights), specs)
    except _BROKEN as error:
        raise ValueError(f"the state of a flow can't be read: {_reason(error)}.") from None
    return Stored(specs, tensors, preprocessings, info, description.shares or None)


def _written(stored: Stored) -> tuple[dict[str, Tensor], str]:
    distinct = list(dict.fromkeys(stored.preprocessings))
    description = _Description(
        members=[msgspec.Raw(spec.to_json().encode()) for spec in stored.specs],
        preprocessing=_raw([msgspec.Raw(one.to_json().encode()) for one in distinct]),
        maps=[distinct.index(one) for one in stored.preprocessings],
        shares=list(stored.shares or ()),
        info=_raw({"versions": versions()} | stored.info),
    )
    encoded = msgspec.json.encode(description)
    text = (
        encoded if len(encoded) > _INDENTED else msgspec.json.format(encoded, indent=1)
    ).decode()
    if len(encoded) > MOST_DESCRIBED:
        raise ValueError(
            f"`flow` can't be saved: its description has {len(encoded) >> 20} MB, and can have"
            f" {MOST_DESCRIBED >> 20}."
        )
    tensors = {
        f"{member}.{name}": weight.cpu().contiguous()
        for member, weights in enumerate(stored.weights)
        for name, weight in weights.items()
    }
    return tensors, text


def load(path: Path) -> Stored:
    """Read what `save` wrote.

    Args:
        path: The directory, or one of the two files in it.

    Raises:
        ValueError: If a file is missing, broken, or of a version that is not known.
    """
    home = path.parent if path.name in (WEIGHTS, DESCRIPTION) else path
    for name in (DESCRIPTION, WEIGHTS):
        if not (home / name).is_file():
            raise ValueError(f"`path` {str(home)!r} holds no trained flow: {name} is missing.")
    try:
        text = _text(home / DESCRIPTION)
        description = _describe(text)
        carried = described_in(home / WEIGHTS, DESCRIPTION)
        if carried is not None and carried.strip() != text.strip():
            description = _describe(carried)  # a save was cut between its two files
        specs, preprocessings, info = _read(description)
        weights = read_weights(home / WEIGHTS, specs)
        return Stored(specs, weights, preprocessings, info, description.shares or None)
    except _BROKEN as error:
        raise unreadable(home, error) from None


def load_described(path: Path) -> Stored:
    """Read the description alone, without weights: of a directory, or a file by any name.

    Raises:
        ValueError: If it is missing, broken, or of a version that is not known.
    """
    file = path / DESCRIPTION if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"`path` {str(path)!r} is no description of a flow: there is no such file."
        )
    try:
        description = _describe(_text(file))
        specs, preprocessings, info = _read(description)
    except _BROKEN as error:
        raise unreadable(path, error) from None
    return Stored(specs, [], preprocessings, info, description.shares or None)


def _text(file: Path) -> str:
    size = file.stat().st_size
    if size > MOST_DESCRIBED:
        raise ValueError(f"{DESCRIPTION} has {size >> 20} MB, not {MOST_DESCRIBED >> 20} at most")
    return file.read_text(encoding="utf-8")


def unreadable(path: Path, why: Exception) -> ValueError:
    """Make the error of a flow that can't be read; one line, whatever the reason's length."""
    return ValueError(f"`path` {str(path)!r} can't be read as a flow: {_reason(why)}.")


def _reason(why: Exception) -> str:
    text = "nested too deeply" if isinstance(why, RecursionError) else " ".join(str(why).split())
    return (text if len(text) <= _REASON else f"{text[:_REASON]} ...").rstrip(".")


def _read(
    description: _Description,
) -> tuple[list[FlowSpec], list[Preprocessing], dict[str, Any]]:
    """Read specs, preprocessings and info, and see that they fit together."""
    specs, preprocessings = _specs(description.members), _preprocessings(description)
    check_fit(specs, preprocessings)
    return specs, preprocessings, _info(description.info)


def check_fit(specs: Sequence[FlowSpec], maps: Sequence[Preprocessing]) -> None:
    """Refuse specs and preprocessings, one a member, that do not fit together.

    Raises:
        ValueError: Saying which.
    """
    if len(maps) != len(specs) or len({one.rule for one in dict.fromkeys(maps)}) > 1:
        raise ValueError(
            "`preprocessing` must be one, or one a member that differ in their marginal maps"
            f" alone: got {len(maps)} for {len(specs)}."
        )
    wanted = (len(maps[0].columns), len(maps[0].context))
    for spec in specs:
        if (spec.features, spec.context_features) != wanted:
            raise ValueError(
                f"`specs` must have {wanted[0]} features and {wanted[1]} context features as"
                f" `preprocessing`, got {spec.features} and {spec.context_features}."
            )


def versions() -> dict[str, str]:
    """The versions that a flow is made with."""
    packages = {name: _version(name) for name in ("nfopt", "torch", "numpy", "optuna")}
    return packages | {"python": platform.python_version()}


@lru_cache(maxsize=16)
def _version(name: str) -> str:
    # kept: every trial asks, and reading a package's metadata takes longer than writing a trial
    return version(name)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _describe(text: str) -> _Description:
    """Read a description's outline, its version first: a later one may have other fields."""
    version = msgspec.json.decode(text, type=_Version).version
    if version not in KNOWN:
        known = f"this nfopt reads {' and '.join(map(str, KNOWN))}"
        raise ValueError(f"version {version!r} of {DESCRIPTION} is not known, {known}")
    return msgspec.json.decode(text, type=_Description)


def _specs(members: Sequence[msgspec.Raw]) -> list[FlowSpec]:
    """Read the members, once they are known to be few enough."""
    check_range("members", len(members), 1, _MOST_MEMBERS)
    layers = 0
    for member in members:
        layers += len(msgspec.json.decode(member, type=_Layers).layers)
        check_range("layers", layers, 0, _MOST_LAYERS)
    return [FlowSpec.from_json(bytes(member)) for member in members]


def _preprocessings(description: _Description) -> list[Preprocessing]:
    """Read the members' preprocessing; in version 1 they share one."""
    given, members = bytes(description.preprocessing), len(description.members)
    many = given.lstrip()[:1] == b"["
    each = msgspec.json.decode(given, type=list[msgspec.Raw]) if many else [given]
    check_range("preprocessing", len(each), 1, _MOST_MEMBERS)
    columns = 0
    for one in each:
        outline = msgspec.json.decode(one, type=_Columns)
        columns += len(outline.columns) + len(outline.context)
        check_range("columns", columns, 1, _MOST_COLUMNS)
    distinct = [Preprocessing.from_json(bytes(one).decode()) for one in each]
    maps = description.maps if many else [0] * members
    if len(maps) != members or not set(maps) <= set(range(len(distinct))):
        raise ValueError(f"`maps` must be one of {len(distinct)} a member, got {maps[:9]}")
    return [distinct[number] for number in maps]


def _info(given: msgspec.Raw) -> dict[str, Any]:
    """Read what else is said of a flow."""
    text = bytes(given)
    if len(text) > _MOST_INFO:
        raise ValueError(f"`info` has {len(text):,} bytes, not {_MOST_INFO:,} at most")
    info = msgspec.json.decode(text, type=dict[str, Any])
    layer: list[Any] = [info]
    for _ in range(_DEEPEST):
        layer = [
            part
            for one in layer
            if isinstance(one, dict | list)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
    if layer:
        raise ValueError(f"`info` is nested more than {_DEEPEST} deep")
    return info
