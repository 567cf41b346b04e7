"""Samplers by name, each with a random stream a trial and with held parameters.

A new sampler is one line in `SAMPLERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from nfopt import seeds
from nfopt.optuna_internals import in_distribution
from nfopt.samplers import EvolutionSampler
from nfopt.suggest.encoding import FEW_BITS

if TYPE_CHECKING:
    from optuna import Study

    from nfopt.space import SearchSpace

Maker = Callable[[int, "SearchSpace"], BaseSampler]

SAMPLERS: Mapping[str, Maker] = {
    "evolution": lambda seed, space: EvolutionSampler(space, seed=seed),
    "tpe": lambda seed, space: TPESampler(seed=seed, n_startup_trials=16),
    "nsga2": lambda seed, space: NSGAIISampler(seed=seed, population_size=24),
    "random": lambda seed, space: RandomSampler(seed=seed),
}


class StudySampler(BaseSampler):
    """A sampler whose random stream follows from the study's seed and the trial's number.

    Optuna's samplers use one stream, so that a resumed study would repeat its first draws, and two
    workers would sample the same trials. Here each trial gets a new sampler with a seed of its own;
    samplers read past trials from the study. The evolution has such streams itself, and is kept
    from trial to trial, as it reads only new trials.

    Args:
        name: A key of `SAMPLERS`.
        seed: Of the study.
        space: What is searched.

    Raises:
        ValueError: If the name is not known.
    """

    def __init__(self, name: str, seed: int, space: SearchSpace) -> None:
        if name not in SAMPLERS:
            raise ValueError(f"`sampler` must be one of {', '.join(SAMPLERS)}, got {name!r}.")
        self.name, self.seed, self.space = name, seed, space
        self.inner = self._fresh(0)
        self._held: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        """Say which sampler."""
        return f"StudySampler({self.name!r}, seed={self.seed})"

    def _fresh(self, number: int) -> BaseSampler:
        return SAMPLERS[self.name](seeds.derive(self.seed, seeds.SAMPLER, number), self.space)

    @contextmanager
    def holding(self, parameters: Mapping[str, Any]) -> Iterator[None]:
        """Hold these parameters at these values in the block; the sampler draws all others.

        Held parameters are removed from the space that the sampler models jointly, so that its
        candidates are ranked by the others alone (as in Optuna's PartialFixedSampler); enqueued
        parameters would be drawn, ranked, and then overwritten. The evolution takes them itself.
        """
        before, self._held = self._held, dict(parameters)
        try:
            with ExitStack() as stack:
                if isinstance(self.inner, EvolutionSampler):
                    stack.enter_context(self.inner.holding(parameters))
                yield
        finally:
            self._held = before

    def together(self) -> AbstractContextManager[None]:
        """Ask several trials in the block without telling any: the evolution then reads less."""
        return self.inner.together() if isinstance(self.inner, EvolutionSampler) else nullcontext()

    def left(self, study: Study) -> int | None:
        """The number of flows of the space that no trial has; None if many, or not known."""
        return self.inner.left(study) if isinstance(self.inner, EvolutionSampler) else None

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Switch to the trial's own stream."""
        if not isinstance(self.inner, EvolutionSampler):
            self.inner = self._fresh(trial.number)
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The space that the sampler draws jointly, without held parameters."""
        space = self.inner.infer_relative_search_space(study, trial)
        if isinstance(self.inner, EvolutionSampler):
            return space
        return {name: kind for name, kind in space.items() if name not in self._held}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw jointly."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A held value, or a draw."""
        if param_name in self._held:
            value = self._held[param_name]
            if in_distribution(param_distribution, value):
                return value
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Pass a finished trial on to the sampler."""
        self.inner.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Do nothing: a trial's number already makes its stream its own."""


def choose(
    space: SearchSpace, sampler: str | None, encoding: str | None
) -> tuple[str, SearchSpace]:
    """Choose the sampler and the encoding where the user does not.

    Args:
        space: What is searched.
        sampler: A key of `SAMPLERS`, or None: `evolution`.
        encoding: "packed", "bits", or None: what the space has for the evolution; for others
            `bits` while masks have few.

    Returns:
        The sampler's name, and the space in that encoding.

    Raises:
        ValueError: If one of the names is not known.
    """
    if sampler is not None and sampler not in SAMPLERS:
        raise ValueError(f"`sampler` must be one of {', '.join(SAMPLERS)}, got {sampler!r}.")
    chosen = sampler or "evolution"
    if encoding is not None:
        space = space.encoded(encoding)
    elif chosen != "evolution" and space.mask_bits <= FEW_BITS:
        space = space.encoded("bits")
    return chosen, space
