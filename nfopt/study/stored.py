"""What a trial stores, written and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from nfopt.attributes import SPEC, TRAIN
from nfopt.spec import FlowSpec, TrainSpec


def specs_of(trial: FrozenTrial) -> tuple[FlowSpec, TrainSpec]:
    """Read a trial's flow and training back.

    Raises:
        ValueError: If the trial has none.
    """
    try:
        spec, train = trial.user_attrs[SPEC], trial.user_attrs[TRAIN]
    except KeyError:
        raise ValueError(
            f"Trial {trial.number} has no `{SPEC}`: it was never trained by nfopt."
        ) from None
    return FlowSpec.from_json(spec), TrainSpec.from_json(train)


def write(trial: optuna.Trial, values: Mapping[str, Any]) -> None:
    """Set several attributes of a trial."""
    for name, value in values.items():
        trial.set_user_attr(name, value)
