"""A population of trials: trained as one stack, told truthfully, let go so that it comes back.

for group in groups(Asker(...).population(8)):     as a rule one: see `nfopt.runner.ask`
    results = train(...)
    for each: tell(study, candidate, result, ...)

A trial that someone else has finished meanwhile, because its lease ran out, is `told` without a
word: what this worker has found of it does not count.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from nfopt import attributes as names
from nfopt import seeds, stored
from nfopt.distributed.queue import WorkQueue
from nfopt.flows.cost import inverse_cost, train_cost
from nfopt.model.disk import versions
from nfopt.optuna_internals import finish_trial
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.stored import read_trial
from nfopt.training import MemberResult

MAX_ROUND_TRIP = 1e-2
OBJECTIVES = ("nll", "parameters", "inverse_cost")


@dataclass
class Candidate:
    """A trial that is asked and not told.

    Attributes:
        trial: The running trial.
        spec: Its flow.
        train: Its training at full length.
        marginals: Its maps.
        seed: Of its weights.
        rungs: Validation NLL by rung in percent, as reported.
        told: Its trial is finished.
        lost: Someone else has finished it.
        state: As it was told; FAIL until then.
        values: The same.
    """

    trial: optuna.Trial
    spec: FlowSpec
    train: TrainSpec
    marginals: str
    seed: int
    rungs: dict[int, float] = field(default_factory=dict)
    told: bool = False
    lost: bool = False
    state: TrialState = TrialState.FAIL
    values: list[float] | None = None

    def lose(self) -> None:
        """Note that someone else has finished it."""
        self.told = self.lost = True

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.trial.number


def describe(trial: optuna.Trial, space: SearchSpace, seed: int) -> Candidate:
    """Suggest a running trial's flow and write its attributes.

    Args:
        trial: Asked, and nothing more.
        space: What is searched.
        seed: Of the study.
    """
    recipe = space.suggest(trial)
    spec, train = recipe.flow, recipe.train
    # what comes back, comes back with its seed
    own = int(trial.user_attrs.get(names.SEED, seeds.derive(seed, seeds.WEIGHTS, trial.number)))
    attributes = {
        names.SPEC: spec.to_json(),
        names.TRAIN: train.to_json(),
        names.MARGINALS: recipe.marginals,
        names.GENOME: space.genome(spec),
        names.PARAMETERS: spec.parameter_count(),
        names.COST_TRAIN: train_cost(spec),
        names.COST_INVERSE: inverse_cost(spec),
        names.SEED: own,
        names.VERSIONS: versions(),
    }
    stored.write(trial, attributes)
    return Candidate(trial, spec, train, recipe.marginals, own)


def stack_key(spec: FlowSpec, train: TrainSpec) -> tuple[Hashable, ...]:
    """Name what flows that train as one stack agree in."""
    return spec.shape_key(), train.batch_size, train.steps, train.optimiser == "muon"


def groups(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Group the candidates that can train as one stack, the order kept."""
    stacks: dict[tuple[Hashable, ...], list[Candidate]] = {}
    for candidate in candidates:
        key = stack_key(candidate.spec, candidate.train)
        stacks.setdefault(key, []).append(candidate)
    return list(stacks.values())


def tell(
    study: optuna.Study,
    candidate: Candidate,
    result: MemberResult,
    objectives: Sequence[str] = ("nll",),
    *,
    stopped: str | None = None,
) -> TrialState:
    """Tell a trained trial: COMPLETE, PRUNED or FAIL, with what is known of it.

    Args:
        study: The study.
        candidate: A running trial of it.
        result: How its training ended.
        objectives: What the study's values are.
        stopped: Why the training was stopped from outside. A trial stopped for lack of time after a
            rung is PRUNED there, as it was in truth compared and not finished.

    Returns:
        The trial's state; whatever someone else has made it, if that was first.
    """
    reason = fault(result)
    known: dict[str, object] = dict(facts(candidate, result))
    why = reason or result.reason or (stopped if result.status == "interrupted" else None)
    known |= {names.REASON: why} if why else {}
    if result.status == "interrupted" and not candidate.rungs:
        known[names.AGAIN] = True  # it never came to a rung: for the next time
    if result.status == "interrupted":
        state = TrialState.PRUNED if candidate.rungs else TrialState.FAIL
    elif reason:
        state = TrialState.FAIL
    else:
        state = TrialState.PRUNED if result.status == "pruned" else TrialState.COMPLETE
    values = None
    try:
        stored.write(candidate.trial, known)
        if state is TrialState.COMPLETE:
            if candidate.rungs:  # the end of a curve; a value alone says it all
                report(study, candidate, 1.0, result.nll)
            values = values_of(candidate, result.nll, objectives)
        elif state is TrialState.PRUNED and candidate.rungs:
            values = [candidate.rungs[max(candidate.rungs)]]  # as Optuna does
        finish_trial(study, candidate.trial, state, values)
    except UpdateFinishedTrialError:
        ended = read_trial(study, candidate.trial)
        if not ended.state.is_finished():
            raise
        # our own word may have arrived although the storage did not say so before it went away
        if ended.state is not state or (values is not None and ended.values != values):
            candidate.lose()
        state, values = ended.state, ended.values
    candidate.told, candidate.state, candidate.values = True, state, values
    return state


def facts(candidate: Candidate, result: MemberResult) -> dict[str, float | None]:
    """Return what training tells of a trial, by attribute."""
    return {
        names.SECONDS: result.seconds,
        names.FIDELITY: min(1.0, result.steps / max(1, candidate.train.steps)),
        names.ROUND_TRIP: names.finite(result.round_trip),
        names.NLL_2SE: names.finite(result.nll_2se),
    }


def fault(result: MemberResult) -> str:
    """Say why a trained member counts as failed, or nothing."""
    if result.status == "failed":
        return result.reason
    if result.status in ("pruned", "interrupted"):
        return ""
    if not math.isfinite(result.nll):
        return "validation NLL not finite"
    if not result.round_trip <= MAX_ROUND_TRIP:
        return f"round-trip error {result.round_trip:.3g} above {MAX_ROUND_TRIP:g}"
    return ""


def values_of(candidate: Candidate, nll: float, objectives: Sequence[str]) -> list[float]:
    """Compute a trial's values in the order of the objectives."""
    value_of = {
        "nll": lambda: nll,
        "parameters": lambda: float(candidate.spec.parameter_count()),
        "inverse_cost": lambda: inverse_cost(candidate.spec),
    }
    return [float(value_of[name]()) for name in objectives]


def report(study: optuna.Study, candidate: Candidate, fraction: float, value: float) -> None:
    """Report a validation NLL at a rung, as percent of a trial's length.

    Optuna allows it for one objective only, and not for values that are not finite.
    """
    step = round(100 * fraction)
    if len(study.directions) == 1 and math.isfinite(value) and not candidate.told:
        if step not in candidate.rungs:  # else it was reported before an interruption
            candidate.trial.report(value, step)
        candidate.rungs[step] = value


def release(
    queue: WorkQueue, candidates: Sequence[Candidate], reason: str, *, again: bool = True
) -> None:
    """Interrupt the trials that are not told, and put the parameters of all that are missing back.

    Args:
        queue: Of the study.
        candidates: Those that are told are left alone.
        reason: Kept with the trial.
        again: Whether their parameters come back.
    """
    for candidate in candidates:
        if not candidate.told:
            queue.interrupt(candidate.trial, reason, again=again)
            candidate.told = True
    if again:
        queue.requeue([candidate.number for candidate in candidates])
