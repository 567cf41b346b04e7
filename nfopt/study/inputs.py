"""What a caller may write in several ways: the space, first flows, the seed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nfopt import attributes as names
from nfopt.space import KINDS, SearchSpace, parse_limits, read_limits
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.storage.open import Storage
from nfopt.study.create import stored_attributes

Space = SearchSpace | str | os.PathLike[str] | Mapping[str, Any] | Sequence[str]
Flows = FlowSpec | tuple[FlowSpec, TrainSpec] | str | os.PathLike[str]


def space_of(
    space: Space | None,
) -> tuple[str | None, Mapping[str, Any] | None, SearchSpace | None]:
    """Read `space` as a kind, limits, or a whole space."""
    if space is None or isinstance(space, SearchSpace):
        return None, None, space
    if isinstance(space, Mapping):
        return None, space, None
    lines = [space] if isinstance(space, str | os.PathLike) else list(space)
    kind: str | None = None
    limits: dict[str, Any] = {}
    for each in lines:
        line = os.fspath(each)
        if line in KINDS:
            kind = line
        elif "=" in line and not Path(line).exists():
            limits |= parse_limits([line])
        elif line.endswith(".toml") or Path(line).exists():
            limits |= read_limits(line)
        else:
            raise ValueError(
                f"`space` must be {', '.join(KINDS)}, a TOML file, or limits such as depth=[1,4],"
                f" got {line!r}."
            )
    return kind, limits or None, None


def flows_of(given: Sequence[Flows] | Flows) -> list[tuple[FlowSpec, TrainSpec | None]]:
    """Read flows that were given as specs, pairs or JSON files."""
    pair = isinstance(given, tuple) and [type(part) for part in given] == [FlowSpec, TrainSpec]
    many: Any = [given] if pair or isinstance(given, FlowSpec | str | os.PathLike) else given
    found: list[tuple[FlowSpec, TrainSpec | None]] = []
    for one in many:
        if isinstance(one, FlowSpec):
            found.append((one, None))
        elif isinstance(one, str | os.PathLike):
            found.append((_flow_file(Path(one)), None))
        elif isinstance(one, tuple) and [type(part) for part in one] == [FlowSpec, TrainSpec]:
            found.append(one)
        else:
            raise TypeError(
                "`initial` must be FlowSpecs, pairs of FlowSpec and TrainSpec, or JSON files,"
                f" got {type(one).__name__}."
            )
    return found


def _flow_file(path: Path) -> FlowSpec:
    try:
        text = path.read_bytes()
        raw = msgspec.json.decode(text)
        if isinstance(raw, dict) and isinstance(raw.get("members"), list):  # a saved flow.json
            text = msgspec.json.encode(raw["members"][0])
        return FlowSpec.from_json(text)
    except OSError as error:
        raise ValueError(f"`initial` {str(path)!r} can't be read: {error.strerror}.") from None
    except (ValueError, msgspec.MsgspecError, IndexError) as error:
        raise ValueError(f"`initial` {str(path)!r} is no flow: {error}") from None


def check_seed(seed: int) -> None:
    """Raise ValueError unless the seed is a whole number of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"`seed` must be a whole number of at least 0, got {seed!r}.")


def seed_of(data: Any, study: str | None, storage: Storage | None) -> int:
    """Take the seed of the study that will be resumed, or 0."""
    name = study
    if name is None and isinstance(data, str | os.PathLike):
        name = Path(data).stem
    known = None if name is None else stored_attributes(name, storage)
    return int((known or {}).get(names.STUDY_SEED, 0))
