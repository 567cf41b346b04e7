"""`nfopt autonf`: trials of the differentiable search, then the winner, retrained and scored once.

The trials are a study of their own, named DATA-autonf; the same name goes on with it. Several
prices are several trials, and the result tells which of them are worth having (`front`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt import seeds
from nfopt.autonf import Raced, Record, Settings, front, spec_of
from nfopt.data import DEFAULT
from nfopt.distributed.artifacts import artifact_store, settle
from nfopt.distributed.checkpoints import sweep
from nfopt.distributed.queue import COUNTED, WorkQueue
from nfopt.errors import StudyError
from nfopt.events import Notice, OnEvent, Started, Training, ignore
from nfopt.flows.cost import train_cost
from nfopt.model.disk import versions
from nfopt.runner import budget as plan
from nfopt.runner.autonf.initial import Initial
from nfopt.runner.autonf.objective import CANDIDATES, WARNINGS, AutoNFObjective
from nfopt.runner.autonf.setup import Setup
from nfopt.runner.context import Run
from nfopt.runner.deliver import trained_by
from nfopt.runner.fit import deliver_retrained
from nfopt.runner.retrain import Finalist, Retraining
from nfopt.signals import listening
from nfopt.storage.open import Storage, clear_errors, mask_url, open_storage
from nfopt.storage.url import RUNS, check_name
from nfopt.stored import attributes_of, recipe_of, trials_of
from nfopt.study.arguments import Budget
from nfopt.study.claim import claim
from nfopt.study.dataset import Source
from nfopt.study.length import DEFAULT_MINUTES
from nfopt.study.ranking import best_of
from nfopt.study.results import SearchResult, note_delivered
from nfopt.study.rows import MappedRows
from nfopt.training.measure import WHOLE_STEP, measure_step

SETUP = names.AUTONF
STARTUP = 5  # random trials before the sampler learns
SEARCH_SHARE = 0.55  # of the time at most; the rest retrains and scores the winner
LEAST_SHARE = 0.25  # of the time at least, where a full training takes longer than there is


@dataclass(frozen=True, eq=False)
class AutoNFResult(SearchResult):
    """The flow that a differentiable search found, retrained.

    Attributes:
        front: Of the trials' winners, those that no other beats in both cost and NLL, the cheapest
            first: trial number, price, relative cost, validation NLL of the race.
    """

    front: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return super().to_dict() | {"front": [dict(point) for point in self.front]}


def run_autonf(
    source: Source,
    setup: Setup | None = None,
    *,
    minutes: float | None = None,
    trials: int = 1,
    study: str | None = None,
    storage: Storage | None = None,
    settings: Settings | None = None,
    initial: Initial | None = None,
    seed: int = 0,
    device: str = "cpu",
    artifacts: str | os.PathLike[str] | None = None,
    out: str | Path | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    command: str = "",
) -> AutoNFResult:
    """Search the layer types, retrain the winner, score it once and save it.

    Args:
        source: The data.
        setup: What is searched, and what it costs; several prices are at least a trial each.
        minutes: Wall clock of the whole call; None: 10.
        trials: Trials that the study shall have in all; the first one takes the default settings.
        study: Name; None: the data's, with -autonf.
        storage: A URL, an open storage, or None for the default.
        settings: Of the search, where trials do not choose.
        initial: An architecture that the logits begin with: a flow, a study (its best trial), a
            trial, a JSON file, or the name STUDY or STUDY/NUMBER in the storage.
        seed: Of everything random in a new study.
        device: Where to train.
        artifacts: Folder or s3://BUCKET for checkpoints; None: where the study has them, and for a
            new one beside the storage's file, or in nfopt-runs/artifacts.
        out: Folder for the flow; None: nfopt-runs/STUDY.
        on_event: Told of everything.
        should_stop: Asked while it works.
        began: Clock time at which the call began; None: now.
        clock: Seconds.
        command: What made the call, which is kept with the flow.

    Raises:
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`.
        StudyError: If study or storage do not fit, or no flow can be used.
        ValueError: If an argument does not, in one line.
    """
    began = clock() if began is None else began
    setup = setup or Setup()
    prices = setup.price if isinstance(setup.price, tuple) else ()
    budget = Budget(
        trials=max(trials, len(prices)),
        minutes=DEFAULT_MINUTES if minutes is None else minutes,
    )
    name = check_name(study or f"{source.name}-autonf", out)
    if artifacts is not None:
        artifact_store(artifacts)  # refuses what is no place, before anything is made
    data, said = source.data, list(source.data.warnings)

    def tell(event: Any) -> None:
        if isinstance(event, Notice):
            said.append(event.text)
        on_event(event)

    with clear_errors(storage, "failed"), listening(should_stop) as stop:
        call = Run(stop, tell, began, clock, command).within(budget.seconds)
        watch = _Watch(call, setup.places)
        goal = AutoNFObjective(
            source,
            setup,
            settings=settings,
            initial=initial,
            storage=storage,
            device=device,
            seed=seed,
            on_record=watch.record,
            on_rung=watch.rung,
            on_event=tell,
            should_stop=stop,
        )
        opened, resumed = _open(name, storage, source, goal, seed)
        settle(opened, artifacts, make=True)
        again = goal.requeue(opened)
        if again:
            call.notice(f"{again} interrupted searches are gone on with")
        total = budget.seconds or 0.0
        times = plan.times(total, call.elapsed())
        tell(_started(opened, storage, budget, resumed))
        goal.costs()  # measured once, before the time is shared
        left = (budget.trials or 1) - _counted(opened)
        if left > 0:
            seconds = _search_seconds(goal, lambda: times.retrain - call.elapsed())
            goal.minutes = max(1e-3, seconds / left / 60)
            if not trials_of(opened):
                swept = [{"price": nats} for nats in prices]
                for more in swept or [{}]:
                    opened.enqueue_trial(goal.defaults() | more)
            try:
                opened.optimize(goal, n_trials=left)
            except KeyboardInterrupt:
                WorkQueue(opened).requeue()
                raise
        sweep(opened)
        best = _best(opened)
        for text in _texts(best):
            call.notice(text)
        recipe = recipe_of(best)
        everything = MappedRows(data, device)
        result = deliver_retrained(
            opened,
            [Finalist(best.number, recipe)],
            Retraining(
                data=everything,
                seed=seeds.derive(seed, seeds.RETRAIN, best.number),
                call=call,
                deadline=trained_by(call, total, [recipe.flow], everything),
                more=plan.MORE_SEEDS,
            ),
            RUNS / name if out is None else Path(out),
            said,
            source.described,
        )
    note_delivered(result)
    return AutoNFResult(**vars(result), front=tuple(_front(opened)))


@dataclass
class _Watch:
    """Turns what a search tells into events."""

    call: Run
    places: int

    def record(self, record: Record) -> None:
        first, last = record.places
        which = f"layers {first + 1}-{last}" if last - first > 1 else f"layer {last}"
        self._tell(f"differentiable search, {which}, {record.phase}", record.step, last, None)

    def rung(self, rung: float, field: Sequence[Raced]) -> None:
        best = field[0]
        what = f"race at {rung:.0%}: {best.spec.summary()}"
        self._tell(what, 0, self.places, best.nll)

    def _tell(self, what: str, step: int, place: int, nll: float | None) -> None:
        self.call.on_event(
            Training(
                phase="search",
                what=what,
                members=1,
                step=step,
                share=min(1.0, place / self.places),
                nll=nll,
                seconds=self.call.elapsed(),
            )
        )


def _open(
    name: str, storage: Storage | None, source: Source, goal: AutoNFObjective, seed: int
) -> tuple[optuna.Study, bool]:
    """Make the study, or find it again and see that it is the same one."""
    opened = open_storage(storage)
    setup = {
        "options": [option.name for option in goal.options],
        "places": goal.setup.places,
        "cost": goal.setup.cost,
        "price": list(prices) if isinstance(prices := goal.setup.price, tuple) else prices,
        "target_cost": goal.setup.target_cost,
        "method": goal.setup.method,
    }
    study, mine = claim(name, opened, 1, SETUP, adopt=False)
    # a stream of its own for each call, so that a resume does not repeat the first draws
    stream = seeds.derive(seed, seeds.SAMPLER, len(trials_of(study)))
    study.sampler = TPESampler(seed=stream, n_startup_trials=STARTUP)
    # a study that others made is refused below
    if mine and not trials_of(study) and names.SPACE not in attributes_of(study):
        attributes = {
            names.DATA: dict(source.described),
            names.STUDY_SEED: seed,
            names.SAMPLER: "tpe",
            names.OBJECTIVES: list(goal.objectives),
            names.VERSIONS: versions(),
            SETUP: setup,
        }
        for key, value in attributes.items():
            study.set_user_attr(key, value)
        return study, False
    before = attributes_of(study)
    if SETUP not in before:
        raise StudyError(f"`study` {name!r} was not made by nfopt autonf: choose another name.")
    if (before.get(names.DATA) or {}).get("fingerprint") != source.data.fingerprint:
        raise StudyError(f"`study` {name!r} was made with other data: choose another study name.")
    changed = [key for key, value in setup.items() if before[SETUP].get(key) != value]
    if changed:
        raise StudyError(
            f"`study` {name!r} was made with {changed[0]} {before[SETUP].get(changed[0])}, not"
            f" {setup[changed[0]]}: choose another name."
        )
    return study, True


def _started(
    study: optuna.Study, storage: Storage | None, budget: Budget, resumed: bool
) -> Started:
    return Started(
        study=study.study_name,
        storage=mask_url(storage),
        sampler="differentiable search",
        population=1,
        trials=_counted(study),
        budget_trials=budget.trials,
        budget_seconds=budget.seconds,
        resumed=resumed,
    )


def _search_seconds(goal: AutoNFObjective, left: Callable[[], float]) -> float:
    """Divide the time: what a full training of the dearest flow takes is kept for the winner.

    Args:
        goal: Its options, training and rows.
        left: Seconds until the retraining must be over.
    """
    # PyTorch imports its compiler with the first optimiser: seconds, not to be a training's
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    features = goal.data.features
    rows = MappedRows(goal.data, goal.device).under(DEFAULT)
    paths = [(k,) * goal.setup.places for k in range(len(goal.options))]
    flows = [spec_of(goal.options, path, features, goal.data.context_features) for path in paths]
    dearest = max(flows, key=train_cost)
    step, _ = measure_step(dearest, goal.train, rows, 1)
    full = WHOLE_STEP * goal.train.steps * step
    seconds = max(1e-3, left())
    return min(SEARCH_SHARE, max(LEAST_SHARE, 1.0 - full / seconds)) * seconds


def _counted(study: optuna.Study) -> int:
    return len(trials_of(study, *COUNTED))


def _best(study: optuna.Study) -> FrozenTrial:
    best = best_of(study)
    if best is None:
        failed = [t.user_attrs.get(names.REASON) for t in trials_of(study)]
        why = next((text for text in failed if text), "no trial was finished")
        raise StudyError(f"No flow of study {study.study_name!r} can be used ({why}).")
    return best


def _texts(trial: FrozenTrial) -> list[str]:
    return [str(text) for text in trial.user_attrs.get(WARNINGS, [])]


def _front(study: optuna.Study) -> list[dict[str, Any]]:
    complete = trials_of(study, TrialState.COMPLETE)
    winners = [(trial, trial.user_attrs[CANDIDATES][0]) for trial in complete]
    points = [(float(winner["cost"]), float(trial.values[0])) for trial, winner in winners]
    return [
        {
            "number": winners[k][0].number,
            "price": winners[k][0].params.get("price"),
            "cost": points[k][0],
            "nll": points[k][1],
        }
        for k in front(points)
    ]
