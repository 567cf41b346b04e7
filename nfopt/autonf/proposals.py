"""The flows that a search proposes to the race, and their order.

    weights         the most likely paths
    tuned           the paths of the least NLL and the most likely ones, and the flows of one type,
                    each trained alone for some steps from the shared weights

Shared weights fit none of the paths that share them, and worst those that were drawn least. A tenth
of a training on a copy of their own corrects most of that: of 64 flows the best is then mostly
among the first five, on three tables (`studies/autonf2023`; on another one it is missed each time).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nfopt.autonf.objective import row_mean
from nfopt.autonf.options import Option, Path, layers_of
from nfopt.autonf.rows import Minibatch, Rows
from nfopt.autonf.settings import Settings
from nfopt.autonf.supernet import Supernet
from nfopt.autonf.updates import Adam
from nfopt.training.schedule import cosine

SPARE = 16  # paths kept for each one wanted, as several may be the same flow
MAX_EVALUATED = 256  # paths; of more, only the most likely ones are evaluated
ROWS = 2048  # rows of the logits' part, at most, on which paths are compared
CHUNK = 16  # paths evaluated at a time
MAX_STEPS = 100  # of a path alone, where seconds end the search before its steps do
RATE = 3e-3  # learning rate of a path alone, falling by a cosine


def most_likely(options: Sequence[Option], weights: Tensor, count: int) -> list[Path]:
    """The paths of the greatest weight that are different flows.

    Args:
        options: Of every layer.
        weights: Shape (n, m).
        count: Paths at most.

    Returns:
        The most likely first; of paths to the same flow (idle layers at other places) only one.
    """
    best: list[tuple[float, Path]] = [(0.0, ())]
    for row in weights.double().clamp_min(1e-300).log().tolist():
        # beam search; exact but for `SPARE`, as the best paths have the best prefixes
        longer = [(value + w, (*path, k)) for value, path in best for k, w in enumerate(row)]
        best = sorted(longer, key=lambda entry: (-entry[0], entry[1]))[: count * SPARE]
    return distinct(options, [[path for _, path in best]])[:count]


def random_paths(
    options: Sequence[Option], places: int, count: int, generator: torch.Generator
) -> list[Path]:
    """Draw paths that are different flows, all equally likely; fewer if there are not as many."""
    by_flow: dict[object, Path] = {}
    for _ in range(20):  # draws of `count`: enough unless nearly all flows are wanted
        drawn = torch.randint(len(options), (count, places), generator=generator).tolist()
        for path in map(tuple, drawn):
            by_flow.setdefault(layers_of(options, path), path)
        if len(by_flow) >= count:
            break
    return list(by_flow.values())[:count]


def distinct(options: Sequence[Option], lists: Sequence[Sequence[Path]]) -> list[Path]:
    """Interleave several lists of paths, with each flow once."""
    by_flow: dict[object, Path] = {}
    for rank in range(max((len(paths) for paths in lists), default=0)):
        for paths in lists:
            if rank < len(paths):
                by_flow.setdefault(layers_of(options, paths[rank]), paths[rank])
    return list(by_flow.values())


@dataclass(frozen=True)
class Proposer:
    """Proposes flows at the end of a search.

    Attributes:
        options: Of every layer.
        net: Shared weights.
        rows: Of the weights, and of the logits.
        settings: Of the search.
        penalty: Of a path's cost, in nats a row.
        clock: Seconds.
        should_stop: Polled after each step; True ends the tuning.
    """

    options: Sequence[Option]
    net: Supernet
    rows: tuple[Rows, Rows]
    settings: Settings
    penalty: Callable[[Path], float]
    clock: Callable[[], float]
    should_stop: Callable[[], bool] | None

    def propose(self, weights: Tensor, seconds: float | None = None) -> list[Path]:
        """Paths of different flows, the most promising first.

        Args:
            weights: Of the options, shape (n, m).
            seconds: Limit of the tuning, or None; paths that are not tuned in time come last.
        """
        count = self.settings.candidates
        if self.settings.proposals == "tuned":
            return self.tuned(self.pool(weights), seconds)[:count]
        return most_likely(self.options, weights, count)

    # ---------------------------------------------------------------------------------- comparison

    def pool(self, weights: Tensor) -> list[Path]:
        """The paths to tune.

        First the flows of one type, which one would choose without a search; then those of the
        least NLL and the most likely ones in turn.
        """
        count, places = len(self.options), self.settings.places
        if count**places <= MAX_EVALUATED:
            paths = list(itertools.product(range(count), repeat=places))
            likely = most_likely(self.options, weights, self.settings.pool)
        else:
            likely = paths = most_likely(self.options, weights, MAX_EVALUATED)
        losses = self.losses(paths)
        best = [paths[k] for k in sorted(range(len(paths)), key=losses.__getitem__)]
        plain = [(k,) * places for k in range(count)]
        promising = distinct(self.options, [best, likely])[: self.settings.pool]
        return distinct(self.options, [[*plain, *promising]])

    @torch.no_grad()
    def losses(self, paths: Sequence[Path]) -> list[float]:
        """NLL under the present weights plus penalty, nats a row; inf where it is not finite."""
        held, losses = self.rows[1].first(ROWS), []
        for start in range(0, len(paths), CHUNK):
            some = paths[start : start + CHUNK]
            log_p = self.net.log_prob(some, held.x, held.context)
            nlls = (-row_mean(log_p, held.weights)).tolist()
            losses += [nll + self.penalty(path) for nll, path in zip(nlls, some, strict=True)]
        return [loss if math.isfinite(loss) else math.inf for loss in losses]

    # -------------------------------------------------------------------------------------- tuning

    def tuned(self, paths: Sequence[Path], seconds: float | None = None) -> list[Path]:
        """Sort paths by their loss after each was trained alone, all on the same batches.

        Then the same for the flows that differ from the best one in a single layer, as shared
        weights rank those worst that were seldom drawn.
        """
        ends = math.inf if seconds is None else self.clock() + seconds
        steps = min(MAX_STEPS, max(1, round(self.settings.tune * self.settings.steps)))
        if seconds is not None:
            steps = self._affordable(paths, steps, seconds)
        batches = [self.rows[0].take() for _ in range(steps)]
        losses: dict[Path, float] = {}
        waiting = list(paths)
        for more in (self.near, None):
            for path in waiting:
                loss = self._alone(path, batches, ends)
                if loss is None:
                    untuned = [path for path in waiting if path not in losses]
                    return [*sorted(losses, key=losses.__getitem__), *untuned]
                losses[path] = loss
            if more is not None:
                waiting = more(min(losses, key=losses.__getitem__), list(losses))
        return sorted(losses, key=losses.__getitem__)

    def _affordable(self, paths: Sequence[Path], steps: int, seconds: float) -> int:
        """The steps that fit into the seconds, for these paths and half as many after them."""
        began = self.clock()
        for path in paths:
            if self._alone(path, [self.rows[0].take()], began + seconds) is None:
                break
        return max(1, min(steps, int((seconds / (self.clock() - began + 1e-9) - 1) / 1.5)))

    def near(self, path: Path, known: Sequence[Path]) -> list[Path]:
        """Flows that differ from a path in one layer, without the known ones, the best first."""
        swapped = [
            (*path[:place], k, *path[place + 1 :])
            for place in range(len(path))
            for k in range(len(self.options))
        ]
        new = distinct(self.options, [[*known, *swapped]])[len(known) :]
        losses = dict(zip(new, self.losses(new), strict=True))
        return sorted(new, key=losses.__getitem__)[: self.settings.pool]

    def _alone(self, path: Path, batches: Sequence[Minibatch], ends: float) -> float | None:
        """Loss of a path after it was trained alone; the shared weights are restored.

        Returns:
            None if the time was over before.
        """
        thetas = self._thetas(path)
        before = [theta.detach().clone() for theta in thetas]
        adam, loss = Adam(thetas, RATE), None
        for number, batch in enumerate(batches if thetas else ()):
            if self.clock() > ends or (self.should_stop is not None and self.should_stop()):
                break
            adam.rate = RATE * cosine(number / len(batches))
            self._step(path, adam, thetas, batch)
        else:
            (loss,) = self.losses([path])
        with torch.no_grad():
            for theta, old in zip(thetas, before, strict=True):
                theta.copy_(old)
        return loss

    def _thetas(self, path: Path) -> list[Tensor]:
        stacks = [self.net.stacks[place][k] for place, k in enumerate(path)]
        thetas = [stack.theta for stack in stacks if stack is not None and stack.theta.numel()]
        for theta in thetas:
            theta.requires_grad_(True)  # Grow froze those of its earlier blocks
        return thetas

    def _step(self, path: Path, adam: Adam, thetas: Sequence[Tensor], batch: Minibatch) -> None:
        log_p = self.net.log_prob([path], batch.x, batch.context)
        loss = -row_mean(log_p, batch.weights).mean()
        if not bool(loss.isfinite()):
            return
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.settings.clip:
            torch.nn.utils.clip_grad_norm_(thetas, self.settings.clip)
        adam.step()
