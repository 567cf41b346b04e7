"""The search of one block: warm-up, then weights and logits in turn.

    warm-up     paths in which every option occurs equally often; only the weights train
    search      the weights train on the objective at the present logits, the logits on other rows

The layers outside the block keep their choice; those of later blocks have `NOTHING`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nfopt.autonf import objective
from nfopt.autonf.options import NOTHING, Path
from nfopt.autonf.price import Price
from nfopt.autonf.rows import Minibatch, Rows
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet
from nfopt.autonf.updates import Adam, Logits, LogitUpdate
from nfopt.errors import NfoptError
from nfopt.training.schedule import cosine

DROPS = 8  # times in a block at which options are ruled out
PRICES = 20  # updates of the price in a block
BAD_STEPS = 50  # steps in a row without a finite loss, after which the search fails


@dataclass(frozen=True)
class State:
    """The state of a block's search, for a record.

    Attributes:
        phase: "warm-up" or "search".
        share: Of the block, 0 to 1.
        upper_bound: L_U on the latest rows of the logits, nats a row, or None.
        mixture: L_O likewise, or None.
        expected_cost: Of the flow, relative.
        price: Nats a row and unit of cost.
    """

    phase: str
    share: float
    upper_bound: float | None
    mixture: float | None
    expected_cost: float
    price: float


class BlockSearch:
    """One block's search.

    Args:
        net: Shared weights.
        logits: Of all layers; those of the block change.
        places: The block.
        path: The present choice of the other layers.
        exact: Whether all of the block's paths are evaluated, rather than some drawn.
        settings: Of the search.
        costs: Relative, one an option.
        price: Of a unit of cost.
        rows: Of the weights, and of the logits.
        generator: Draws paths; on the CPU.
        freeze: Whether the other layers' weights are not trained.
    """

    def __init__(
        self,
        net: Supernet,
        logits: Logits,
        places: range,
        path: Path,
        *,
        exact: bool,
        settings: Settings,
        costs: Tensor,
        price: Price,
        rows: tuple[Rows, Rows],
        generator: torch.Generator,
        freeze: bool,
    ) -> None:
        self.net, self.logits, self.places, self.path = net, logits, places, path
        self.exact, self.settings, self.costs, self.price = exact, settings, costs, price
        self.rows, self.generator = rows, generator
        outside = [place for place in range(net.places) if place not in places]
        for theta in net.parameters():
            theta.requires_grad_(True)
        for theta in net.parameters(outside) if freeze else []:
            theta.requires_grad_(False)
        self._trained = [theta for theta in net.parameters() if theta.requires_grad]
        self._adam = Adam(self._trained, settings.learning_rate)
        self._update = LogitUpdate(logits, settings.logit_rate)
        self._bad = 0
        self._seen: tuple[float | None, float | None] = (None, None)

    def run(
        self,
        steps: int,
        seconds: float | None,
        on_step: Callable[[State], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> int:
        """Search until the steps or the seconds are over, whichever comes first.

        Args:
            steps: Of the weights.
            seconds: Or None.
            on_step: Called after each step; True ends the search.
            clock: Seconds.

        Returns:
            Steps done.

        Raises:
            NfoptError: If the loss is not finite for `BAD_STEPS` steps in a row.
        """
        began, share = clock(), 0.0
        for step in range(steps):
            searching = share >= self.settings.warm_up
            if searching:
                through = (share - self.settings.warm_up) / (1 - self.settings.warm_up)
                self.logits.temperature = self.settings.temperature**through
            self._step(share, searching)
            before, share = share, (step + 1) / steps
            if seconds is not None:
                share = min(1.0, max(share, (clock() - began) / max(seconds, 1e-9)))
            if searching:
                self._now_and_then(before, share)
            expected = self._expected()
            phase = "search" if searching else "warm-up"
            state = State(phase, share, *self._seen, expected, self.price.rate(expected))
            stop = on_step(state)
            if stop or share >= 1.0:
                return step + 1
        return steps

    def _now_and_then(self, before: float, share: float) -> None:
        if self.settings.drop and _ticks(before, share, DROPS):
            self.logits.drop(self.places, self.settings.drop)
        if _ticks(before, share, PRICES):
            self.price.update(self._expected())

    def _expected(self) -> float:
        """Expected cost of the whole flow: of the block, and of the others' choices."""
        weights = self.logits.weights()[list(self.places)]
        others = [k for p, k in enumerate(self.path) if p not in self.places and k != NOTHING]
        return float((weights @ self.costs).sum() + self.costs[others].sum())

    # ------------------------------------------------------------------------------------- a step

    def _step(self, share: float, searching: bool) -> None:
        batch = self.rows[0].take()
        paths = self._paths(searching)
        log_p = self.net.log_prob(paths, batch.x, batch.context)
        loss = self._loss(paths, log_p, batch, searching)
        if math.isfinite(float(loss.detach())):
            self._learn(loss, cosine(share))
        else:
            self._bad += 1
            if self._bad >= BAD_STEPS:
                raise NfoptError(
                    f"The search has seen no finite likelihood in {self._bad} steps: try a lower"
                    " `learning_rate`, or look at the columns for heavy tails."
                )
        if searching:
            held = self.rows[1].take()
            paths = self._paths(searching)
            with torch.no_grad():
                log_p = self.net.log_prob(paths, held.x, held.context)
            self._move(paths, log_p, held)

    def _paths(self, searching: bool) -> Tensor:
        """Paths through all layers; outside the block they agree."""
        choices = [self.logits.choices(place) for place in self.places]
        if not searching:
            inside = objective.fair_paths(choices, self.generator)
        elif self.exact:
            inside = objective.enumerate_paths(choices)
        else:
            now = self.logits.now()[list(self.places)]
            inside = objective.draw_paths(now, self.settings.paths, self.generator)
        paths = torch.tensor(self.path).repeat(len(inside), 1)
        paths[:, list(self.places)] = inside
        return paths

    def _log_weights(self, paths: Tensor) -> Tensor:
        rows = list(self.places)
        return objective.path_log_weights(self.logits.now()[rows], paths[:, rows])

    def _loss(self, paths: Tensor, log_p: Tensor, batch: Minibatch, searching: bool) -> Tensor:
        """The loss of the weights: the objective with the logits as constants."""
        finite = log_p.detach().isfinite().all(1)  # paths that are not finite are ignored
        if not bool(finite.any()):
            return torch.tensor(math.nan)
        log_p = log_p[finite]
        if not searching or not self.exact:
            return -objective.row_mean(log_p, batch.weights).mean()
        log_w = self._log_weights(paths).detach().to(log_p.device)[finite]
        value = objective.mixture if self.settings.objective == "mixture" else objective.upper_bound
        return value(log_w, log_p, batch.weights)

    def _learn(self, loss: Tensor, factor: float) -> None:
        self._bad = 0
        if not loss.requires_grad:  # options that do nothing have no weights
            return
        self._adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for theta in self._trained:
            # NaN from one path must not reach what the others share
            if theta.grad is not None:
                theta.grad.nan_to_num_(0.0, 0.0, 0.0)
        if self.settings.clip:
            torch.nn.utils.clip_grad_norm_(self._trained, self.settings.clip)
        self._adam.rate = self.settings.learning_rate * factor
        self._adam.step()

    def _move(self, paths: Tensor, log_p: Tensor, batch: Minibatch) -> None:
        """Train the logits on the paths' densities of some rows."""
        nll = -objective.row_mean(log_p, batch.weights).cpu().float()
        finite = nll.isfinite()
        if not bool(finite.any()):
            return
        worst = nll[finite].max()
        nll = torch.where(finite, nll, worst + 10)  # a path that is not finite is a bad one
        log_p = torch.where(finite.to(log_p.device)[:, None], log_p, -worst.to(log_p.device) - 10)
        log_w = self._log_weights(paths)
        shares = log_w.detach().exp() if self.exact else torch.full((len(nll),), 1 / len(nll))
        mixed = None
        if self.exact:
            rows = None if batch.weights is None else batch.weights.cpu()
            mixed = objective.mixture(log_w, log_p.cpu().float(), rows)
        self._seen = (
            float((shares * nll).sum()),
            None if mixed is None else float(mixed.detach()),
        )
        rate = self.price.rate(self._expected())
        cost = objective.expected_cost(self.logits.now()[list(self.places)], self.costs)
        if self.settings.objective == "mixture" and mixed is not None:
            value = mixed
        elif self.exact:
            value = (log_w.exp() * nll).sum()
        else:
            value = objective.reinforce(log_w, nll)
        self._update.step(value + rate * cost)


def _ticks(before: float, share: float, times: int) -> bool:
    """Whether a share of the whole passes one of so many evenly spread marks."""
    return int(before * times) < int(share * times)
