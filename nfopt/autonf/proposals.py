"""Which flows a search proposes to the race, and in which order.

    weights         the most likely paths
    tuned           the paths of the least NLL and the most likely ones, and the flows of one type,
                    each trained on alone for a while from the shared weights

Shared weights fit none of the paths that share them, and those least that were drawn least. A tenth
of a training in which a path has them for itself takes most of that away: of 64 flows the best is
then mostly among the first five, on three tables
(`studies/autonf2023`, which has one on which it is missed each time, too).
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

ALIKE = 16  # paths kept for each one wanted, as several may be the same flow
EVERY = 256  # paths at most that are all evaluated; of more the most likely ones are
ROWS = 2048  # rows of the logits' part at most, on which paths are compared
CHUNK = 16  # paths that are evaluated at a time
MOST_STEPS = 100  # of a path alone, where seconds end the search before its steps do
RATE = 3e-3  # learning rate of a path alone, falling by a cosine


def most_likely(options: Sequence[Option], weights: Tensor, count: int) -> list[Path]:
    """List paths of the greatest weight that are different flows.

    Args:
        options: Of every layer.
        weights: Shape (n, m).
        count: Paths at most.

    Returns:
        The most likely first; of paths to the same flow (idle layers at other places) one.
    """
    best: list[tuple[float, Path]] = [(0.0, ())]
    for row in weights.double().clamp_min(1e-300).log().tolist():
        # exact but for `ALIKE`: the best paths begin with the best beginnings
        longer = [(value + w, (*path, k)) for value, path in best for k, w in enumerate(row)]
        best = sorted(longer, key=lambda each: (-each[0], each[1]))[: count * ALIKE]
    return distinct(options, [[path for _, path in best]])[:count]


def random_paths(
    options: Sequence[Option], places: int, count: int, generator: torch.Generator
) -> list[Path]:
    """Draw paths that are different flows, all equally likely; fewer if there are not so many."""
    found: dict[object, Path] = {}
    for _ in range(20):  # draws of `count`: enough unless nearly all flows are asked for
        drawn = torch.randint(len(options), (count, places), generator=generator).tolist()
        for path in map(tuple, drawn):
            found.setdefault(layers_of(options, path), path)
        if len(found) >= count:
            break
    return list(found.values())[:count]


def distinct(options: Sequence[Option], lists: Sequence[Sequence[Path]]) -> list[Path]:
    """Take several lists' paths in turn, each flow once."""
    found: dict[object, Path] = {}
    for rank in range(max((len(each) for each in lists), default=0)):
        for each in lists:
            if rank < len(each):
                found.setdefault(layers_of(options, each[rank]), each[rank])
    return list(found.values())


@dataclass(frozen=True)
class Proposer:
    """A search at its end.

    Attributes:
        options: Of every layer.
        net: Shared weights.
        rows: Of the weights, and of the logits.
        settings: Of the search.
        penalty: Nats a row that a path's cost counts for.
        clock: Seconds.
        should_stop: Asked after each step; True ends the tuning, and what is left stays as it was.
    """

    options: Sequence[Option]
    net: Supernet
    rows: tuple[Rows, Rows]
    settings: Settings
    penalty: Callable[[Path], float]
    clock: Callable[[], float]
    should_stop: Callable[[], bool] | None

    def propose(self, weights: Tensor, seconds: float | None = None) -> list[Path]:
        """List paths of different flows, the most promising first.

        Args:
            weights: Of the options, shape (n, m).
            seconds: That tuning may take, or None; the paths that it does not reach come last.
        """
        count = self.settings.candidates
        if self.settings.proposals == "tuned":
            return self.tuned(self.pool(weights), seconds)[:count]
        return most_likely(self.options, weights, count)

    # ---------------------------------------------------------------------------------- comparison

    def pool(self, weights: Tensor) -> list[Path]:
        """List the paths that are worth tuning.

        Those of the least NLL and the most likely, in turn, and before them the flows of one type:
        what one would take without a search is a rival in it.
        """
        count, places = len(self.options), self.settings.places
        if count**places <= EVERY:
            paths = list(itertools.product(range(count), repeat=places))
            likely = most_likely(self.options, weights, self.settings.pool)
        else:
            likely = paths = most_likely(self.options, weights, EVERY)
        losses = self.losses(paths)
        best = [paths[k] for k in sorted(range(len(paths)), key=losses.__getitem__)]
        plain = [(k,) * places for k in range(count)]
        found = distinct(self.options, [best, likely])[: self.settings.pool]
        return distinct(self.options, [[*plain, *found]])

    @torch.no_grad()
    def losses(self, paths: Sequence[Path]) -> list[float]:
        """NLL under the weights as they are, and cost; nats a row, inf where it is not finite."""
        held, found = self.rows[1].first(ROWS), []
        for start in range(0, len(paths), CHUNK):
            some = paths[start : start + CHUNK]
            log_p = self.net.log_prob(some, held.x, held.context)
            nlls = (-row_mean(log_p, held.weights)).tolist()
            found += [nll + self.penalty(path) for nll, path in zip(nlls, some, strict=True)]
        return [loss if math.isfinite(loss) else math.inf for loss in found]

    # -------------------------------------------------------------------------------------- tuning

    def tuned(self, paths: Sequence[Path], seconds: float | None = None) -> list[Path]:
        """Order paths by their loss after each was trained on alone, all on the same batches.

        Then the flows that differ from the best one in a single layer get the same: shared weights
        misjudge most what they have seldom drawn.
        """
        ends = math.inf if seconds is None else self.clock() + seconds
        steps = min(MOST_STEPS, max(1, round(self.settings.tune * self.settings.steps)))
        if seconds is not None:
            steps = self._affordable(paths, steps, seconds)
        batches = [self.rows[0].take() for _ in range(steps)]
        losses: dict[Path, float] = {}
        waiting = list(paths)
        for more in (self.near, None):
            for path in waiting:
                loss = self._alone(path, batches, ends)
                if loss is None:
                    left = [each for each in waiting if each not in losses]
                    return [*sorted(losses, key=losses.__getitem__), *left]
                losses[path] = loss
            if more is not None:
                waiting = more(min(losses, key=losses.__getitem__), list(losses))
        return sorted(losses, key=losses.__getitem__)

    def _affordable(self, paths: Sequence[Path], steps: int, seconds: float) -> int:
        """Say how many steps all of them can take, and half as many flows after them."""
        began = self.clock()
        for path in paths:
            if self._alone(path, [self.rows[0].take()], began + seconds) is None:
                break
        return max(1, min(steps, int((seconds / (self.clock() - began + 1e-9) - 1) / 1.5)))

    def near(self, path: Path, known: Sequence[Path]) -> list[Path]:
        """List flows that differ from a path in one layer, without the known ones."""
        swapped = [
            (*path[:place], k, *path[place + 1 :])
            for place in range(len(path))
            for k in range(len(self.options))
        ]
        fresh = distinct(self.options, [[*known, *swapped]])[len(known) :]
        losses = dict(zip(fresh, self.losses(fresh), strict=True))
        return sorted(fresh, key=losses.__getitem__)[: self.settings.pool]

    def _alone(self, path: Path, batches: Sequence[Minibatch], ends: float) -> float | None:
        """Loss of a path that has trained on; the shared weights stay as they were.

        Returns:
            None if there was no time for it.
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
        found = [self.net.stacks[place][k] for place, k in enumerate(path)]
        thetas = [stack.theta for stack in found if stack is not None and stack.theta.numel()]
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
