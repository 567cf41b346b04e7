"""Who proposes the masks of a table: random ones and five samplers, 16 masks at a time.

Each is a function of what it has been told and keeps nothing: a table that was interrupted goes on
as if it had not been. The samplers are told the random masks and their own, not each other's; they
are plain versions of their kind, and none is nfopt's own, so that the table favours nobody who is
compared on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna

from nfopt import designs
from nfopt.masks import from_transformed, repair


@dataclass
class Told:
    """What a sampler knows, best first.

    Attributes:
        masks: Where features are transformed, shape (n, L, D).
        nlls: Mean final NLL, rising, shape (n,).
        strength: Dependence of every two features, shape (D, D).
    """

    masks: np.ndarray
    nlls: np.ndarray
    strength: np.ndarray


Collector = Callable[[Told, int, tuple[int, int], np.random.Generator], np.ndarray]


def designed(
    told: Told, count: int, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Every named design, then random balanced complement pairs."""
    named = [design(*shape, rng, told.strength) == "T" for design in designs.DESIGNS.values()]
    pairs = [designs.complement_pairs(*shape, rng) == "T" for _ in range(count)]
    return np.array((named if not len(told.masks) else []) + pairs)[:count]


def iid(told: Told, count: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Letters on their own, the share of `T` drawn for each mask."""
    shares = rng.uniform(0.3, 0.7, size=count)
    return np.array([designs.iid(*shape, rng, share) == "T" for share in shares])


def hill(told: Told, count: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One, two or three letters of the best mask flipped."""
    place = rng.random((count, shape[0] * shape[1])).argsort(axis=1).argsort(axis=1)
    flips = (place < rng.integers(1, 4, size=(count, 1))).reshape(count, *shape)
    return np.asarray(told.masks[0] ^ flips)


def evolution(
    told: Told, count: int, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Children of the best 20: layers, features or letters of two parents, and a few flips."""
    best = told.masks[:20]
    children = []
    for _ in range(count):
        a, b = best[rng.integers(len(best), size=(2, 2)).min(axis=0)]
        kind = [(shape[0], 1), (1, shape[1]), shape][rng.integers(3)]
        child = np.where(rng.random(kind) < 0.5, a, b)
        children.append(child ^ (rng.random(shape) < 1.5 / child.size))
    return np.array(children)


def umda(told: Told, count: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Each letter with its frequency in the best quarter."""
    share = told.masks[: max(8, len(told.masks) // 4)].mean(axis=0).clip(0.05, 0.95)
    return np.asarray(rng.random((count, *shape)) < share)


def optuna_sampler(make: Callable[[int], optuna.samplers.BaseSampler]) -> Collector:
    """One of Optuna's, on one integer of 0 or 1 a letter."""

    def collect(
        told: Told, count: int, shape: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        names = [f"bit_{index}" for index in range(shape[0] * shape[1])]
        study = optuna.create_study(sampler=make(int(rng.integers(1 << 31))))
        for mask, nll in zip(told.masks, told.nlls, strict=True):
            study.enqueue_trial(dict(zip(names, mask.ravel().tolist(), strict=True)))
            trial = study.ask()
            for name in names:
                trial.suggest_int(name, 0, 1)
            if isinstance(study.sampler, optuna.samplers.NSGAIISampler):
                _ = trial.relative_params  # gives it a generation, which it has not if enqueued
            study.tell(trial, float(nll))
        asked = []
        for _ in range(count):
            trial = study.ask()
            asked.append([trial.suggest_int(name, 0, 1) for name in names])
        return np.array(asked, dtype=np.bool_).reshape(count, *shape)

    return collect


COLLECTORS: dict[str, Collector] = {
    "designed": designed,
    "iid": iid,
    "hill": hill,
    "evolution": evolution,
    "umda": umda,
    "tpe": optuna_sampler(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "nsga2": optuna_sampler(
        lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=16)
    ),
}
RANDOM = ("designed", "iid")
"""Those whose masks everyone is told."""


def distinct(drawn: np.ndarray, seen: set[bytes], rng: np.random.Generator) -> np.ndarray:
    """Repair what was drawn; flip letters of what there is already until it is new.

    Args:
        drawn: Shape (count, L, D).
        seen: The bytes of the masks that there are; what is returned is added.
        rng: The source of randomness.
    """
    kept = []
    for mask in drawn:
        mask = repair(from_transformed(mask)) == "T"
        while mask.tobytes() in seen:
            flip = np.zeros(mask.size, dtype=np.bool_)
            flip[rng.integers(mask.size, size=2)] = True
            mask = repair(from_transformed(mask ^ flip.reshape(mask.shape))) == "T"
        seen.add(mask.tobytes())
        kept.append(mask)
    return np.array(kept)
