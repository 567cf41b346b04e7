"""A flow on disk: flow.safetensors (weights) and flow.json (all else); nothing is pickled."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nfopt.data import Preprocessing
from nfopt.files import replacing
from nfopt.spec import FlowSpec

WEIGHTS = "flow.safetensors"
DESCRIPTION = "flow.json"
VERSION = 2
KNOWN = (1, 2)  # 1: one preprocessing for all members


class _Description(msgspec.Struct, forbid_unknown_fields=True):
    """What flow.json holds.

    `maps` says which preprocessing each member has; without `shares` all members count alike.
    """

    members: list[dict[str, Any]]
    preprocessing: dict[str, Any] | list[dict[str, Any]]
    info: dict[str, Any]
    maps: list[int] = []
    shares: list[float] = []
    version: int = VERSION


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
    distinct = list(dict.fromkeys(stored.preprocessings))
    description = _Description(
        members=[msgspec.json.decode(spec.to_json()) for spec in stored.specs],
        preprocessing=[msgspec.json.decode(one.to_json()) for one in distinct],
        maps=[distinct.index(one) for one in stored.preprocessings],
        shares=list(stored.shares or ()),
        info={"versions": versions()} | stored.info,
    )
    text = msgspec.json.format(msgspec.json.encode(description), indent=1).decode()
    tensors = {
        f"{member}.{name}": weight.cpu().contiguous()
        for member, weights in enumerate(stored.weights)
        for name, weight in weights.items()
    }
    with replacing(home / DESCRIPTION) as about, replacing(home / WEIGHTS) as weights:
        save_file(tensors, weights, metadata={DESCRIPTION: text})
        about.write_text(text + "\n", encoding="utf-8")


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
        text = (home / DESCRIPTION).read_text(encoding="utf-8")
        description = _describe(text)
        with safe_open(home / WEIGHTS, framework="pt") as file:
            carried = (file.metadata() or {}).get(DESCRIPTION, text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if carried.strip() != text.strip():  # a save was cut between its two files
            description = _describe(carried)
        specs = [FlowSpec.from_json(msgspec.json.encode(spec)) for spec in description.members]
        preprocessings = _preprocessings(description)
    except (SafetensorError, msgspec.MsgspecError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ValueError(f"`path` {str(home)!r} can't be read as a flow: {reason}.") from None
    weights: list[dict[str, Tensor]] = [{} for _ in specs]
    for name, tensor in tensors.items():
        member, _, weight = name.partition(".")
        if member.isdigit() and int(member) < len(specs):
            weights[int(member)][weight] = tensor
    return Stored(specs, weights, preprocessings, description.info, description.shares or None)


def versions() -> dict[str, str]:
    """The versions that a flow is made with."""
    packages = {name: _version(name) for name in ("nfopt", "torch", "numpy", "optuna")}
    return packages | {"python": platform.python_version()}


@lru_cache(maxsize=16)
def _version(name: str) -> str:
    # kept: every trial asks, and reading a package's metadata takes longer than writing a trial
    return version(name)


def _describe(text: str) -> _Description:
    raw = msgspec.json.decode(text)
    if isinstance(raw, dict) and raw.get("version", 1) not in KNOWN:
        known = f"this nfopt reads {' and '.join(map(str, KNOWN))}"
        raise ValueError(f"version {raw['version']!r} of {DESCRIPTION} is not known, {known}")
    return msgspec.convert(raw, _Description)


def _preprocessings(description: _Description) -> list[Preprocessing]:
    """Read the members' preprocessing; in version 1 they share one."""
    given = description.preprocessing
    each = given if isinstance(given, list) else [given]
    distinct = [Preprocessing.from_json(msgspec.json.encode(one).decode()) for one in each]
    maps = description.maps if isinstance(given, list) else [0] * len(description.members)
    if len(maps) != len(description.members) or not set(maps) <= set(range(len(distinct))):
        raise ValueError(f"`maps` must be one of {len(distinct)} a member, got {maps}")
    return [distinct[number] for number in maps]
