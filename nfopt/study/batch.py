"""A population of trials: asked with one shape, trained as one stack, told truthfully.

candidates = ask_population(study, space, 8, seed)      one free trial, then 7 of its shape
for group in groups(candidates):                        as a rule one
results = train(...)
for each: tell(study, candidate, result, ...)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import msgspec
import optuna
from optuna.trial import TrialState

from nfopt.model.disk import versions
from nfopt.space import SearchSpace
from nfopt.spec import FlowSpec, TrainSpec
from nfopt.study import attributes as names
from nfopt.study import costs, seeds
from nfopt.study.samplers import StudySampler
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
        seed: Of its weights.
        rungs: Validation NLL by rung in percent, as reported.
        told: Its trial is finished.
    """

    trial: optuna.Trial
    spec: FlowSpec
    train: TrainSpec
    seed: int
    rungs: dict[int, float] = field(default_factory=dict)
    told: bool = False

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.trial.number


def ask(study: optuna.Study, space: SearchSpace, seed: int) -> Candidate:
    """Ask one trial and write down what is known of it.

    Args:
        study: The study.
        space: What is searched.
        seed: Of the study.
    """
    trial = study.ask()
    try:
        # first of all, so that a trial of a process that dies now can be told from one that lives
        trial.set_user_attr(names.WORKER, msgspec.to_builtins(names.Worker.here()))
        return describe(trial, space, seed)
    except BaseException:
        study.tell(trial, state=TrialState.FAIL)
        if "fixed_params" in study.get_trials(deepcopy=False)[trial.number].system_attrs:
            requeue(study, trial.number)  # it came from the queue
        raise


def describe(trial: optuna.Trial, space: SearchSpace, seed: int) -> Candidate:
    """Suggest a running trial's flow and write its attributes.

    Args:
        trial: Asked, and nothing more.
        space: What is searched.
        seed: Of the study.
    """
    spec, train = space.suggest(trial)
    own = seeds.derive(seed, seeds.WEIGHTS, trial.number)
    attributes = {
        names.SPEC: spec.to_json(),
        names.TRAIN: train.to_json(),
        names.GENOME: space.genome(spec),
        names.PARAMETERS: spec.parameter_count(),
        names.COST_TRAIN: costs.train_cost(spec),
        names.COST_INVERSE: costs.inverse_cost(spec),
        names.SEED: own,
        names.VERSIONS: versions(),
    }
    names.write(trial, attributes)
    return Candidate(trial, spec, train, own)


def ask_population(
    study: optuna.Study, space: SearchSpace, count: int, seed: int
) -> list[Candidate]:
    """Ask a population: what waits in the queue first, then trials of the first one's shape.

    Args:
        study: With a `StudySampler`.
        space: What is searched.
        count: Trials to ask, at least 1.
        seed: Of the study.

    Returns:
        `count` candidates. They share their shape, unless different ones waited in the queue.
    """
    waiting = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
    asked: list[Candidate] = []
    try:
        for _ in range(min(count, max(1, waiting))):
            asked.append(ask(study, space, seed))
        shape = {name: asked[0].trial.params[name] for name in space.shape_parameters}
        with _holding(study, shape):
            while len(asked) < count:
                asked.append(ask(study, space, seed))
    except BaseException:
        release(study, asked, "interrupted while the population was asked")
        raise
    return asked


def _holding(study: optuna.Study, shape: dict[str, object]) -> AbstractContextManager[None]:
    sampler = study.sampler
    return sampler.holding(shape) if isinstance(sampler, StudySampler) else nullcontext()


def groups(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Group the candidates that can train as one stack, the order kept."""
    found: dict[tuple[str, int, int], list[Candidate]] = {}
    for candidate in candidates:
        train = candidate.train
        key = (candidate.spec.shape_key(), train.batch_size, train.steps)
        found.setdefault(key, []).append(candidate)
    return list(found.values())


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
        The trial's state.
    """
    reason = fault(result)
    known = facts(candidate, result)
    why = reason or result.reason or (stopped if result.status == "interrupted" else None)
    names.write(candidate.trial, known | ({names.REASON: why} if why else {}))
    if result.status == "interrupted":
        state = TrialState.PRUNED if candidate.rungs else TrialState.FAIL
    elif reason:
        state = TrialState.FAIL
    else:
        state = TrialState.PRUNED if result.status == "pruned" else TrialState.COMPLETE
    values = None
    if state is TrialState.COMPLETE:
        report(study, candidate, 1.0, result.nll)
        values = values_of(candidate, result.nll, objectives)
    study.tell(candidate.trial, values, state=state)
    candidate.told = True
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
    found = {
        "nll": lambda: nll,
        "parameters": lambda: float(candidate.spec.parameter_count()),
        "inverse_cost": lambda: costs.inverse_cost(candidate.spec),
    }
    return [float(found[name]()) for name in objectives]


def report(study: optuna.Study, candidate: Candidate, fraction: float, value: float) -> None:
    """Report a validation NLL at a rung, as percent of a trial's length.

    Optuna allows it for one objective only, and not for values that are not finite.
    """
    if len(study.directions) == 1 and math.isfinite(value):
        step = round(100 * fraction)
        candidate.trial.report(value, step)
        candidate.rungs[step] = value


def release(
    study: optuna.Study, candidates: Sequence[Candidate], reason: str, *, again: bool = True
) -> None:
    """Fail the trials that are still running, and put their parameters back into the queue.

    Args:
        study: The study.
        candidates: Those that are told are left alone.
        reason: Kept with the trial.
        again: Whether their parameters come back.
    """
    for candidate in candidates:
        if not candidate.told:
            candidate.trial.set_user_attr(names.REASON, reason)
            study.tell(candidate.trial, state=TrialState.FAIL)
            candidate.told = True
            if again:
                requeue(study, candidate.number)


def requeue(study: optuna.Study, number: int) -> None:
    """Put a failed trial's parameters into the queue; one that has none leaves nothing behind."""
    old = study.get_trials(deepcopy=False)[number]
    kept = {k: v for k, v in old.user_attrs.items() if k == names.FIRST}
    params = old.system_attrs.get("fixed_params", {}) | old.params
    if params:
        study.enqueue_trial(params, user_attrs={names.RETRY_OF: number, **kept})


def reap(study: optuna.Study) -> tuple[list[int], list[int]]:
    """Fail what a killed process of this machine left running, and queue its parameters again.

    A trial's `nfopt:worker` says which process trains it. What can't be known: whether a process
    on another machine lives (its trials are left alone); that a container with the same host name
    is another machine (its trials seem dead); and whose a running trial without a worker is: of
    another objective, or of a process that died in the instant after it asked (left alone).

    Args:
        study: The study.

    Returns:
        Numbers of the trials that were failed, and of those left alone for want of knowledge.
    """
    dead, unknown = [], []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = names.Worker.of(trial)
        alive = None if worker is None else worker.alive()
        if alive is None:
            unknown.append(trial.number)
        elif not alive:
            dead.append(trial.number)
    for number in dead:
        running = study.get_trials(deepcopy=False)[number]
        study._storage.set_trial_user_attr(
            running._trial_id, names.REASON, "its process was killed"
        )
        study.tell(number, state=TrialState.FAIL, skip_if_finished=True)
        requeue(study, number)
    return dead, unknown
