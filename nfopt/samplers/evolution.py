"""EvolutionSampler: the evolution as an Optuna sampler, for any study and any search space."""

from __future__ import annotations

import threading
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nfopt.evolution.genome.enumerate import MAX_GENOMES, size
from nfopt.evolution.settings import Settings
from nfopt.optuna_internals import (
    fixed_parameters,
    in_distribution,
    keep_constraints,
    storage_of,
    study_id,
)
from nfopt.samplers.codec import external, variable_of
from nfopt.samplers.initial import Initial, read_initial
from nfopt.samplers.meaning import Meaning
from nfopt.samplers.replay import State
from nfopt.samplers.suggested import Suggested
from nfopt.samplers.trials import Intersection
from nfopt.space import SearchSpace
from nfopt.stored import trials_of

PRESETS: Mapping[str, Callable[[], Settings]] = {
    "default": Settings,
    "classic": Settings.classic,
}


class EvolutionSampler(BaseSampler):
    """Evolution that expects noise: of masks and adjacencies where they are known, of any study.

        study = optuna.create_study(sampler=nfopt.EvolutionSampler(seed=0))
        study.optimize(objective, n_trials=100)

    A steady-state population ranked by posterior means, operators that adapt to their success, a
    screening model of what was seen, and re-evaluation of the best (nothing else is asked twice).
    Everything is read from the study: finished trials of any sampler, pruned, failed, running and
    enqueued ones, several objectives, constraints. So workers share one study without talking to
    each other, and a resumed study goes on as if it had not stopped.

    A trial's random stream follows from `seed` and the trial's number: with one worker, the same
    seed gives the same study, and two workers with the same seed do not sample the same trials.

    Masks and adjacencies have operators of their own: those that the objective suggests with
    `nfopt.suggest_mask`, `suggest_parents` and `suggest_flow`, and those of a space (`space`,
    or the study's attribute `nfopt:space`). Any other parameter is a variable. Parameters that not
    all trials have (conditional ones) are drawn at random, one by one; masks and adjacencies are
    not, where one whole number or category says who has them.

    Each trial gets the attribute `nfopt:origin`: the operators that made it and the numbers of its
    parents.

    Args:
        space: A SearchSpace or its JSON; None: what the study says.
        seed: Of everything random, 0 or more; None: drawn.
        settings: Of the evolution; by default those of the preset.
        preset: "default", or "classic": a plain (mu+lambda) EA, as a baseline.
        initial: Tried first: FlowSpecs, pairs of a FlowSpec and a TrainSpec, Recipes, parameters,
            trials of another study, or that study itself (its ten best).
        constraints_func: From a finished trial to its constraints, each 0 or less if it is met;
            rather use `trial.set_constraint` in the objective.

    Raises:
        ValueError: If an argument is not one of these.
    """

    def __init__(
        self,
        space: SearchSpace | str | None = None,
        *,
        seed: int | None = None,
        settings: Settings | None = None,
        preset: Literal["default", "classic"] = "default",
        initial: Study | Sequence[Initial] = (),
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
    ) -> None:
        if preset not in PRESETS:
            raise ValueError(f"`preset` must be one of {', '.join(PRESETS)}, got {preset!r}.")
        if seed is not None and (isinstance(seed, bool) or seed < 0):
            raise ValueError(f"`seed` must be a whole number, 0 or more, got {seed!r}.")
        if space is not None and not isinstance(space, SearchSpace | str):
            raise ValueError(f"`space` must be a SearchSpace or its JSON, got {space!r}.")
        self.seed = int(np.random.SeedSequence().entropy) if seed is None else seed  # type: ignore[arg-type]
        self._space = SearchSpace.from_json(space) if isinstance(space, str) else space
        self._settings = PRESETS[preset]() if settings is None else settings
        self._initial = read_initial(initial)
        self._constraints_func = constraints_func
        self._reset()

    def __repr__(self) -> str:
        """Say the seed, and whether a space is known."""
        known = "" if self._space is None else f"space={self._space.kind!r}, "
        return f"EvolutionSampler({known}seed={self.seed})"

    # --------------------------------------------------------- what is known of the study, rebuilt

    def _reset(self) -> None:
        self._lock = threading.RLock()  # threads of `n_jobs` share the sampler
        self._held: Mapping[str, Any] = {}
        self._together = False
        self._looked: list[FrozenTrial] | None = None
        self._of: tuple[Callable[[], Any], int] | None = None
        self._state: State | None = None
        self._asked: tuple[dict[str, BaseDistribution], Suggested] | None = None
        self._common = Intersection()
        self._meaning = Meaning(self._space)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what follows from the study."""
        mine = ("seed", "_space", "_settings", "_initial", "_constraints_func")
        return {key: self.__dict__[key] for key in mine}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin anew."""
        self.__dict__.update(state)
        self._reset()

    def _turn_to(self, study: Study) -> None:
        """Forget another study, and look what this one says of its space."""
        if self._of is not None:
            storage, number = self._of
            if storage() is storage_of(study) and number == study_id(study):
                return
        held, together = self._held, self._together
        self._reset_for(study)
        self._held, self._together = held, together

    def _reset_for(self, study: Study) -> None:
        lock = self._lock
        self._reset()
        self._lock = lock
        self._of = (weakref.ref(storage_of(study)), study_id(study))
        self._meaning.read(study)

    def _made(
        self, study: Study, distributions: Mapping[str, BaseDistribution], *, replay: bool = True
    ) -> State:
        codec = self._meaning.codec(distributions)
        given = (self._meaning.space, self._settings, self._initial)
        return State(study, self._trials(study), codec, *given, replay=replay)

    def _trials(self, study: Study) -> list[FrozenTrial]:
        """All trials as they are now, or as they were when this ask began."""
        return self._look(study) if self._looked is None else self._looked

    def _look(self, study: Study) -> list[FrozenTrial]:
        self._looked = trials_of(study)
        return self._looked

    def state(self, study: Study, distributions: Mapping[str, BaseDistribution]) -> State:
        """What is known of a study, up to date."""
        asked = (dict(distributions), self._meaning.suggested)
        if self._state is None or self._asked != asked:
            self._asked = asked
            self._state = self._made(study, distributions)
        else:
            self._state.read(self._trials(study))
        return self._state

    # ------------------------------------------------------------------------------- Optuna's hooks

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters of the search space, and those that all finished trials have."""
        with self._lock:
            self._turn_to(study)
            if not self._together:
                self._looked = None
            return self._space_of(study)

    def _space_of(self, study: Study) -> dict[str, BaseDistribution]:
        trials, meaning = self._trials(study), self._meaning
        meaning.learn(study, trials)
        return self._common.distributions(trials, meaning.beside()) | meaning.distributions()

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Ask the evolution."""
        if not search_space:
            return {}
        with self._lock:
            self._turn_to(study)
            held = {**self._held, **fixed_parameters(trial)}
            state = self.state(study, search_space)
            more = self._meaning.space is None and self._common.more
            stream, look = self._stream(trial), partial(self._look, study)
            try:
                params = state.ask(study, trial, stream, held, look=look, more=more)
            finally:
                if not self._together:
                    self._looked = None
        params |= {name: held[name] for name in held.keys() & params.keys()}
        return {name: params[name] for name in search_space if name in params}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Give a held value, or draw one."""
        if param_name in self._held:
            value = self._held[param_name]
            if in_distribution(param_distribution, value):
                return value
        with self._lock:
            self._turn_to(study)
            found = self._meaning.genes_of(study, param_name)
        if found is not None:  # all its parameters are of one draw
            key, genes = found
            drawn = genes.layout.random(self._stream(trial, zlib.crc32(key.encode())))
            if param_name in (params := genes.write(key, drawn)):
                return params[param_name]
        rng = self._stream(trial, zlib.crc32(param_name.encode()))
        return external(param_distribution, variable_of(param_distribution).draw(rng))

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Keep the constraints of a finished trial."""
        if self._constraints_func is not None:
            keep_constraints(self._constraints_func, study, trial, state)

    def reseed_rng(self) -> None:
        """Do nothing: a trial's number already makes its stream its own."""

    def _stream(self, trial: FrozenTrial, *more: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, trial.number, *more])

    # ------------------------------------------------------------------------------------ beyond it

    @contextmanager
    def holding(self, parameters: Mapping[str, Any]) -> Iterator[None]:
        """Give these parameters these values in the block; what is asked has the best others.

        Not for threads that share the sampler.
        """
        before, self._held = self._held, dict(parameters)
        try:
            yield
        finally:
            self._held = before

    @contextmanager
    def together(self) -> Iterator[None]:
        """Ask several trials in the block without telling any; reads the study once per ask.

        What others ask meanwhile is seen all the same. Not for threads that share the sampler.
        """
        self._together, self._looked = True, None
        try:
            yield
        finally:
            self._together, self._looked = False, None

    def left(self, study: Study) -> int | None:
        """The number of points of the space that no trial of a study has tried.

        None for spaces that are infinite or too large to enumerate.
        """
        with self._lock:
            self._turn_to(study)
            self._looked = None
            try:
                return self._left(study)
            finally:
                self._looked = None

    def _left(self, study: Study) -> int | None:
        space = self._space_of(study)
        if not space or size(self._meaning.codec(space).layout) > MAX_GENOMES:
            return None
        if self._state is not None:
            return self.state(study, space).remaining()
        # The state that is kept is made at the first ask: initial trials may still be enqueued.
        return self._made(study, space).remaining()
