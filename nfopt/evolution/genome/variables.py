"""Mixed parameters: categories, whole and real numbers, linear or in the log, maybe on a grid.

Numbers are mutated in the unit interval: `unit` maps a value to it, `at` maps back to the nearest
value that the variable can have.

    >>> rate = Real(1e-4, 1e-2, log=True)
    >>> round(rate.at(0.5), 6), round(rate.unit(1e-3), 6)
    (0.001, 0.5)
    >>> Real(0.0, 1.0, step=0.25).nearest(0.4)
    0.5

Ranges in which doubles fall together are handled apart: whole numbers beyond 2^52 are counted, not
subtracted, and a range longer than the greatest double is halved first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Value = int | float
Values = tuple[Value, ...]

EXACT = 1 << 52
"""Up to here doubles have every half of a whole number."""

ALIKE = 1e-3
"""Length of a range, as a share of its lower end, up to which logarithms are as good as linear."""


@dataclass(frozen=True)
class Category:
    """One of `size` unordered choices, 0 to size - 1."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"`size` must be at least 1, not {self.size}.")

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.size

    @property
    def single(self) -> bool:
        """Whether there is nothing to choose."""
        return self.size == 1

    @property
    def inactive_value(self) -> int:
        """The value that an inactive variable has."""
        return 0

    def nearest(self, value: Value) -> int:
        """The choice nearest to a number."""
        if type(value) is int and 0 <= value < self.size:
            return value
        return min(max(int(value), 0), self.size - 1)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a choice, all equally likely."""
        return int(rng.random() * self.size)


@dataclass(frozen=True)
class Integer:
    """Whole numbers from `low` to `high` in steps of `step`; `log` if their ratios count.

    Raises:
        ValueError: If the range is empty, a step is below 1, or `log` goes with a step or with a
            `low` below 1.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"`low` must not exceed `high`: {self.low} and {self.high}.")
        if self.step < 1:
            raise ValueError(f"`step` must be at least 1, not {self.step}.")
        if self.log and (self.step != 1 or self.low < 1):
            raise ValueError(
                f"`log` needs `low` of at least 1 and `step` 1, not {self.low} and {self.step}."
            )

    @cached_property
    def _ends(self) -> tuple[float, float]:
        """Half a step beyond the range, so that all values get the same share of the interval."""
        low, high = self.low - self.step / 2, self.top + self.step / 2
        return (math.log(low), math.log(high)) if self.log else (low, high)

    @cached_property
    def _counted(self) -> bool:
        """Whether positions are counted in whole numbers, as doubles are not exact enough."""
        if max(abs(self.low), abs(self.top)) + self.step <= EXACT:
            return False
        return not self.log or self.top - self.low < ALIKE * self.low

    @cached_property
    def top(self) -> int:
        """The greatest value on the grid."""
        return self.low + (self.high - self.low) // self.step * self.step

    @cached_property
    def count(self) -> int:
        """How many values there are."""
        return (self.high - self.low) // self.step + 1

    @property
    def single(self) -> bool:
        """Whether there is nothing to choose."""
        return self.low == self.top

    @property
    def inactive_value(self) -> int:
        """The value that an inactive variable has."""
        return self.at(0.5)

    def nearest(self, value: Value) -> int:
        """The value on the grid nearest to a number."""
        if type(value) is int and self.step == 1 and self.low <= value <= self.high:
            return value
        if self._counted:
            steps = (2 * (round(value) - self.low) + self.step) // (2 * self.step)
        elif self.step != 1:
            steps = round((value - self.low) / self.step)
        else:
            steps = round(value) - self.low
        return min(max(self.low + steps * self.step, self.low), self.top)

    def unit(self, value: Value) -> float:
        """Map a value into the unit interval."""
        if self._counted:
            length = self.top - self.low + self.step
            return (2 * (int(value) - self.low) + self.step) / (2 * length)
        low, high = self._ends
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def at(self, unit: float) -> int:
        """The value nearest to a position in the unit interval."""
        if unit >= 1.0:
            return self.top
        if self._counted:
            return self.low + int(max(unit, 0.0) * EXACT) * self.count // EXACT * self.step
        low, high = self._ends
        value = low + min(max(unit, 0.0), 1.0) * (high - low)
        return self.nearest(math.exp(value) if self.log else value)

    def draw(self, rng: np.random.Generator) -> int:
        """Draw a value, uniform in the unit interval."""
        return self.at(rng.random())


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`, on a grid if there is a `step`; `log` if their ratios count.

    Raises:
        ValueError: If the range is empty, the step not above 0, or `log` goes with a step or with
            a `low` that is not above 0.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"`low` must not exceed `high`: {self.low} and {self.high}.")
        if self.step is not None and not self.step > 0:
            raise ValueError(f"`step` must be above 0, not {self.step}.")
        if self.log and (self.step is not None or self.low <= 0):
            raise ValueError(
                f"`log` needs `low` above 0 and no `step`, not {self.low} and {self.step}."
            )

    @cached_property
    def _ends(self) -> tuple[float, float]:
        if self.log:
            return math.log(self.low), math.log(self.high)
        return self._scale * self.low, self._scale * self.top

    @cached_property
    def _scale(self) -> float:
        """A factor by which the range is short enough for a double."""
        return 1.0 if self.log or math.isfinite(self.high - self.low) else 0.5

    @cached_property
    def top(self) -> float:
        """The greatest value on the grid."""
        if self.step is None:
            return float(self.high)
        # The tolerance counts a grid that misses `high` only by rounding as reaching it.
        return self._on_grid(math.floor(self._steps(self.high) + 1e-9))

    def _steps(self, value: float) -> float:
        """How many steps of the grid a value is above `low`."""
        step = self.step or 1.0
        return (self._scale * value - self._scale * self.low) / (self._scale * step)

    def _on_grid(self, steps: int) -> float:
        """The value so many steps above `low`."""
        step = self.step or 1.0
        return (self._scale * self.low + steps * (self._scale * step)) / self._scale

    @cached_property
    def count(self) -> float:
        """How many values there are; infinite without a grid."""
        if self.single:
            return 1
        return math.inf if self.step is None else round(self._steps(self.top)) + 1

    @property
    def single(self) -> bool:
        """Whether there is nothing to choose."""
        return self.low == self.top

    @property
    def inactive_value(self) -> float:
        """The value that an inactive variable has."""
        return self.at(0.5)

    def nearest(self, value: Value) -> float:
        """The value on the grid nearest to a number."""
        if type(value) is float and self.step is None and self.low <= value <= self.high:
            return value
        if self.step is not None:
            value = self._on_grid(round(self._steps(min(max(value, self.low), self.high))))
        return float(min(max(value, self.low), self.top))

    def unit(self, value: Value) -> float:
        """Map a value into the unit interval."""
        low, high = self._ends
        if high == low:
            return 0.5
        value = math.log(value) if self.log else self._scale * value
        return (value - low) / (high - low)

    def at(self, unit: float) -> float:
        """The value nearest to a position in the unit interval."""
        low, high = self._ends
        value = low + min(max(unit, 0.0), 1.0) * (high - low)
        return self.nearest(math.exp(value) if self.log else value / self._scale)

    def draw(self, rng: np.random.Generator) -> float:
        """Draw a value, uniform in the unit interval."""
        return self.at(rng.random())


Variable = Category | Integer | Real


def replaced(values: Values, changes: Mapping[int, Value]) -> Values:
    """Return the values with some of them, by index, changed."""
    changed = list(values)
    for index, value in changes.items():
        changed[index] = value
    return tuple(changed)
