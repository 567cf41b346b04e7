"""Reads what a study stores, checked: a shared storage holds what others have written.

    trials_of(study)          all trials; one whose attributes are wrong is set aside
    attributes_of(study)      the study's attributes, or one line that says which one is wrong

A trial that is set aside stands in its place without parameters, values and attributes, as one that
failed (as one of a stranger, while it runs), so that everything else goes on. The storage is left
as it is.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nfopt import optuna_internals as raw
from nfopt.attributes import (
    KIN,
    MARGINALS,
    REASON,
    SPACE,
    SPEC,
    TRAIN,
    wrong_in_study,
    wrong_in_trial,
)
from nfopt.data import check_marginals
from nfopt.errors import StudyError, StudyWarning
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, Recipe, TrainSpec

MOST_SAID = 3  # trials of which one look says that they are set aside
SET_ASIDE = "set aside: "


class _Looked:
    """What is known of a storage's finished trials, which never change, by their ids."""

    def __init__(self) -> None:
        self.sound: set[int] = set()
        self.aside: dict[int, FrozenTrial] = {}
        self.said: set[int] = set()  # of them and of those that have not ended


# A memo, not a state: without it each look would judge all trials anew.
_LOOKED: WeakKeyDictionary[BaseStorage, _Looked] = WeakKeyDictionary()


def trials_of(study: optuna.Study, *states: TrialState) -> list[FrozenTrial]:
    """Read trials, by number; those whose attributes are wrong are set aside, with a warning.

    Args:
        study: Any Optuna study.
        states: Only of these; none: all. Never those of a cache, and no copies.
    """
    found = raw.trials_of(study, *states)
    looked = _LOOKED.setdefault(raw.storage_of(study), _Looked())
    sound, fresh = looked.sound, []
    if all(raw.trial_id(trial) in sound for trial in found):
        return found
    objectives, kept = len(study.directions), []
    for trial in found:
        key, ended = raw.trial_id(trial), trial.state.is_finished()
        if key in sound:
            kept.append(trial)
            continue
        checked = looked.aside.get(key) or _checked(trial, objectives)
        kept.append(checked)
        if checked is trial:
            if ended:
                sound.add(key)
            continue
        if ended:
            looked.aside[key] = checked
        if key not in looked.said:
            looked.said.add(key)
            fresh.append(checked)
    _say(study, fresh)
    return [trial for trial in kept if not states or trial.state in states]


def read_trial(study: optuna.Study, trial: optuna.Trial | FrozenTrial) -> FrozenTrial:
    """Read a trial again, as `trials_of` does: what others wrote, the one at hand does not know."""
    return _checked(raw.read_trial(study, trial), len(study.directions))


def attributes_of(study: optuna.Study) -> dict[str, Any]:
    """Read a study's attributes, without a copy of what is read already.

    Raises:
        StudyError: If one of them is not what nfopt writes; one line.
    """
    known = raw.attributes_of(study)
    if why := wrong_in_study(known):
        raise StudyError(f"`study` {study.study_name!r} can't be used: its attribute {why}.")
    return known


def space_of(name: str, known: Mapping[str, Any]) -> SearchSpace:
    """Read what a study searches.

    Args:
        name: Of the study.
        known: Its attributes; `nfopt:space` is among them.

    Raises:
        StudyError: If it can't be read; one line.
    """
    try:
        told = known[SPACE]
        return SearchSpace.from_json(told if isinstance(told, str) else json.dumps(told))
    except (ValueError, TypeError, RecursionError) as error:
        why = " ".join(str(error).split())
        raise StudyError(
            f"`study` {name!r} can't be used: its attribute `{SPACE}` is wrong: {why:.300}"
        ) from None


def recipe_of(trial: FrozenTrial) -> Recipe:
    """Read a trial's flow, training and marginal maps back; stored without maps, standardise.

    Raises:
        ValueError: If the trial has none, or they can't be read; one line.
    """
    try:
        spec, train = trial.user_attrs[SPEC], trial.user_attrs[TRAIN]
    except KeyError:
        why = trial.user_attrs.get(REASON)
        raise ValueError(
            f"Trial {trial.number} has no `{SPEC}`: "
            + (str(why) if str(why).startswith(SET_ASIDE) else "it was never trained by nfopt.")
        ) from None
    try:
        maps = check_marginals(trial.user_attrs.get(MARGINALS, "standardise"))
        return Recipe(FlowSpec.from_json(spec), TrainSpec.from_json(train), maps)
    except ValueError as error:
        raise ValueError(f"Trial {trial.number} can't be used: {error}") from None


def flow_of(trial: FrozenTrial) -> FlowSpec | None:
    """Read a trial's flow back; None, with a warning, if it has one that can't be read."""
    text = trial.user_attrs.get(SPEC)
    try:
        return None if text is None else FlowSpec.from_json(text)
    except ValueError as error:
        why = " ".join(str(error).split())
        warnings.warn(
            f"trial {trial.number} is {SET_ASIDE}`{SPEC}` is wrong: {why:.300}",
            StudyWarning,
            stacklevel=1,
        )
        return None


def began_ahead(trial: FrozenTrial | optuna.Trial) -> bool:
    """Say whether a trial began from another one's weights, as some of an older study did.

    Its value says nothing of its genome: it is compared with no other.
    """
    return bool(trial.user_attrs.get(KIN))


def usable(trial: FrozenTrial) -> bool:
    """Say whether a trial is another library's, or has a flow and a training that can be read."""
    if SPEC not in trial.user_attrs:
        return True
    try:
        if TRAIN in trial.user_attrs:
            TrainSpec.from_json(trial.user_attrs[TRAIN])
    except ValueError:
        return False
    return flow_of(trial) is not None


def write(trial: optuna.Trial, values: Mapping[str, Any]) -> None:
    """Set several attributes of a trial."""
    for name, value in values.items():
        trial.set_user_attr(name, value)


def _checked(trial: FrozenTrial, objectives: int) -> FrozenTrial:
    """Return a trial, or what stands for it if it is wrong."""
    why = wrong_in_trial(trial.user_attrs, trial.system_attrs) or _wrong_values(trial, objectives)
    if why is None:
        return trial
    # one that runs is another worker's, which may live: it is neither waited for nor taken over
    running = trial.state is TrialState.RUNNING
    return FrozenTrial(
        number=trial.number,
        state=TrialState.RUNNING if running else TrialState.FAIL,
        value=None,
        values=None,
        datetime_start=trial.datetime_start,
        datetime_complete=None if running else (trial.datetime_complete or trial.datetime_start),
        params=trial.params if running else {},
        distributions=trial.distributions if running else {},
        user_attrs={REASON: SET_ASIDE + why},
        system_attrs={},
        intermediate_values={},
        trial_id=raw.trial_id(trial),
    )


def _wrong_values(trial: FrozenTrial, objectives: int) -> str | None:
    if trial.state is not TrialState.COMPLETE:
        return None
    values = trial.values
    if values is None or len(values) != objectives:
        return f"it has {len(values or ())} values, not {objectives}"
    return "one of its values is NaN" if any(math.isnan(value) for value in values) else None


def _say(study: optuna.Study, aside: Sequence[FrozenTrial]) -> None:
    for place, trial in enumerate(aside[:MOST_SAID], 1):
        more = len(aside) - MOST_SAID if place == MOST_SAID else 0
        # at this very line, so that Python says each text once
        warnings.warn(
            f"study {study.study_name!r}: trial {trial.number} is {trial.user_attrs[REASON]}"
            + (f" (and {more:,} more are)" if more else ""),
            StudyWarning,
            stacklevel=1,
        )
