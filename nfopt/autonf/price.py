"""What a layer's cost counts for: a fixed price, or whatever price meets a target.

Costs are relative: the cheapest option that does something costs 1, so that n such layers cost n.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

from nfopt.autonf.options import NOTHING, Option, Path

OVER = 1e3  # nats for each time that a target is exceeded by itself: more than NLLs differ by
CHEAP_SHARE = 0.8  # of the layers of one flow; more of the cheapest type is worth a warning


class Price(ABC):
    """Nats a row that one unit of cost is worth, as the search goes."""

    @abstractmethod
    def rate(self, expected: float) -> float:
        """Return the price at an expected cost: the gradient of the cost's term by the cost."""

    def update(self, expected: float) -> None:
        """Take note of the expected cost, now and then."""
        return None

    def penalty(self, cost: float, rate: float) -> float:
        """Say what the cost of a flow counts for, nats a row, when flows are compared.

        Args:
            cost: Of the flow, relative.
            rate: Nats a row and unit of cost, as the search has ended with.
        """
        return rate * cost

    def excess(self, cost: float) -> str | None:
        """Say in a line if a flow is dearer than it may be."""
        return None

    def state(self) -> float:
        """Return what it has learnt, for a checkpoint."""
        return 0.0

    def load(self, state: float) -> None:
        """Go on where another one was."""
        return None


class Fixed(Price):
    """A price that stays: lambda in `L + lambda * cost`.

    Args:
        nats: A row and unit of cost, at least 0.

    Raises:
        ValueError: If it is negative or not finite.
    """

    def __init__(self, nats: float = 0.0) -> None:
        if not 0 <= nats < math.inf:
            raise ValueError(f"`price` must be at least 0 and finite, got {nats!r}.")
        self.nats = nats

    def rate(self, expected: float) -> float:
        """Return the price."""
        return self.nats


class Target(Price):
    """The price at which the expected cost is at most a target: an augmented Lagrangian.

    The term is rho/2 * (max(0, mu/rho + cost - target)^2 - (mu/rho)^2), and mu moves to its
    derivative at each update (Nocedal and Wright, Numerical Optimization, section 17.3). When flows
    are compared, those within the target come first, and among them the likelihood alone counts.

    Args:
        cost: Of the whole flow, in relative units.
        stiffness: rho, in nats a squared unit of cost.

    Raises:
        ValueError: If the cost is not positive.
    """

    def __init__(self, cost: float, stiffness: float = 0.05) -> None:
        if not 0 < cost < math.inf:
            raise ValueError(f"`target_cost` must be positive and finite, got {cost!r}.")
        self.cost, self.stiffness = cost, stiffness
        self.multiplier = 0.0

    def rate(self, expected: float) -> float:
        """Return max(0, mu + rho * (cost - target))."""
        return max(0.0, self.multiplier + self.stiffness * (expected - self.cost))

    def update(self, expected: float) -> None:
        """Move the multiplier."""
        self.multiplier = self.rate(expected)

    def penalty(self, cost: float, rate: float) -> float:
        """Return 0 within the target."""
        return OVER * (cost / self.cost - 1) if self._over(cost) else 0.0

    def excess(self, cost: float) -> str | None:
        """Say so above the target."""
        if not self._over(cost):
            return None
        return f"the flow costs {cost:.3g}, above the target {self.cost:.3g}: none was found below"

    def _over(self, cost: float) -> bool:
        return cost > self.cost * (1 + 1e-9)

    def state(self) -> float:
        """Return the multiplier."""
        return self.multiplier

    def load(self, state: float) -> None:
        """Take a multiplier."""
        self.multiplier = state


def relative(options: Sequence[Option], costs: Sequence[float] | None) -> tuple[float, ...]:
    """Divide costs by that of the cheapest option that does something.

    Args:
        options: Of every layer.
        costs: One an option, in any unit; None: all that do something cost the same.

    Raises:
        ValueError: If one is negative or not finite, or there are not as many as options.
    """
    if costs is None:
        return tuple(0.0 if option.idle else 1.0 for option in options)
    if len(costs) != len(options):
        raise ValueError(f"`costs` must be one an option: {len(costs)} for {len(options)} options.")
    for option, cost in zip(options, costs, strict=True):
        if not 0 <= cost < math.inf:
            raise ValueError(
                f"`costs` must be at least 0 and finite, got {cost!r} for {option.name!r}."
            )
    least = min(
        (c for o, c in zip(options, costs, strict=True) if not o.idle and c > 0), default=1.0
    )
    return tuple(cost / least for cost in costs)


def cost_of(path: Path, costs: Sequence[float]) -> float:
    """Add up the costs of a path's layers."""
    return sum(costs[k] for k in path if k != NOTHING)


def cheap_text(options: Sequence[Option], path: Path, costs: Sequence[float]) -> str | None:
    """Say if nearly all layers of a flow are of the cheapest type: the price may be too high."""
    layers = [k for k in path if k != NOTHING and not options[k].idle]
    dear = [k for k in range(len(options)) if not options[k].idle]
    if len(dear) < 2 or not layers or len({costs[k] for k in dear}) == 1:
        return None
    cheapest = min(dear, key=lambda k: costs[k])
    share = layers.count(cheapest) / len(layers)
    if share <= CHEAP_SHARE:
        return None
    return (
        f"{layers.count(cheapest)} of {len(layers)} layers are {options[cheapest].name}, the"
        " cheapest type: try a lower `price`"
    )
