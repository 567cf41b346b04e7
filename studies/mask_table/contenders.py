"""Who is compared: nfopt's sampler and its rivals, each asked for masks and told their NLL.

All begin with the same masks (named designs and some random pairs), which count as evaluations, so
that it is the search that is compared. Masks are repaired alike. An encoding is `full`, every
letter a gene, or `pairs`, where every other layer is the complement of the one before;
`compare.py --tune` plays both on seeds of their own.
"""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import cmaes
import numpy as np
import optuna
from landscape import random_pairs
from replay import suggest_bits

from nfopt.evolution.settings import Settings
from nfopt.masks import from_transformed, letters, repair
from nfopt.samplers import EvolutionSampler
from nfopt.space import SearchSpace
from nfopt.spec import Conditioner, Coupling, FlowSpec, Recipe, TrainSpec

Shape = tuple[int, int]

EVALUATIONS = 600
"""In each run of the comparison."""


def repaired(transformed: np.ndarray) -> np.ndarray:
    """As the simulator repairs it."""
    return np.asarray(repair(from_transformed(transformed)) == "T")


class Contender:
    """Random balanced complement pairs, after the first masks; the others override `propose`.

    Args:
        starts: What all begin with, shape (n, L, D).
        seed: Of everything random.
        pairs: Whether every other layer is the complement of the one before.
    """

    together: int | None = None
    """The most trainings at a time that it can make use of; None: any number."""

    def __init__(self, starts: np.ndarray, seed: int, pairs: bool = False) -> None:
        self.waiting = list(starts)
        self.shape: Shape = starts.shape[1:]
        self.pairs = pairs
        self.genes: Shape = (self.shape[0] // 2 if pairs else self.shape[0], self.shape[1])
        self.rng = np.random.default_rng([6, seed])
        self.seen: set[bytes] = set()
        self.told: list[tuple[float, np.ndarray]] = []

    # ---------------------------------------------------------------------- what the simulator uses

    def ask(self) -> tuple[Any, np.ndarray]:
        token, mask = (None, self.waiting.pop(0)) if self.waiting else self.propose()
        self.seen.add(repaired(mask).tobytes())
        return token, mask

    def tell(self, token: Any, mask: np.ndarray, nll: float) -> None:
        self.told.append((nll, mask))

    def report(self, token: Any, point: int, nll: float) -> bool:
        return False

    def incumbent(self) -> np.ndarray | None:
        return None

    # ----------------------------------------------------------------------------- what others need

    def propose(self) -> tuple[Any, np.ndarray]:
        return None, random_pairs(self.shape, 1, self.rng)[0]

    @property
    def best(self) -> np.ndarray:
        """The mask of the best single run."""
        return min(self.told, key=lambda pair: pair[0])[1]

    def to_genes(self, mask: np.ndarray) -> np.ndarray:
        """The genes of a mask, shape `genes`."""
        return mask[::2] if self.pairs else mask

    def to_mask(self, genes: np.ndarray) -> np.ndarray:
        """The mask of genes."""
        genes = np.asarray(genes, dtype=np.bool_).reshape(self.genes)
        if not self.pairs:
            return genes
        return np.stack([genes, ~genes], axis=1).reshape(self.shape)


class HillClimber(Contender):
    """One letter of the best run flipped; two, three, ... once all smaller steps are known."""

    def propose(self) -> tuple[Any, np.ndarray]:
        genes = self.to_genes(self.best if self.told else random_pairs(self.shape, 1, self.rng)[0])
        for attempt in range(50 * genes.size):
            flips = self.rng.permutation(genes.size) < 1 + attempt // (4 * genes.size)
            mask = self.to_mask(genes ^ flips.reshape(genes.shape))
            if repaired(mask).tobytes() not in self.seen:
                break
        return None, mask


class Umda(Contender):
    """Every gene with its frequency in the better half of the last 40 (Mühlenbein & Paaß 1996)."""

    def propose(self) -> tuple[Any, np.ndarray]:
        if len(self.told) < 20:
            return super().propose()
        recent = self.told[-40 - len(self.told) % 20 :]
        half = sorted(recent, key=lambda pair: pair[0])[: len(recent) // 2]
        share = np.mean([self.to_genes(mask) for _, mask in half], axis=0)
        margin = 1 / share.size
        return None, self.to_mask(self.rng.random(share.shape) < share.clip(margin, 1 - margin))


class Generations(Contender, ABC):
    """An optimiser of the `cmaes` package: asked any number of times, told by generations."""

    optimiser: Any

    def __init__(self, starts: np.ndarray, seed: int, pairs: bool = False) -> None:
        super().__init__(starts, seed, pairs)
        self.batch: list[tuple[Any, float]] = []
        self.began = False

    @abstractmethod
    def begin(self, genes: np.ndarray, seed: int) -> Any:
        """Make the optimiser, around these genes."""

    @abstractmethod
    def drawn(self) -> tuple[Any, np.ndarray]:
        """Ask it: what it is to be told with, and the genes."""

    def propose(self) -> tuple[Any, np.ndarray]:
        if not self.began:  # around the best of the first
            genes = self.to_genes(self.best if self.told else self.to_mask(np.zeros(self.genes)))
            self.optimiser = self.begin(genes.ravel(), int(self.rng.integers(1 << 31)))
            self.began = True
        token, genes = self.drawn()
        return token, self.to_mask(genes)

    def tell(self, token: Any, mask: np.ndarray, nll: float) -> None:
        super().tell(token, mask, nll)
        if token is not None:
            self.batch.append((token, nll))
        if self.began and len(self.batch) == self.optimiser.population_size:
            self.optimiser.tell(self.batch)
            self.batch = []


class Cma(Generations):
    """CMA-ES with margin on integers of 0 and 1 (Hamano et al. 2022)."""

    def begin(self, genes: np.ndarray, seed: int) -> Any:
        size = genes.size
        bounds = np.tile([0.0, 1.0], (size, 1))
        return cmaes.CMAwM(
            mean=0.3 + 0.4 * genes, sigma=0.3, bounds=bounds, steps=np.ones(size), seed=seed
        )

    def drawn(self) -> tuple[Any, np.ndarray]:
        values, token = self.optimiser.ask()
        return token, values > 0.5


class CatCma(Generations):
    """CatCMA with margin, every gene a category of two (Hamano et al. 2025)."""

    def begin(self, genes: np.ndarray, seed: int) -> Any:
        share = np.where(genes[:, None] == np.arange(2), 0.7, 0.3)
        return cmaes.CatCMAwM(c_space=[2] * genes.size, cat_param=share, seed=seed)

    def drawn(self) -> tuple[Any, np.ndarray]:
        token = self.optimiser.ask()
        return token, token.c[:, 1] > 0.5


class Gomea(Contender):
    """Gene-pool optimal mixing with a linkage tree, from PyPI; it asks one at a time.

    The library calls its objective, so it runs in a thread of its own, which waits in the call. It
    can only be ended from within: it is told how often it may ask, and must be asked as often.
    """

    together = 1

    def __init__(self, starts: np.ndarray, seed: int, pairs: bool = False) -> None:
        super().__init__(starts, seed, pairs)
        self.asked: queue.Queue[np.ndarray | None] = queue.Queue()
        self.answers: queue.Queue[float] = queue.Queue()
        self.left = EVALUATIONS - len(starts)
        self.thread: threading.Thread | None = None

    def _run(self, seed: int, budget: int) -> None:
        import gomea

        outer = self

        class Objective(gomea.fitness.BBOFitnessFunctionDiscrete):  # type: ignore[misc]
            def objective_function(self, index: int, variables: Any) -> float:
                outer.asked.put(np.array(variables, dtype=np.bool_))
                return -outer.answers.get()  # it maximises

        objective = Objective(int(np.prod(self.genes)))
        linkage = gomea.linkage.LinkageTree()  # the library does not keep it alive
        search = gomea.DiscreteGOMEA(
            fitness=objective,
            linkage_model=linkage,
            max_number_of_evaluations=budget,
            random_seed=seed,
        )
        search.run()
        self.asked.put(None)

    def propose(self) -> tuple[Any, np.ndarray]:
        if self.thread is None or (genes := self.asked.get(timeout=600)) is None:
            seed = int(self.rng.integers(1, 1 << 30))
            args = (seed, self.left)
            self.thread = threading.Thread(target=self._run, args=args, daemon=True)
            self.thread.start()
            return self.propose()
        self.left -= 1
        return "gomea", self.to_mask(genes)

    def tell(self, token: Any, mask: np.ndarray, nll: float) -> None:
        super().tell(token, mask, nll)
        if token is not None:
            self.answers.put(nll)


class OptunaContender(Contender):
    """A sampler of Optuna, on one integer of 0 or 1 a gene."""

    def __init__(
        self,
        starts: np.ndarray,
        seed: int,
        pairs: bool = False,
        *,
        sampler: optuna.samplers.BaseSampler,
    ) -> None:
        super().__init__(starts, seed, pairs)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(sampler=sampler)
        for mask in starts:
            self.study.enqueue_trial(self.parameters(mask))
        self.waiting = []

    def parameters(self, mask: np.ndarray) -> dict[str, Any]:
        genes = self.to_genes(mask).ravel().tolist()
        return {f"bit_{index}": int(gene) for index, gene in enumerate(genes)}

    def suggest(self, trial: optuna.Trial) -> np.ndarray:
        return self.to_mask(suggest_bits(trial, self.genes))

    def propose(self) -> tuple[Any, np.ndarray]:
        trial = self.study.ask()
        mask = self.suggest(trial)
        if isinstance(self.study.sampler, optuna.samplers.NSGAIISampler):
            _ = trial.relative_params  # else an enqueued trial has no generation, and no children
        return trial, mask

    def tell(self, token: Any, mask: np.ndarray, nll: float) -> None:
        super().tell(token, mask, nll)
        self.study.tell(token, nll)


class Evolution(OptunaContender):
    """EvolutionSampler on packed masks of a search space."""

    def __init__(
        self,
        starts: np.ndarray,
        seed: int,
        pairs: bool = False,
        *,
        settings: Settings | None = None,
    ) -> None:
        self.space = mask_space(starts.shape[1:], pairs)
        sampler = EvolutionSampler(self.space, seed=seed, settings=settings)
        super().__init__(starts, seed, pairs, sampler=sampler)

    def parameters(self, mask: np.ndarray) -> dict[str, Any]:
        flow = FlowSpec(
            features=self.space.features,
            layers=tuple(
                Coupling(mask=row, conditioner=NET) for row in letters(from_transformed(mask))
            ),
        )
        return dict(self.space.params_of(Recipe(flow, TRAIN)))

    def suggest(self, trial: optuna.Trial) -> np.ndarray:
        flow = self.space.suggest(trial).flow
        return np.array([list(cast(Coupling, layer).mask) for layer in flow.layers]) == "T"

    def incumbent(self) -> np.ndarray | None:
        sampler = cast(EvolutionSampler, self.study.sampler)
        space = sampler.infer_relative_search_space(self.study, self.study.trials[0])
        found = sampler.state(self.study, space).engine.incumbent()
        return None if found is None else np.asarray(found.genome.masks == "T")


NET = Conditioner(width=32, hidden_layers=2)
TRAIN = TrainSpec()


def mask_space(shape: Shape, pairs: bool) -> SearchSpace:
    """A search space of masks alone: all else has a single value."""
    layers, features = shape
    limits = {
        "depth": layers,
        "maps": "affine",
        "mixing": "none",
        "pairs": pairs,
        "width": NET.width,
        "hidden_layers": NET.hidden_layers,
        "activation": NET.activation,
        "residual": NET.residual,
        "learning_rate": TRAIN.learning_rate,
        "batch_size": TRAIN.batch_size,
        "weight_decay": TRAIN.weight_decay,
        "dropout": TRAIN.dropout,
    }
    return SearchSpace.create(features, 10_000, kind="coupling", limits=limits)


Make = Callable[[np.ndarray, int, bool], Contender]


def tpe(starts: np.ndarray, seed: int, pairs: bool) -> Contender:
    return OptunaContender(starts, seed, pairs, sampler=optuna.samplers.TPESampler(seed=seed))


def nsga2(starts: np.ndarray, seed: int, pairs: bool) -> Contender:
    sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=20)
    return OptunaContender(starts, seed, pairs, sampler=sampler)


def evolved(settings: Settings | None) -> Make:
    return lambda starts, seed, pairs: Evolution(starts, seed, pairs, settings=settings)


CONTENDERS: dict[str, Make] = {
    "evolution": evolved(None),
    "evolution, no screening": evolved(Settings(screening=False)),
    "classic": evolved(Settings.classic()),
    "random pairs": Contender,
    "TPE": tpe,
    "NSGA-II": nsga2,
    "CMA-ES": Cma,
    "CatCMAwM": CatCma,
    "GOMEA": Gomea,
    "hill climber": HillClimber,
    "UMDA": Umda,
}
