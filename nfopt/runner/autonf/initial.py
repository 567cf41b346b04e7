"""An architecture that a differentiable search begins with: a flow, or a trial of any study."""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from nfopt.autonf import Option, path_of
from nfopt.autonf.options import NOTHING
from nfopt.autonf.options import Path as Layers
from nfopt.data import Prepared
from nfopt.errors import StudyError
from nfopt.spec import FlowSpec
from nfopt.storage.open import Storage
from nfopt.stored import recipe_of, trials_of
from nfopt.study.arguments import check_flows, flows_of
from nfopt.study.create import load_study
from nfopt.study.ranking import best_of

Initial = FlowSpec | optuna.Study | FrozenTrial | str | os.PathLike[str]


def initial_flow(given: Initial, storage: Storage | None = None) -> FlowSpec:
    """Find the flow that is meant.

    Args:
        given: A flow; a trial; a study, whose best trial counts; a JSON file; or STUDY or
            STUDY/NUMBER, a study's name in the storage.
        storage: A URL, an open storage, or None for the default.

    Raises:
        ValueError: If it is none of these, or the trial has no flow; one line.
        StudyError: If a study of that name can't be read.
    """
    if isinstance(given, FlowSpec):
        return given
    if isinstance(given, FrozenTrial):
        return recipe_of(given).flow
    if isinstance(given, optuna.Study):
        return _best(given)
    text = os.fspath(given)
    if Path(text).exists() or text.endswith(".json"):
        return flows_of(text)[0][0]
    name, _, number = text.rpartition("/")
    if not name or not number.isdecimal():
        name, number = text, ""
    try:
        study = load_study(name, storage)
    except StudyError as error:
        raise StudyError(f"`initial` {text!r} is no file, and no study: {error}") from None
    if not number:
        return initial_flow(study)
    trials = trials_of(study)
    if int(number) >= len(trials):
        raise ValueError(
            f"`initial` {text!r}: study {name!r} has {len(trials)} trials, counted from 0."
        )
    return initial_flow(trials[int(number)])


def initial_path(
    spec: FlowSpec, options: tuple[Option, ...], places: int, data: Prepared
) -> Layers:
    """Find the path that is nearest to a flow.

    Raises:
        ValueError: If the flow is for other data, or has nothing that the options have.
    """
    check_flows([spec], data, "initial")
    path = path_of(options, spec, places)
    if all(k == NOTHING or options[k].idle for k in path):
        raise ValueError(
            f"`initial` has no layer of `options` ({', '.join(o.name for o in options)}), got"
            f" {spec.summary()}."
        )
    return path


def _best(study: optuna.Study) -> FlowSpec:
    best = best_of(study)
    if best is None:
        raise ValueError(f"`initial` study {study.study_name!r} has no finished trial with a flow.")
    return recipe_of(best).flow
