"""A study as if each trial had only the parameters that its flow uses.

Every trial of a search space has the same parameters, since most samplers model no others: the mask
of a fifth layer is asked for where there are two. Whatever compares trials by all parameters takes
these for real: of Optuna's importances 8 to 23% went to layers that the best flows did not have.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import copy
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial

from nfopt.attributes import SPACE
from nfopt.samplers.declared import FLOW, FlowGenes, declared_in
from nfopt.space import SearchSpace
from nfopt.space.genes import recoded
from nfopt.stored import attributes_of, space_of, trials_of


def conditional(study: optuna.Study) -> optuna.Study:
    """A copy in memory, to look at, whose trials have only the parameters that their flows use.

        optuna.importance.get_param_importances(nfopt.conditional(study))

    Args:
        study: Of `nfopt search`, or one whose objective is `nfopt.Objective` or suggests a flow.
            Any other one is returned as it is.

    Raises:
        StudyError: If its attributes can't be read; one line.
    """
    space = space_in(study.study_name, attributes_of(study))
    if space is None:
        return study
    shown = optuna.create_study(study_name=study.study_name, directions=study.directions)
    if study.metric_names is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            shown.set_metric_names(study.metric_names)
    shown.add_trials([with_used(trial, space) for trial in trials_of(study)])
    return shown


def space_in(study: str, known: Mapping[str, Any]) -> SearchSpace | None:
    """What a study searches, if it says so.

    Args:
        study: Its name.
        known: Its attributes.

    Raises:
        StudyError: If it can't be read; one line.
    """
    if known.get(SPACE) is not None:
        return space_of(study, known)
    flow = declared_in(study, known).get(FLOW)
    return SearchSpace.from_json(flow.space) if isinstance(flow, FlowGenes) else None


def with_used(trial: FrozenTrial, space: SearchSpace) -> FrozenTrial:
    """A trial with the parameters that its flow uses; one of another space as it is."""
    params = recoded(trial.params, space.plan.genes, space.plan.encoding)
    if not all(n in params and d.holds(params[n]) for n, d in space.parameters.items()):
        return trial
    idle = space.idle(params)
    if idle.isdisjoint(trial.params):
        return trial
    shown = copy(trial)
    shown.params = {name: value for name, value in trial.params.items() if name not in idle}
    shown.distributions = {n: d for n, d in trial.distributions.items() if n not in idle}
    return shown
