"""What a call gives back: a flow, its scores on validation and test data, and where it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import optuna
import torch

from nfopt import attributes as names
from nfopt.attributes import finite
from nfopt.data import Part, Prepared
from nfopt.events import Closing
from nfopt.model import Flow
from nfopt.model.disk import versions

GAP = 4.0  # joint standard errors between test and validation that are worth a warning


@dataclass(frozen=True)
class Score:
    """Mean negative log-likelihood on the data's own scale.

    Attributes:
        nll: Nats a row, weighted where rows have weights.
        nll_2se: Two standard errors of it.
    """

    nll: float
    nll_2se: float


@dataclass(frozen=True, eq=False)
class FitResult:
    """A trained flow, chosen on validation data and scored once on test data.

    Without test rows (see `nfopt.data.split_without_test`) what is of the test is nan.

    Attributes:
        flow: The flow, on the data's own scale; an ensemble where there are several members, the
            best on validation data first.
        validation_nll: Nats a row.
        validation_nll_2se: Two standard errors of it.
        test_nll: Nats a row.
        test_nll_2se: Two standard errors of it.
        parameters: Weights that can receive a gradient, of all members.
        seconds: Wall-clock seconds of the call.
        out: The folder it was saved in, or None.
        members: Test NLL of each member alone, in nats a row.
        disagreement: Mean over the test rows of the members' standard deviation of log_prob, in
            nats; 0 for one member.
        costs: Seconds to score 1,000 rows, and to draw as many where there is no context.
        warnings: One line each.
        data: The rows that it was trained, chosen and tested on.
        closing: What there was time for after training.
    """

    flow: Flow
    validation_nll: float
    validation_nll_2se: float
    test_nll: float
    test_nll_2se: float
    parameters: int
    seconds: float
    out: Path | None
    members: tuple[float, ...] = ()
    disagreement: float = 0.0
    costs: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    data: Prepared | None = None
    closing: Closing = field(default_factory=Closing, repr=False)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the scores, costs and pictures was left out for lack of time, in words."""
        return tuple(self.closing.left_out)

    @property
    def structure(self) -> str:
        """The members' structures in words, each once."""
        return " | ".join(dict.fromkeys(spec.summary() for spec in self.flow.specs))

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "members": len(self.flow),
            "shares": None if self.flow.shares is None else list(self.flow.shares),
            "members_test_nll": list(self.members),
            "validation_nll": self.validation_nll,
            "validation_nll_2se": self.validation_nll_2se,
            "test_nll": self.test_nll,
            "test_nll_2se": self.test_nll_2se,
            "disagreement": self.disagreement,
            "parameters": self.parameters,
            "structure": self.structure,
            "costs": dict(self.costs),
            "left_out": list(self.left_out),
            "seconds": self.seconds,
            "out": None if self.out is None else str(self.out),
        }


@dataclass(frozen=True, eq=False)
class SearchResult(FitResult):
    """The mixture of what a search has trained.

    Attributes:
        study: An ordinary Optuna study.
        trials: Its COMPLETE + PRUNED trials.
        complete: Those that were trained to their end.
        pruned: Those that ended at a rung.
        number: The trial that the flow comes from; None if it is the recipe, outside the study.
        mean_group: Mean number of trials that were trained as one stack in this call; nan if none.
    """

    study: optuna.Study = None  # type: ignore[assignment]
    trials: int = 0
    complete: int = 0
    pruned: int = 0
    number: int | None = None
    mean_group: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "study": self.study.study_name,
            "trials": self.trials,
            "complete": self.complete,
            "pruned": self.pruned,
            "best": {"number": self.number, "validation_nll": self.validation_nll},
            "members": len(self.flow),
            "shares": None if self.flow.shares is None else list(self.flow.shares),
            "members_test_nll": list(self.members),
            "test_nll": self.test_nll,
            "test_nll_2se": self.test_nll_2se,
            "parameters": self.parameters,
            "structure": self.structure,
            "costs": dict(self.costs),
            "left_out": list(self.left_out),
            "mean_group": None if math.isnan(self.mean_group) else self.mean_group,
            "seconds": self.seconds,
            "out": None if self.out is None else str(self.out),
        }


def member_scores(flow: Flow, part: Part) -> torch.Tensor:
    """Log-density of a part's rows under each member, on the data's own scale: (K, n) float64."""
    assert part.source is not None
    return torch.from_numpy(flow.members_scores(part.source))


def mixture(scores: torch.Tensor, shares: Sequence[float] | None = None) -> torch.Tensor:
    """Log-density of the members' mixture, (n,); without shares all count alike."""
    if shares is None:
        return scores.logsumexp(0) - math.log(len(scores))
    return (scores + scores.new_tensor(shares).log()[:, None]).logsumexp(0)


def disagreement(scores: torch.Tensor) -> float:
    """Mean over rows of the members' standard deviation, of scores (K, n); nan without rows."""
    return float(scores.std(dim=0, correction=0).mean()) if scores.numel() else math.nan


def score_of(scores: torch.Tensor, part: Part) -> Score:
    """Average log-densities of a part's rows, shape (n,), to a score; nan where there are none."""
    if len(scores) == 0:
        return Score(math.nan, math.nan)
    weights = None if part.weights is None else torch.from_numpy(part.weights).double()
    if weights is None:
        spread = float(scores.std()) if len(scores) > 1 else math.nan
        return Score(-float(scores.mean()), 2.0 * spread / math.sqrt(len(scores)))
    share = weights / weights.sum()
    mean = scores @ share
    return Score(-float(mean), 2.0 * float(((scores - mean) * share).square().sum().sqrt()))


def gap_text(validation: Score, test: Score) -> str | None:
    """Say if test and validation are further apart than chance explains."""
    joint = math.hypot(validation.nll_2se, test.nll_2se) / 2.0
    gap = abs(test.nll - validation.nll)
    if not gap > GAP * joint:
        return None
    return (
        f"test NLL {test.nll:.4g} and validation NLL {validation.nll:.4g} are {gap / joint:.1f}"
        " joint standard errors apart: the parts differ by more than chance, or a few rows dominate"
    )


def gaussian_text(validation: Score, gaussian: float) -> str | None:
    """Say if a flow validates worse than a Gaussian, whose NLL is nan where it is not known."""
    if not validation.nll > gaussian:
        return None
    return (
        f"validation NLL {validation.nll:.6g} is worse than the {gaussian:.6g} of a Gaussian fitted"
        " to the training rows: train for longer, or look at the data"
    )


def info_of(data: Prepared, validation: Score, test: Score, **more: Any) -> dict[str, Any]:
    """Describe a flow for its flow.json."""
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "table": msgspec.to_builtins(data.origin),
        "versions": versions(),
        "scores": {
            "validation_nll": validation.nll,
            "validation_nll_2se": validation.nll_2se,
            "test_nll": test.nll,
            "test_nll_2se": test.nll_2se,
        },
        **more,
    }


def note_delivered(result: SearchResult) -> None:
    """Write into a study what came of it and where that is, for who has the storage alone."""
    told = {
        "out": None if result.out is None else str(result.out.absolute()),
        "members": len(result.flow),
        "test_nll": finite(result.test_nll),
        "test_nll_2se": finite(result.test_nll_2se),
        "validation_nll": finite(result.validation_nll),
        "seconds": result.seconds,
        "command": result.flow.info["command"],
    }
    result.study.set_user_attr(names.DELIVERED, told)
