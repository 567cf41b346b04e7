"""The state of a fitted estimator as it is pickled: safetensors for the weights, JSON for the rest.

What a user gave as a parameter stays the object that it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from nfopt.model import Flow
from nfopt.stored import attributes_of, trials_of
from nfopt.study.create import load_study

WEIGHTS, FITTED = "nfopt_weights", "nfopt_fitted"  # keys of a state


def packed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Take what was fitted out of an estimator's attributes, as bytes and JSON."""
    fitted = {name: value for name, value in attributes.items() if is_fitted(name)}
    state = {name: value for name, value in attributes.items() if name not in fitted}
    if "flow_" not in fitted:
        return attributes
    flow: Flow = fitted.pop("flow_")
    state[WEIGHTS], about = flow.dumps()
    plain: dict[str, Any] = {"flow": about, "device": str(flow.device)}
    if "study_" in fitted:
        plain["study"] = _described(fitted.pop("study_"))
    plain["attributes"] = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in fitted.items()
    }
    state[FITTED] = msgspec.json.encode(plain).decode()
    return state


def unpacked(state: dict[str, Any]) -> dict[str, Any]:
    """Give the attributes that `packed` made a state of."""
    attributes = dict(state)
    if FITTED not in attributes:
        return attributes
    plain = msgspec.json.decode(attributes.pop(FITTED))
    attributes |= plain["attributes"]
    if "feature_names_in_" in attributes:
        attributes["feature_names_in_"] = np.array(attributes["feature_names_in_"], dtype=object)
    attributes["flow_"] = Flow.loads(attributes.pop(WEIGHTS), plain["flow"], device=plain["device"])
    if "study" in plain:
        attributes["study_"] = _study(plain["study"])
    return attributes


def is_fitted(name: str) -> bool:
    """Say whether an attribute is one that `fit` sets, by scikit-learn's rule."""
    return name.endswith("_") and not name.startswith("_")


def _described(study: optuna.Study) -> dict[str, Any]:
    return {
        "name": study.study_name,
        "directions": [direction.name.lower() for direction in study.directions],
        "attributes": attributes_of(study),
        "trials": [_trial_as_json(trial) for trial in trials_of(study)],
    }


def _study(plain: dict[str, Any]) -> optuna.Study:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(
        storage=storage, study_name=plain["name"], directions=plain["directions"]
    )
    for name, value in plain["attributes"].items():
        study.set_user_attr(name, value)
    study.add_trials([_trial_of(trial) for trial in plain["trials"]])
    return load_study(plain["name"], storage)


def _trial_as_json(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": {
            name: distribution_to_json(one) for name, one in trial.distributions.items()
        },
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": list(trial.intermediate_values.items()),
        "started": trial.datetime_start,
        "ended": trial.datetime_complete,
    }


def _trial_of(plain: dict[str, Any]) -> FrozenTrial:
    trial = create_trial(
        state=TrialState[plain["state"]],
        values=plain["values"],
        params=plain["params"],
        distributions={
            name: json_to_distribution(text) for name, text in plain["distributions"].items()
        },
        user_attrs=plain["user_attrs"],
        system_attrs=plain["system_attrs"],
        intermediate_values=dict(plain["intermediate_values"]),
    )
    for name, text in (("datetime_start", plain["started"]), ("datetime_complete", plain["ended"])):
        setattr(trial, name, None if text is None else datetime.fromisoformat(text))
    return trial
