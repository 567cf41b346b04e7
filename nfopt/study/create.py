"""Make a study, or find it again and see that it is the same one."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage

from nfopt import attributes as names
from nfopt.errors import StudyError
from nfopt.model.disk import versions
from nfopt.space import SearchSpace, read_given
from nfopt.storage.open import Storage, clear_errors, exists, find_study, open_storage
from nfopt.stored import attributes_of, space_of, trials_of
from nfopt.study.candidate import OBJECTIVES
from nfopt.study.claim import claim
from nfopt.study.data_options import OPTIONS
from nfopt.study.length import Length
from nfopt.study.sampler import SAMPLERS, StudySampler, choose

TOLD_OTHERWISE = ("columns was", "context was")  # options of the data that show in its shape
METRICS = {
    "nll": "validation NLL (nats a row)",
    "parameters": "parameters",
    "inverse_cost": "inverse cost (million multiply-adds a row)",
}


@dataclass(frozen=True)
class Wanted:
    """What a caller wants of a study; None leaves it to the study or to the default.

    Attributes:
        name: Of the study.
        data: Description of the data, with `fingerprint`; see `nfopt.study.dataset`.
        seed: Of the study.
        space: What is to be searched.
        given: Where the space follows from a kind and limits, these, see `given_limits`.
        own_space: The caller chose the space, so a resumed study must have the same one.
        sampler: A key of `SAMPLERS`.
        encoding: "packed" or "bits".
        objectives: Of `OBJECTIVES`, `nll` among them.
    """

    name: str
    data: Mapping[str, Any]
    seed: int = 0
    space: SearchSpace | None = None
    given: Mapping[str, Any] | None = None
    own_space: bool = False
    sampler: str | None = None
    encoding: str | None = None
    objectives: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Opened:
    """A study with what it was made with.

    Attributes:
        study: With its sampler.
        space: What it searches.
        objectives: Its values.
        seed: Its seed.
        length: The population's size and a trial's length, once they are known.
        resumed: It existed before.
    """

    study: optuna.Study
    space: SearchSpace
    objectives: tuple[str, ...]
    seed: int
    length: Length | None
    resumed: bool


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """Check the names of the objectives.

    Raises:
        ValueError: If one is not known or twice there, or `nll` is missing.
    """
    chosen = tuple(objectives)
    wrong = [name for name in chosen if name not in OBJECTIVES]
    if wrong or "nll" not in chosen or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"`objectives` must be of {', '.join(OBJECTIVES)}, each once and nll among them,"
            f" got {', '.join(map(str, chosen)) or 'none'}."
        )
    return chosen


def stored_attributes(name: str, storage: Storage | None) -> dict[str, Any] | None:
    """Read a study's attributes, or None if there is no such study; makes nothing."""
    if not exists(storage):
        return None
    with clear_errors(storage, "can't be opened"):
        opened = open_storage(storage)
        if name not in optuna.get_all_study_names(opened):
            return None
        return attributes_of(optuna.load_study(study_name=name, storage=opened))


