"""How many children of an evolution were better than their parents, operator by operator.

    found = success(study)
    found.directed.share, found.blind.share      mutation by what a flow left, and without

Values are posterior means that all trials of the study have a say in, not single runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from optuna import Study

from nfopt.evolution.operators.table import OPERATORS
from nfopt.evolution.statistics import Share
from nfopt.samplers.evolution import EvolutionSampler
from nfopt.samplers.trials import Origin
from nfopt.space import SearchSpace

DIRECTED, BLIND, CROSSED = "directed", "blind", "crossed"


@dataclass(frozen=True)
class Success:
    """Children of one study, and how many of them were better than their better parent.

    Attributes:
        operators: By the name of the operator; a child that two made counts for both.
        directed: Of mutation directed by the dependence that a flow left.
        blind: Of all other mutation of one parent.
        crossed: Of two parents.
    """

    operators: dict[str, Share]
    directed: Share
    blind: Share
    crossed: Share


def success(study: Study, space: SearchSpace | None = None) -> Success:
    """Count the children of a study and those that were better than their parents.

    A child whose every run failed is not better. Trials that are no children (first ones, random
    ones, designs, repetitions), that still run, or that are not comparable with their parents as
    they began from trained weights, do not count.

    Args:
        study: Of an EvolutionSampler, for any part.
        space: What masks and edges mean; None: what the study says, if it does.
    """
    evolution = EvolutionSampler(space, seed=0).told(study)
    kinds: list[tuple[tuple[str, ...], bool]] = []
    for trial in study.get_trials(deepcopy=False):
        origin = Origin.of(trial)
        names = tuple(origin.operator.split("+"))
        if (
            not origin.parents
            or not trial.state.is_finished()
            or OPERATORS.keys().isdisjoint(names)
        ):
            continue
        better = evolution.improves(trial.number, origin.parents)
        if better is not None:
            kinds.append((names, better))
    by_name = [(name, better) for names, better in kinds for name in dict.fromkeys(names)]
    by_kind = [(_kind(names), better) for names, better in kinds]
    shares = _shares(by_kind)
    nothing = Share(0, 0)
    return Success(
        {name: share for name, share in _shares(by_name).items() if name in OPERATORS},
        *(shares.get(kind, nothing) for kind in (DIRECTED, BLIND, CROSSED)),
    )


def _kind(names: Iterable[str]) -> str:
    known = [OPERATORS[name] for name in names if name in OPERATORS]
    if any(operator.directed for operator in known):
        return DIRECTED
    return CROSSED if any(operator.parents == 2 for operator in known) else BLIND


def _shares(told: list[tuple[str, bool]]) -> dict[str, Share]:
    made = Counter(name for name, _ in told)
    improved = Counter(name for name, better in told if better)
    return {name: Share(made[name], improved[name]) for name in sorted(made)}
