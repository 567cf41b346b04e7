"""What is written to a trial of a differentiable search, and its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nfopt import attributes as names
from nfopt.autonf import Choice
from nfopt.autonf.price import cost_of
from nfopt.spec import TrainSpec
from nfopt.study import costs as counted

KEPT = 8  # candidates in the attribute


def facts_of(choice: Choice, train: TrainSpec, seconds: float) -> Mapping[str, Any]:
    """Collect the attributes of a trial from what its search and race have found."""
    best = choice.best
    raced = [each for each in choice.raced if each.share > 0][:KEPT]
    found = {
        names.SPEC: best.spec.to_json(),
        names.TRAIN: train.to_json(),
        names.PARAMETERS: best.spec.parameter_count(),
        names.COST_TRAIN: counted.train_cost(best.spec),
        names.COST_INVERSE: counted.inverse_cost(best.spec),
        names.SECONDS: seconds,
        names.FIDELITY: best.share,
        names.NLL_2SE: names.finite(best.nll_2se),
        names.CANDIDATES: [
            {
                "spec": each.spec.to_json(),
                "nll": names.finite(each.nll),
                "share": each.share,
                "cost": cost_of(choice.paths[each.position], choice.costs),
            }
            for each in raced
        ],
    }
    said = [*choice.warnings, *([] if choice.found is None else choice.found.warnings)]
    if said:
        found[names.WARNINGS] = list(dict.fromkeys(said))
    if choice.found is not None:
        found[names.AUTONF] = choice.found.history.brief()
    return found


def values_of(choice: Choice, objectives: Sequence[str]) -> list[float]:
    """Take the winner's values, one an objective."""
    spec = choice.best.spec
    known = {
        "nll": choice.best.nll,
        "parameters": float(spec.parameter_count()),
        "inverse_cost": counted.inverse_cost(spec),
    }
    return [known[name] for name in objectives]
