"""What one parameter may be: a range or a choice, and how a trial is asked for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import optuna

Value = bool | int | float | str


@dataclass(frozen=True)
class Integer:
    """Whole numbers from `low` to `high`, both included; `log` for a logarithmic scale."""

    low: int
    high: int
    log: bool = False

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Value:
        """Ask a trial for a value."""
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The domain as an Optuna distribution."""
        import optuna

        return optuna.distributions.IntDistribution(self.low, self.high, log=self.log)

    def holds(self, value: Value) -> bool:
        """Whether the value is in the range."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high  # type: ignore[operator]

    def middle(self) -> Value:
        """The value of a parameter that is not given or does not affect the flow."""
        return round(_middle(self.low, self.high, self.log))

    def __str__(self) -> str:
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`, both included; `log` for a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Value:
        """Ask a trial for a value."""
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The domain as an Optuna distribution."""
        import optuna

        return optuna.distributions.FloatDistribution(self.low, self.high, log=self.log)

    def holds(self, value: Value) -> bool:
        """Whether the value is in the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high  # type: ignore[operator]

    def middle(self) -> Value:
        """The value of a parameter that is not given or does not affect the flow."""
        return _middle(self.low, self.high, self.log)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """One of several unordered values."""

    values: tuple[Value, ...]

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Value:
        """Ask a trial for a value."""
        return cast(Value, trial.suggest_categorical(name, self.values))

    def distribution(self) -> optuna.distributions.BaseDistribution:
        """The domain as an Optuna distribution."""
        import optuna

        return optuna.distributions.CategoricalDistribution(self.values)

    def holds(self, value: Value) -> bool:
        """Whether the value is one of the choices."""
        return value in self.values

    def middle(self) -> Value:
        """The value of a parameter that is not given or does not affect the flow."""
        return self.values[0]

    def __str__(self) -> str:
        return ", ".join(str(value) for value in self.values)


Domain = Integer | Real | Choice


def only(domain: Domain) -> Value | None:
    """The only value of a domain, or None if it has several."""
    if isinstance(domain, Choice):
        return domain.values[0] if len(domain.values) == 1 else None
    return domain.low if domain.low == domain.high else None


def _middle(low: float, high: float, log: bool) -> float:
    return math.sqrt(low * high) if log else (low + high) / 2
