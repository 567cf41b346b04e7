"""When a trial has what not all trials have: what its other parameters say of it.

    for layer in range(trial.suggest_int("depth", 1, 4)):
        nfopt.suggest_mask(trial, f"layer_{layer + 1}", 8)

The masks of unused layers are no part of a flow. A sampler can't know the code, but sees that
trials have the third mask if `depth` is 3 or more, and never otherwise. The simplest such rule of
one whole number or category is looked for that no trial contradicts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from nfopt.samplers.trials import Reader

Names = Mapping[str, frozenset[str]]
"""By what may be present the names of its parameters."""

Seen = dict[Any, set[bool]]
"""By value of a parameter whether trials had it, or had not."""


@dataclass(frozen=True)
class Rule:
    """When something is present, by the value of one parameter.

    Attributes:
        parameter: Its name.
        starts: Of a whole number: the values at which it changes, ascending, and the least one.
        flags: Whether it is present from each of them on.
        without: Of a category: the values without it.
    """

    parameter: str
    starts: tuple[int, ...] = ()
    flags: tuple[bool, ...] = ()
    without: tuple[Any, ...] = ()

    def present(self, value: Any) -> bool:
        """Whether it is present with this value of the parameter."""
        if not self.starts:
            return value not in self.without
        return self.flags[max(bisect_right(self.starts, value) - 1, 0)]


class Presence:
    """Learns rules from a study's complete and pruned trials."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._reader = Reader()
        self._names: Names = {}
        self._deciding: dict[str, bool] | None = None  # whether each is a category
        self._seen: dict[str, dict[str, Seen]] = {}

    def learn(self, trials: Sequence[FrozenTrial], names: Names) -> dict[str, Rule]:
        """Look at a study's new trials.

        Args:
            trials: All of the study.
            names: Of what may be present; if these are others than before, all trials are new.

        Returns:
            A rule for what some trials do not have, if there is one.
        """
        if names.keys() != self._names.keys():
            self._forget()
            self._names = dict(names)
        for trial in self._reader.news(trials):
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._look(trial)
        found = {}
        for key, known in self._seen.items():
            if any(False in states for seen in known.values() for states in seen.values()):
                rules = [self._rule(name, seen) for name, seen in known.items()]
                if some := [rule for rule in rules if rule is not None]:
                    found[key] = min(some, key=lambda rule: self._complexity(key, rule))
        return found

    def _look(self, trial: FrozenTrial) -> None:
        own = frozenset().union(*self._names.values())
        deciding = {
            name: isinstance(kind, CategoricalDistribution)
            for name, kind in trial.distributions.items()
            if not isinstance(kind, FloatDistribution)
            and name not in own
            and isinstance(trial.params[name], Hashable)
        }
        known = deciding if self._deciding is None else self._deciding
        self._deciding = {name: known[name] for name in known if name in deciding}
        for key, names in self._names.items():
            table = self._seen.setdefault(key, {})
            for name in self._deciding:
                seen = table.setdefault(name, {}).setdefault(trial.params[name], set())
                seen.add(not names.isdisjoint(trial.params))
            for name in table.keys() - self._deciding.keys():  # not all trials have it
                del table[name]

    def _rule(self, name: str, seen: Seen) -> Rule | None:
        if any(len(states) > 1 for states in seen.values()):
            return None
        flags = {value: True in states for value, states in seen.items()}
        if (self._deciding or {})[name]:
            return Rule(name, without=tuple(value for value, flag in flags.items() if not flag))
        runs = groupby(sorted(flags), key=flags.__getitem__)
        starts = {next(values): flag for flag, values in runs}
        return Rule(name, starts=tuple(starts), flags=tuple(starts.values()))

    def _complexity(self, key: str, rule: Rule) -> tuple[int, int, str]:
        """Fewer changes before more; then what was seen with fewer values, and so more often."""
        values = len(self._seen[key][rule.parameter])
        return max(len(rule.starts) - 1, len(rule.without)), values, rule.parameter
