"""How a differentiable search runs, as plain data."""

from __future__ import annotations

from typing import Literal

from nfopt.layers import Plain, check_choice, check_range

Objective = Literal["upper", "mixture"]
Estimator = Literal["auto", "exact", "sampled"]
Proposals = Literal["tuned", "weights"]


class Settings(Plain, frozen=True):
    """How a differentiable search runs.

    Attributes:
        places: Layers at most, n.
        block: Layers that are searched at a time; the others keep their choice meanwhile.
        passes: 1 is Grow: block after block is searched, frozen, and the next one put on it. More
            is Block: the blocks are searched again in turn, until a pass changes nothing.
        objective: "upper" for L_U, whose minimum is a single path; "mixture" for L_O.
        estimator: "exact" over all paths of a block; "sampled" from `paths` of them (L_U only);
            "auto" is exact where a measured step of it costs at most 8 steps of a single path.
        paths: Drawn at a step by "sampled"; at least 2.
        holdout: Share of the training rows that logits learn from, and weights do not see (first
            order, as DARTS).
        learning_rate: Of the weights (Adam, cosine within a block). With less, few hundred steps
            favour whatever learns fastest (`studies/autonf2023`).
        logit_rate: Of the logits (Adam).
        batch_size: Rows a step.
        steps: Steps of the weights in the whole search.
        warm_up: Share of a block's steps in which all options train equally often and the logits
            wait.
        temperature: That the logits are divided by at the end of a block; it falls from 1.
        drop: An option whose weight falls below this is ruled out for the rest of the block; 0
            keeps all.
        candidates: Flows that the race gets at most.
        proposals: Where candidates come from: "tuned", flows that are trained on alone for a while
            from the shared weights, the best first; or "weights", the most likely flows.
        pool: Flows that are tuned, those of the least NLL and the most likely ones, beside the
            flows of one type; then as many that differ from the best of them in one layer.
        tune: Steps of one of them, as a share of `steps`.
        clip: Greatest gradient norm of the weights; 0 switches clipping off.

    Raises:
        ValueError: If a value is out of its range, or two do not go together.
    """

    places: int = 8
    block: int = 4
    passes: int = 1
    objective: Objective = "upper"
    estimator: Estimator = "auto"
    paths: int = 4
    holdout: float = 0.25
    learning_rate: float = 1e-2
    logit_rate: float = 0.02
    batch_size: int = 256
    steps: int = 2000
    warm_up: float = 0.4
    temperature: float = 0.5
    drop: float = 0.02
    candidates: int = 8
    proposals: Proposals = "tuned"
    pool: int = 6
    tune: float = 0.16
    clip: float = 5.0

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, Objective)
        check_choice("estimator", self.estimator, Estimator)
        check_choice("proposals", self.proposals, Proposals)
        check_range("places", self.places, 1, 64)
        check_range("paths", self.paths, 2, 256)
        for name in ("block", "passes", "batch_size", "steps", "candidates", "pool"):
            check_range(name, getattr(self, name), 1, 1 << 31)
        for name, low, high in (
            ("holdout", 0.0, 1.0),
            ("learning_rate", 0.0, 1.0),
            ("logit_rate", 0.0, 10.0),
            ("tune", 0.0, 1.0 + 1e-9),
            ("temperature", 0.0, 1.0 + 1e-9),
        ):
            value = getattr(self, name)
            if not low < value < high:
                raise ValueError(
                    f"`{name}` must be above {low:g} and below {high:g}, got {value!r}."
                )
        for name in ("warm_up", "drop"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"`{name}` must be from 0 to below 1, got {value!r}.")
        if not 0 <= self.clip < float("inf"):
            raise ValueError(f"`clip` must be at least 0 and finite, got {self.clip!r}.")
        if self.objective == "mixture" and self.estimator == "sampled":
            raise ValueError(
                "`estimator` 'sampled' is for the objective 'upper' alone: the logarithm of a"
                " sampled mixture is biased. Give estimator 'exact'."
            )

    @property
    def blocks(self) -> list[range]:
        """The places of each block, from the data to the base."""
        starts = range(0, self.places, self.block)
        return [range(start, min(start + self.block, self.places)) for start in starts]
