"""Replay a table: samplers ask, asynchronous workers train in simulated time, samplers are told.

    landscape = Emulator(Table.load(path))
    history = simulate(contender, landscape, evaluations=600, workers=4, noise=True, seed=0)

    study = optuna.create_study(sampler=...)            # or any Optuna sampler on its own
    study.optimize(Replay(landscape, seed=0), n_trials=600)

A training takes one unit of simulated time, more or less by a fifth; a worker that is free asks at
once, whatever still runs, so that a sampler sees results late and out of order. Contenders that
take part in fidelities are shown the curve point by point, and may stop a training.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import optuna
from landscape import FIDELITIES, Landscape

from nfopt.masks import from_transformed, repair

JITTER = 0.2
"""Standard deviation of the logarithm of a training's duration."""


class Contender(Protocol):
    """What the simulator asks of a sampler. `token` is whatever it wants back with the result."""

    def ask(self) -> tuple[Any, np.ndarray]:
        """A mask to train, shape (L, D), true where a feature is transformed."""
        ...

    def tell(self, token: Any, mask: np.ndarray, nll: float) -> None:
        """The final NLL of what was asked."""
        ...

    def report(self, token: Any, point: int, nll: float) -> bool:
        """The NLL at a fidelity before the last; true stops the training, which is not told."""
        ...

    def incumbent(self) -> np.ndarray | None:
        """What it would recommend; None leaves that to the lowest mean of what it ran."""
        ...


@dataclass
class Histories:
    """All that was run, in the order of the results.

    Attributes:
        masks: One a result.
        nlls: With noise, as the sampler was told.
        truths: Without.
        times: Simulated time of each result, in full trainings.
        chosen: The incumbent's true NLL by the number of results, where it was looked at.
        raced: The same after `race`.
    """

    masks: list[np.ndarray] = field(default_factory=list)
    nlls: list[float] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    chosen: dict[int, float] = field(default_factory=dict)
    raced: dict[int, float] = field(default_factory=dict)


def simulate(
    contender: Contender,
    landscape: Landscape,
    *,
    evaluations: int,
    workers: int,
    noise: bool,
    seed: int,
    looks: tuple[int, ...] = (),
) -> Histories:
    """Run a contender in simulated time.

    Args:
        contender: Who asks.
        landscape: What answers.
        evaluations: Trainings that end, those that were stopped counted in.
        workers: Trainings at a time.
        noise: Whether the sampler sees a single training, or the truth.
        seed: Of noise and durations.
        looks: Numbers of results after which the incumbent is looked at.
    """
    rng = np.random.default_rng([3, seed])
    racing = np.random.default_rng([4, seed])
    history = Histories()
    running: list[tuple[float, int, int, Any, np.ndarray, np.ndarray]] = []
    clock, asked = 0.0, 0
    while len(history.nlls) < evaluations:
        while len(running) < workers and asked < evaluations:
            token, mask = contender.ask()
            mask = repair(from_transformed(mask)) == "T"
            curve = landscape.run(mask, rng) if noise else landscape.curve(mask[None])[0]
            whole = float(np.exp(JITTER * rng.standard_normal()))
            points = np.diff([0.0, *FIDELITIES]) * whole
            heapq.heappush(
                running, (clock + points[0], asked, 0, token, mask, np.stack([curve, points]))
            )
            asked += 1
        clock, number, point, token, mask, plan = heapq.heappop(running)
        nll, last = float(plan[0, point]), point == len(FIDELITIES) - 1
        stopped = not last and contender.report(token, point, nll)
        if not (last or stopped):
            heapq.heappush(
                running, (clock + plan[1, point + 1], number, point + 1, token, mask, plan)
            )
            continue
        if last:
            contender.tell(token, mask, nll)
        history.masks.append(mask)
        history.nlls.append(nll if last else np.inf)
        history.truths.append(float(landscape.curve(mask[None])[0, -1]))
        history.times.append(clock)
        if len(history.nlls) in looks:
            look(contender, landscape, history, noise, racing)
    return history


def look(
    contender: Contender,
    landscape: Landscape,
    history: Histories,
    noise: bool,
    rng: np.random.Generator,
) -> None:
    """Write down how good the incumbent is now, as the sampler has it and after a race."""
    count = len(history.nlls)
    candidates = by_mean(history)
    own = contender.incumbent()
    own = candidates[0] if own is None else own
    history.chosen[count] = float(landscape.curve(own[None])[0, -1])
    others = [mask for mask in candidates if not np.array_equal(mask, own)]
    history.raced[count] = race([own, *others[: RACED - 1]], landscape, noise, rng)


RACED, RUNS = 6, 4
"""Masks in a race, and how often each is trained afresh. The race is the same for everyone and is
not counted as evaluations."""


def race(
    masks: list[np.ndarray], landscape: Landscape, noise: bool, rng: np.random.Generator
) -> float:
    """Train the best few afresh, take the one of the lowest mean, and return its true NLL."""
    truths = landscape.curve(np.array(masks))[:, -1]
    if not noise:
        return float(truths.min())
    means = [np.mean([landscape.run(mask, rng)[-1] for _ in range(RUNS)]) for mask in masks]
    return float(truths[int(np.argmin(means))])


def by_mean(history: Histories) -> list[np.ndarray]:
    """The distinct masks that were run to the end, by the mean of their runs."""
    runs: dict[bytes, list[float]] = {}
    masks: dict[bytes, np.ndarray] = {}
    for mask, nll in zip(history.masks, history.nlls, strict=True):
        key = mask.tobytes()
        runs.setdefault(key, []).append(nll)
        masks[key] = mask
    return [masks[key] for key in sorted(runs, key=lambda key: np.mean(runs[key]))]


class Replay:
    """A landscape as an Optuna objective, one integer a letter, with fidelities for pruners.

    Args:
        landscape: What answers.
        noise: Whether a trial sees a single training, or the truth.
        seed: With the trial's number, of the noise.
        masks: From a trial to a mask; by default one integer of 0 or 1 a letter.
    """

    def __init__(
        self,
        landscape: Landscape,
        *,
        noise: bool = True,
        seed: int = 0,
        masks: Callable[[optuna.Trial], np.ndarray] | None = None,
    ) -> None:
        self.landscape, self.noise, self.seed = landscape, noise, seed
        self.masks = masks or (lambda trial: suggest_bits(trial, landscape.shape))

    def __call__(self, trial: optuna.Trial) -> float:
        mask = repair(from_transformed(self.masks(trial))) == "T"
        rng = np.random.default_rng([5, self.seed, trial.number])
        noisy, true = self.landscape.run(mask, rng), self.landscape.curve(mask[None])[0]
        curve = noisy if self.noise else true
        trial.set_user_attr("truth", float(true[-1]))
        for step, nll in enumerate(curve[:-1].tolist(), 1):
            trial.report(nll, step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(curve[-1])


def suggest_bits(trial: optuna.Trial, shape: tuple[int, int]) -> np.ndarray:
    """One integer of 0 or 1 a letter; true where a feature is transformed."""
    layers, features = shape
    bits = [trial.suggest_int(f"bit_{i}", 0, 1) for i in range(layers * features)]
    return np.array(bits, dtype=np.bool_).reshape(shape)
