"""What all trials of a differentiable search share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nfopt.autonf import CostTable, Fixed, Method, Option, RacePlan, Target, options_of
from nfopt.recipes import WIDTH

OPTIONS = "types,identity"
PLACES = 6


@dataclass(frozen=True)
class Setup:
    """What all trials of an objective share.

    Attributes:
        options: What each layer may be: names (see `nfopt.autonf.options_of`) or options.
        places: Layers at most.
        width: Of the conditioners, where options are named.
        method: "gradient", or "halving": random architectures, whose race is the rival.
        cost: What counts as a layer's cost, one of `nfopt.autonf.COSTS`; None: nothing.
        price: Nats a row and unit of cost (the cheapest option costs 1). Several: one of them a
            trial; None: each trial's own.
        target_cost: Of the whole flow, in those units, instead of a price.
        block: Layers that are searched at a time; None: each trial's own choice.
        estimator: "exact" or "sampled"; None: each trial's own choice.
        race: How candidates race; None: as the method does.
        table: Measured costs; None measures anew and keeps nothing.
    """

    options: str | Sequence[str] | Sequence[Option] = OPTIONS
    places: int = PLACES
    width: int = WIDTH
    method: Method = "gradient"
    cost: str | None = None
    price: float | tuple[float, ...] | None = None
    target_cost: float | None = None
    block: int | None = None
    estimator: Literal["exact", "sampled"] | None = None
    race: RacePlan | None = None
    table: CostTable | None = None

    def __post_init__(self) -> None:
        priced = self.price is not None or self.target_cost is not None
        if self.cost is None and priced:
            raise ValueError("`cost` must be given with `price` or `target_cost`.")
        if self.price is not None and self.target_cost is not None:
            raise ValueError("`price` and `target_cost` must not both be given.")
        for nats in self.price if isinstance(self.price, tuple) else (self.price or 0.0,):
            Fixed(nats)
        if self.target_cost is not None:
            Target(self.target_cost)

    def options_for(self, features: int) -> tuple[Option, ...]:
        """Make the options for D features."""
        given = [self.options] if isinstance(self.options, str) else list(self.options)
        if any(isinstance(each, Option) for each in given):
            return tuple(each for each in given if isinstance(each, Option))
        words = ",".join(str(each) for each in given)
        return options_of(words, features, width=self.width)