def open_study(wanted: Wanted, storage: BaseStorage) -> Opened:
    """Make a study, or resume it after a look at whether it is the same.

    Args:
        wanted: What the caller asks for.
        storage: Open.

    Raises:
        StudyError: If the study has other data, another space, seed or objectives, or was not made
            by nfopt; one line.
    """
    known = stored_attributes(wanted.name, storage)
    if known is not None and names.SPACE in known:
        return _resume(wanted, storage, known)
    if known is not None and names.AUTONF in known:
        raise StudyError(
            f"`study` {wanted.name!r} was made by nfopt autonf, not by nfopt search: choose another"
            " name."
        )
    if wanted.space is None:
        raise ValueError("`space` must be given for a new study.")
    objectives = check_objectives(wanted.objectives or ("nll",))
    sampler, space = choose(wanted.space, wanted.sampler, wanted.encoding)
    study, mine = claim(wanted.name, storage, len(objectives), names.SPACE)
    if not mine:  # another process has made it meanwhile
        return _resume(wanted, storage, attributes_of(study))
    study.sampler = StudySampler(sampler, wanted.seed, space)
    if trials_of(study) or len(study.directions) != len(objectives):
        raise StudyError(
            f"`study` {wanted.name!r} was not made by nfopt search: choose another name."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names([METRICS[name] for name in objectives])
    attributes = {
        names.DATA: dict(wanted.data),
        names.STUDY_SEED: wanted.seed,
        names.SAMPLER: sampler,
        names.OBJECTIVES: list(objectives),
        names.VERSIONS: versions(),
        **({} if wanted.given is None else {names.LIMITS: dict(wanted.given)}),
        names.SPACE: json.loads(space.to_json()),  # last: it says that the study is complete
    }
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    # where the maker was cut off, two may have gone on with it; whoever finds another's is refused
    written = attributes_of(study)
    if written.get(names.DATA) != msgspec.to_builtins(attributes[names.DATA]) or any(
        written.get(key) != attributes[key] for key in (names.SPACE, names.OBJECTIVES)
    ):
        return _resume(wanted, storage, written)
    return Opened(study, space, objectives, wanted.seed, None, resumed=False)


def _resume(wanted: Wanted, storage: BaseStorage, known: dict[str, Any]) -> Opened:
    _same_data(wanted, known)
    space = space_of(wanted.name, known)
    encoding = wanted.encoding or space.plan.encoding
    if wanted.own_space:
        _same_space(wanted, known, space, encoding)
    if space.encoded(encoding).to_json() != space.to_json():
        raise StudyError(
            f"`study` {wanted.name!r} was made with the encoding {space.plan.encoding!r},"
            f" not {encoding!r}: choose another name."
        )
    objectives = tuple(known.get(names.OBJECTIVES, ["nll"]))
    if wanted.objectives is not None and tuple(wanted.objectives) != objectives:
        raise StudyError(
            f"`study` {wanted.name!r} was made with the objectives {', '.join(objectives)}, not"
            f" {', '.join(wanted.objectives)}: choose another name."
        )
    study = load(wanted.name, storage, sampler=wanted.sampler)
    if wanted.sampler is not None and wanted.sampler != known.get(names.SAMPLER):
        study.set_user_attr(names.SAMPLER, wanted.sampler)
    seed = int(known.get(names.STUDY_SEED, 0))
    return Opened(study, space, objectives, seed, length_of(known), resumed=True)


def _same_data(wanted: Wanted, known: dict[str, Any]) -> None:
    before = known.get(names.DATA, {})
    if before.get("fingerprint") == wanted.data.get("fingerprint"):
        return
    said = _change(before, wanted.data) or "same shape, other values"
    raise StudyError(
        f"`study` {wanted.name!r} was made with other data ({said}): choose another study name."
    )


def _same_space(wanted: Wanted, known: dict[str, Any], space: SearchSpace, encoding: str) -> None:
    """Compare what the user gave; other recipes than then do not make another space."""
    before: Mapping[str, Any] | None = known.get(names.LIMITS)
    now = wanted.given
    if before is None or now is None:
        if wanted.space is None:
            return
        chosen = choose(wanted.space, wanted.sampler, encoding)[1]
        same = chosen.to_json() == space.to_json()
        before, now = _given_by(space), _given_by(chosen)
    else:
        same = before == now
    if same:
        return
    keys = _differing(before["limits"], now["limits"])
    what = f" ({', '.join(keys)})" if keys else ""
    if before["kind"] != now["kind"]:
        what = f" (kind {before['kind']!r}, not {now['kind']!r})"
    raise StudyError(
        f"`study` {wanted.name!r} was made with another `space`{what}: leave `space` out to go on"
        " with it, or choose another name."
    )


def given_limits(kind: str | None, limits: Mapping[str, Any] | None) -> dict[str, Any]:
    """Write the kind and the limits that a user gave as plain data, equal for equal meaning.

    Raises:
        ValueError: If one is wrong.
    """
    kind, own = read_given(kind, limits)
    return {"kind": kind, "limits": _plain(own)}


def _given_by(space: SearchSpace) -> dict[str, Any]:
    return {"kind": space.kind, "limits": _plain(space.limits)}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in {*one, *other} if one.get(key) != other.get(key))


def _plain(limits: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    return {key: list(values) for key, values in limits.items()}


def _change(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in a few words what is different about two tables; at most two things."""
    seen: list[dict[str, Any]] = []
    for told in (before, now):
        options = {f"{key} was": told.get("options", {}).get(key) or None for key in OPTIONS}
        seen.append(
            {
                "name was": told.get("name"),
                "rows were": sum(told.get("rows", ())),
                "columns were": len(told.get("columns", ())),
                "context columns were": len(told.get("context_columns", ())),
                "split was": told.get("split"),
                "seed was": told.get("seed"),
            }
            | {key: value for key, value in options.items() if key not in TOLD_OTHERWISE}
        )
    old, new = seen
    if old["columns were"] == new["columns were"]:
        pairs = zip(before.get("columns", ()), now.get("columns", ()), strict=False)
        old["columns were"], new["columns were"] = next((p for p in pairs if p[0] != p[1]), (0, 0))
    changed = [key for key in old if old[key] != new[key]]
    return "; ".join(f"{key} {_short(old[key])}, now {_short(new[key])}" for key in changed[:2])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def length_of(attributes: Mapping[str, Any]) -> Length | None:
    """Read the population's size and a trial's length, once they are known."""
    stored = attributes.get(names.POPULATION)
    return None if stored is None else msgspec.convert(stored, Length)


def load(name: str, storage: BaseStorage, *, sampler: str | None = None) -> optuna.Study:
    """Load a study with the sampler that it was made with, or with another one."""
    study = optuna.load_study(study_name=name, storage=storage)
    known = attributes_of(study)
    if names.AUTONF in known:  # each trial a differentiable search; nobody asks it for flows
        return study
    if names.SPACE not in known:
        raise StudyError(f"`study` {name!r} was not made by nfopt search or nfopt autonf.")
    space = space_of(name, known)
    chosen = sampler or known.get(names.SAMPLER, "random")
    if chosen not in SAMPLERS:
        raise StudyError(f"`study` {name!r} has the sampler {chosen!r}, which this nfopt lacks.")
    study.sampler = StudySampler(chosen, int(known.get(names.STUDY_SEED, 0)), space)
    return study


def load_study(name: str, storage: Storage | None = None) -> optuna.Study:
    """Load a study with the sampler that it was made with.

    Args:
        name: Of the study.
        storage: A URL, an open storage, or None for the default.

    Raises:
        StudyError: If there is no such study, or it was not made by nfopt search or nfopt autonf.
    """
    with find_study(name, storage) as opened:
        return load(name, opened)
