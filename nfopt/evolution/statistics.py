"""What worked, for a report: operators, directed against blind mutation, screening, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nfopt.evolution.history import History, View
from nfopt.evolution.operators.credit import Rates, gained
from nfopt.evolution.operators.table import OPERATORS
from nfopt.evolution.surrogate.acquisition import Judge


@dataclass(frozen=True)
class Share:
    """Children made, and those of them that were better than their parents."""

    children: int
    improved: int

    @property
    def share(self) -> float | None:
        """The share that improved; None before any."""
        return self.improved / self.children if self.children else None


@dataclass(frozen=True)
class Statistics:
    """What worked.

    Attributes:
        operators: For each operator that was used its children; one made by two counts for both.
        directed: Children of directed mutation.
        blind: Children of other mutation (of one parent).
        screening_r2: Cross-validated R2 of the screening model; None before it was fitted.
        screening_model: The exponents of its kernel, by block of features.
        screened: The share of the children that were chosen by it.
        finished: Runs that ended.
        genomes: Different genomes, finished or running.
        noise: Standard deviation of a run, for each objective.
    """

    operators: dict[str, Share]
    directed: Share
    blind: Share
    screening_r2: float | None
    screening_model: str | None
    screened: float
    finished: int
    genomes: int
    noise: tuple[float, ...]


def statistics(
    rates: Rates, judge: Judge, history: History, noise: tuple[float, ...]
) -> Statistics:
    """Collect the statistics of an evolution."""
    mutations = [name for name, operator in OPERATORS.items() if operator.parents == 1]
    directed = [name for name in mutations if OPERATORS[name].directed]
    tries, improved = rates.tries, rates.improvements
    return Statistics(
        operators={name: Share(tries[name], improved[name]) for name in tries if tries[name]},
        directed=Share(*rates.share(directed)),
        blind=Share(*rates.share([name for name in mutations if name not in directed])),
        screening_r2=judge.screen.r2,
        screening_model=judge.screen.model,
        screened=judge.used / judge.asked if judge.asked else 0.0,
        finished=history.finished,
        genomes=history.distinct,
        noise=noise,
    )


def improves(history: History, view: View, number: int, parents: Sequence[int]) -> bool | None:
    """Whether a child is better than its better parent.

    Args:
        history: What was told.
        view: What is known of it.
        number: Of the child's record.
        parents: Numbers of its parents' records.

    Returns:
        None if nothing is known of the child or of its parents.
    """
    child, places = history.item_of(number), [history.item_of(parent) for parent in parents]
    known = [p for p in places if p is not None and view.ranked[p]]
    if child is None or not known or not view.ranked[child]:
        return None
    if child in known or view.violation[child] > 0:
        return False
    return gained(view.means[child], view.means[known], view.means[known]) > 0
