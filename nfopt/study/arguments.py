"""What a caller asks for: the budget, a device, a name; checked before any work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from nfopt import attributes as names
from nfopt.data import Prepared, check_marginals, names_of
from nfopt.space import KINDS, SearchSpace, parse_limits, read_limits
from nfopt.spec import FlowSpec, Recipe, TrainSpec
from nfopt.storage.open import Storage
from nfopt.study.create import stored_attributes
from nfopt.study.length import DEFAULT_MINUTES

Space = SearchSpace | str | os.PathLike[str] | Mapping[str, Any] | Sequence[str]
Flows = FlowSpec | tuple[FlowSpec, TrainSpec] | Recipe | str | os.PathLike[str]
Given = tuple[FlowSpec, TrainSpec | None, str | None]  # a flow, maybe its training and its maps


@dataclass(frozen=True)
class Budget:
    """How long a call may take.

    Attributes:
        trials: COMPLETE + PRUNED trials of the study at the end, over all its calls; or None.
        minutes: Wall clock of the whole call; or None. With neither, 10 minutes.

    Raises:
        ValueError: If one is not positive.
    """

    trials: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.trials is not None and (
            isinstance(self.trials, bool) or not isinstance(self.trials, int) or self.trials < 1
        ):
            raise ValueError(f"`trials` must be a whole number of at least 1, got {self.trials!r}.")
        check_minutes(self.minutes)
        if self.trials is None and self.minutes is None:
            object.__setattr__(self, "minutes", DEFAULT_MINUTES)

    @property
    def seconds(self) -> float | None:
        """Wall-clock seconds of the whole call, or None."""
        return None if self.minutes is None else 60.0 * self.minutes


def check_minutes(minutes: float | None) -> None:
    """Raise ValueError unless the minutes are positive and finite, or None."""
    given: object = minutes
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if given is not None and not (number and 0 < float(minutes or 0) < float("inf")):
        raise ValueError(f"`minutes` must be positive and finite, got {minutes!r}.")


def check_members(members: int) -> None:
    """Raise ValueError unless `members` is a whole number of at least 1."""
    given: object = members
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise ValueError(f"`members` must be a whole number of at least 1, got {members!r}.")


def check_flows(flows: Sequence[FlowSpec], data: Prepared, argument: str) -> None:
    """Refuse a flow for other data; a search would leave it out without a word.

    Args:
        flows: What a caller gave.
        data: What they are for.
        argument: Its name, for the message.

    Raises:
        ValueError: If features or context columns are not as many.
    """
    wanted = (data.features, data.context_features)
    for flow in flows:
        if (flow.features, flow.context_features) != wanted:
            raise ValueError(
                f"`{argument}` must be for {wanted[0]} features and {wanted[1]} context columns as"
                f" the data has, got a flow for {flow.features} and {flow.context_features}."
            )


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


def flows_of(given: Sequence[Flows] | Flows, argument: str = "initial") -> list[Given]:
    """Read flows that were given as specs, pairs, recipes or JSON files.

    Args:
        given: The flows.
        argument: Its name, for messages.
    """
    pair = isinstance(given, tuple) and [type(part) for part in given] == [FlowSpec, TrainSpec]
    many: Any = (
        [given] if pair or isinstance(given, FlowSpec | Recipe | str | os.PathLike) else given
    )
    found: list[Given] = []
    for one in many:
        if isinstance(one, FlowSpec):
            found.append((one, None, None))
        elif isinstance(one, str | os.PathLike):
            found.append((_flow_file(Path(one), argument), None, None))
        elif isinstance(one, tuple) and [type(part) for part in one] == [FlowSpec, TrainSpec]:
            found.append((one[0], one[1], None))
        elif isinstance(one, Recipe):
            found.append((one.flow, one.train, one.marginals))
        else:
            raise TypeError(
                f"`{argument}` must be FlowSpecs, pairs of FlowSpec and TrainSpec, Recipes, or JSON"
                f" files, got {type(one).__name__}."
            )
    return found


def filled(given: Given, like: Recipe) -> Recipe:
    """Give a flow the training and the maps of a recipe, where it came without."""
    flow, train, marginals = given
    return Recipe(flow, train or like.train, marginals or like.marginals)


def chosen(
    flow: Flows | None, marginals: str | Sequence[str] | None, best: Recipe, data: Prepared
) -> Recipe:
    """Read what `fit` is to train: the best recipe, with what a caller gave in its place.

    Raises:
        ValueError: If flow or maps do not fit the data.
    """
    if flow is not None:
        (given, *_) = flows_of(flow, "flow")
        check_flows([given[0]], data, "flow")
        best = filled(given, best)
    if marginals is not None:
        best = msgspec.structs.replace(best, marginals=check_marginals(marginals))
    names_of(best.marginals, data.features, data.context_features)
    return best


def _flow_file(path: Path, argument: str) -> FlowSpec:
    try:
        text = path.read_bytes()
        raw = msgspec.json.decode(text)
        if isinstance(raw, dict) and isinstance(raw.get("members"), list):  # a saved flow.json
            text = msgspec.json.encode(raw["members"][0])
        return FlowSpec.from_json(text)
    except OSError as error:
        raise ValueError(f"`{argument}` {str(path)!r} can't be read: {error.strerror}.") from None
    except (ValueError, msgspec.MsgspecError, IndexError) as error:
        raise ValueError(f"`{argument}` {str(path)!r} is no flow: {error}") from None


def seed_of(data: Any, study: str | None, storage: Storage | None) -> int:
    """Take the seed of the study that will be resumed, or 0."""
    name = study
    if name is None and isinstance(data, str | os.PathLike):
        name = Path(data).stem
    known = None if name is None else stored_attributes(name, storage)
    return int((known or {}).get(names.STUDY_SEED, 0))
