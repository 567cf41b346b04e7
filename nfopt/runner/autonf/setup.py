"""What all trials of a differentiable search share, and what is written to each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nfopt import attributes as names
from nfopt.autonf import Choice, CostTable, Fixed, Method, Option, RacePlan, Target, options_of
from nfopt.autonf.price import cost_of
from nfopt.flows.cost import inverse_cost, train_cost
from nfopt.recipes import WIDTH
from nfopt.spec import TrainSpec

OPTIONS = "types,identity"
PLACES = 6
KEPT = 8  # candidates in the attribute


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


def facts_of(choice: Choice, train: TrainSpec, marginals: str, seconds: float) -> Mapping[str, Any]:
    """Collect the attributes of a trial from what its search and race have found."""
    best = choice.best
    raced = [each for each in choice.raced if each.share > 0][:KEPT]
    found = {
        names.SPEC: best.spec.to_json(),
        names.TRAIN: train.to_json(),
        names.MARGINALS: marginals,
        names.PARAMETERS: best.spec.parameter_count(),
        names.COST_TRAIN: train_cost(best.spec),
        names.COST_INVERSE: inverse_cost(best.spec),
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
        "inverse_cost": inverse_cost(spec),
    }
    return [known[name] for name in objectives]
