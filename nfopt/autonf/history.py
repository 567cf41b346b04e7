"""What a search goes through and proposes: weights, entropy, objectives and cost over the steps.

The NLLs in it are those of shared weights, which are 1.5 to 2.4 nats worse than the same flow's
alone: they show how a search went, and are never its result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from nfopt.autonf.options import Path
from nfopt.layers import Plain


class Record(Plain, frozen=True, forbid_unknown_fields=False):  # older ones have more
    """A search at one step.

    Attributes:
        sweep: Which pass over the blocks, from 0.
        places: First layer under search, and the one after the last.
        phase: "warm-up" or "search".
        step: Steps of the weights so far, over all blocks.
        weights: Of each layer's options, n rows of m.
        entropy: Of each layer's weights, in nats.
        upper_bound: L_U of the shared weights, on the rows that the logits learn from, nats a row.
        mixture: L_O likewise; None where paths are sampled.
        expected_cost: Of the flow, in units of the cheapest option.
        price: Nats a row and unit of cost.
        temperature: That the logits are divided by.
    """

    sweep: int
    places: tuple[int, int]
    phase: str
    step: int
    weights: tuple[tuple[float, ...], ...]
    entropy: tuple[float, ...]
    upper_bound: float | None
    mixture: float | None
    expected_cost: float
    price: float
    temperature: float


class History(Plain, frozen=True):
    """All records of a search, and what they are about.

    Attributes:
        options: Names, in the order of the weights' columns.
        costs: Of the options, in units of the cheapest.
        estimator: That was used: "exact" or "sampled".
        records: In their order.
    """

    options: tuple[str, ...]
    costs: tuple[float, ...]
    estimator: str
    records: tuple[Record, ...]

    def to_json(self) -> str:
        """Write as JSON."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> History:
        """Read what `to_json` wrote; ValueError if it is something else."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(f"`history` can't be read: {error}") from None

    def brief(self, most: int = 20) -> dict[str, Any]:
        """Return plain data with at most so many records, evenly spread, the last included."""
        last = len(self.records) - 1
        picked = sorted({last - round(k * last / max(1, most - 1)) for k in range(most)} - {-1})
        kept = History(
            options=self.options,
            costs=self.costs,
            estimator=self.estimator,
            records=tuple(self.records[k] for k in picked),
        )
        plain: dict[str, Any] = msgspec.to_builtins(kept)
        return plain


@dataclass(frozen=True)
class Found:
    """What a search proposes.

    Attributes:
        candidates: Paths of different flows, the most promising first.
        weights: Of the options at the end, n rows of m.
        costs: Of the options, relative.
        history: Its records.
        seconds: By the clock that was given.
        stopped: Whether it was ended from outside.
        warnings: One line each.
    """

    candidates: tuple[Path, ...]
    weights: tuple[tuple[float, ...], ...]
    costs: tuple[float, ...]
    history: History
    seconds: float
    stopped: bool
    warnings: tuple[str, ...]
