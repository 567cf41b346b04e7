"""A whole call: open the study, search, mix what was trained, score, save."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import optuna

from nfopt import attributes as names
from nfopt.data import DEFAULT
from nfopt.distributed.artifacts import place_of, settle
from nfopt.distributed.checkpoints import sweep
from nfopt.distributed.lease import lease_seconds
from nfopt.distributed.queue import COUNTED
from nfopt.events import Notice, OnEvent, Started, ignore
from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace
from nfopt.runner.context import Run
from nfopt.runner.deliver import deliver, trained_by
from nfopt.runner.engines.local_workers import Places
from nfopt.runner.engines.table import ENGINES
from nfopt.runner.fit import pace_of
from nfopt.runner.loop import Search
from nfopt.runner.options import (
    SearchOptions,
    StudyOptions,
    WorkerOptions,
)
from nfopt.runner.worker import threads_of
from nfopt.signals import listening
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.storage.open import Storage, clear_errors, mask_url, open_storage
from nfopt.storage.retrying import PatientStorage
from nfopt.storage.url import RUNS, check_name
from nfopt.stored import attributes_of, space_of, trials_of
from nfopt.study.arguments import Budget, check_members
from nfopt.study.create import (
    Opened,
    Wanted,
    check_objectives,
    given_limits,
    length_of,
    open_study,
    stored_attributes,
)
from nfopt.study.dataset import Source, keep
from nfopt.study.first_trials import check_initial, first_key, first_of, holds
from nfopt.study.length import FEW_ROWS, FOLDS, MEMBERS, Length
from nfopt.study.results import SearchResult
from nfopt.study.rows import MappedRows, search_rows


def run_search(
    source: Source,
    budget: Budget,
    options: SearchOptions,
    *,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    command: str = "",
) -> SearchResult:
    """Search, mix what was trained, score and save.

    Args:
        source: The data.
        budget: When to end.
        options: What else was chosen.
        on_event: Told of everything.
        should_stop: Asked about five times a second.
        began: Clock time at which the call began; None: now.
        clock: Seconds.
        command: What made the call, which is kept with the flow.

    Raises:
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`, with nothing left running.
        StudyError: If study or storage do not fit.
        ValueError: If an argument does not.
    """
    began = clock() if began is None else began
    study, first, workers, members = (
        options.study,
        options.first,
        options.workers,
        options.members,
    )
    check_members(members)
    name = check_name(study.name or source.name, options.out)
    home = RUNS / name if options.out is None else options.out
    workers.share_out()  # refuses what this machine has not
    study.check()
    recipes = first.of(source.data)
    space = _space(name, source, options, recipes)
    check_initial(first.initial, space)
    wanted = _wanted(name, source, options, space)
    said: list[str] = list(source.data.warnings)

    def tell(event: Any) -> None:
        if isinstance(event, Notice):
            said.append(event.text)
        on_event(event)

    storage = open_storage(study.storage)
    with clear_errors(study.storage, "failed"), listening(should_stop) as stop:
        call = Run(stop, tell, began, clock, command).within(budget.seconds)
        if isinstance(storage, PatientStorage):
            storage.listen(on_wait=call.notice, should_stop=stop)
        opened = open_study(wanted, storage)
        if opened.length is not None:
            opened.length.check(name)
        rows = search_rows(source.data, opened.seed, workers.device, tell)
        if not holds(opened.space, recipes[0]):
            what = recipes[0].flow.summary()
            call.notice(f"the best known recipe, {what}, is outside `space` and is not tried")
        tried = first_of(opened.space, recipes)
        pace = None if budget.seconds is None else pace_of(tried[0], rows)
        ends = trained_by(call, budget.seconds, [tried[0].flow], rows, members)
        folds = _folds(source, rows, budget, pace, members)
        length = _length(opened, tried[0], rows, folds, _steps(tried[0], pace, call.left(ends)))
        if length.folds:
            rows = replace(rows, folds=length.folds)
        if pace is not None:
            share = (length.steps or 1) / max(1, tried[0].train.steps)
            pace = pace.times(share).bag(rows.bag)
        settle(opened.study, study.artifacts, make=True)
        lasting = describe_run(study, source, home, tried[0], call)
        _write(opened.study, lasting)
        _write(opened.study, {names.BUDGET: _budget(budget, call.left(ends))})
        tell(_started(opened, study.storage, source, budget, length))
        search = Search(
            study=opened.study,
            space=opened.space,
            data=rows,
            length=length,
            seed=opened.seed,
            call=call,
            recipe=tried[0],
            trials=budget.trials,
            deadline=ends,
            first=tried,
            pace=pace,
            objectives=opened.objectives,
            lease_seconds=lease_seconds(opened.study),
        )
        places = Places(source.described["source"] or lasting.get(names.KEPT), study.artifacts)
        _work(search, study.storage, workers, places)
        sweep(opened.study)
        return deliver(
            opened.study,
            search.kept,
            rows,
            call,
            home,
            said,
            members=members,
            mean_group=search.mean_group,
            deadline=ends,
        )


def _space(
    name: str, source: Source, options: SearchOptions, recipes: Sequence[Recipe]
) -> SearchSpace:
    """Take the space that was given, that the study has, or that fits the data."""
    given, known = options.space, stored_attributes(name, options.study.storage) or {}
    if given.whole is not None:
        return given.whole
    given_limits(given.kind, given.limits)  # refuses what they can't be
    if names.SPACE in known and (not given.chosen or names.LIMITS in known):
        return space_of(name, known)
    return SearchSpace.for_data(
        source.data.under(DEFAULT).train,
        kind=given.kind,
        limits=given.limits,
        recipes=recipes,
        context_features=source.data.context_features,
    )


def _wanted(name: str, source: Source, options: SearchOptions, space: SearchSpace) -> Wanted:
    """Collect what the caller wants of the study."""
    study, given = options.study, options.space
    objectives = study.objectives
    return Wanted(
        name=name,
        data=source.described,
        seed=study.seed,
        space=space,
        given=None if given.whole is not None else given_limits(given.kind, given.limits),
        own_space=given.chosen,
        sampler=study.sampler,
        encoding=study.encoding,
        objectives=None if objectives is None else check_objectives(objectives),
    )


def _write(study: optuna.Study, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of a study that have changed."""
    known = attributes_of(study)
    for attribute, value in attributes.items():
        if value != known.get(attribute):
            study.set_user_attr(attribute, value)


def _budget(budget: Budget, left: float | None) -> dict[str, Any]:
    """Write a budget as other workers read it.

    Args:
        budget: Of the call.
        left: Seconds that the search has, or None.
    """
    until = None if left is None else time.time() + left
    return {"trials": budget.trials, "minutes": budget.minutes, "until": until}


def _started(
    opened: Opened, storage: Storage | None, source: Source, budget: Budget, length: Length
) -> Started:
    return Started(
        study=opened.study.study_name,
        storage=mask_url(storage),
        sampler=str(attributes_of(opened.study)[names.SAMPLER]),
        population=length.size,
        trials=len(trials_of(opened.study, *COUNTED)),
        budget_trials=budget.trials,
        budget_seconds=budget.seconds,
        resumed=opened.resumed,
        data=source.data,
    )


def _work(search: Search, storage: Storage | None, workers: WorkerOptions, places: Places) -> None:
    """Search here, and beside it in the other workers."""
    devices, threads = workers.share_out()
    call, name = search.call, search.study.study_name
    engine = ENGINES[workers.engine]
    others = engine(
        name, storage, devices[1:], threads, call.on_event, call.stop, workers.watch, places=places
    )
    with others, threads_of(threads if workers.count > 1 else None):
        search.run()
        others.finish()


def describe_run(
    study: StudyOptions, source: Source, home: Path, best: Recipe, call: Run
) -> dict[str, Any]:
    """Collect what other workers, later ones too, have to know of a study beyond its making."""
    known: dict[str, Any] = {names.LEADER: first_key(best)}
    if study.lease is not None:
        known[names.LEASE_SECONDS] = float(study.lease)
    if source.described["source"] is None and place_of(study.artifacts, study.storage):
        try:
            known[names.KEPT] = str(keep(source.data, home))
        except OSError as error:
            call.notice(f"the data can't be kept for other workers: {error.strerror}")
    return known


def _folds(
    source: Source, rows: MappedRows, budget: Budget, pace: Pace | None, members: int
) -> int:
    """Say how many flows a trial of a new study is: one a fold where rows are few."""
    data = source.data
    if pace is None or budget.seconds is None or members < FOLDS or not source.at_random:
        return 0
    few = data.sizes[0] < FEW_ROWS and data.parts[0].weights is None
    return FOLDS if few and plan.folds_fit(budget.seconds, pace, FOLDS) else 0


def _steps(recipe: Recipe, pace: Pace | None, seconds: float | None) -> int:
    """Say how many steps the trials of a new study have: as many as its time is best used with."""
    share = 1.0
    if pace is not None and seconds is not None:
        share = plan.share_of_trials(seconds, pace, MEMBERS)
    return max(1, round(share * recipe.train.steps))


def _length(opened: Opened, recipe: Recipe, rows: MappedRows, folds: int, steps: int) -> Length:
    """Take the length that the study has, or choose one and store it."""
    if opened.length is not None:
        return opened.length
    size = plan.POPULATION["cpu" if rows.kind == "cpu" else "cuda"]
    length = Length(size=size, steps=steps, folds=folds)
    # of two workers that begin at once, the later one's choice holds for whoever comes next
    opened.study.set_user_attr(names.POPULATION, msgspec.to_builtins(length))
    return length_of(attributes_of(opened.study)) or length
