"""A whole call: open the study, search, retrain, score, save."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna

from nfopt import attributes as names
from nfopt.distributed.artifacts import artifact_store, place_of, settle
from nfopt.distributed.checkpoints import sweep
from nfopt.distributed.lease import check_lease, lease_seconds
from nfopt.distributed.queue import COUNTED
from nfopt.events import Notice, OnEvent, Started, Watch, ignore
from nfopt.recipes import first_trials
from nfopt.runner import budget as plan
from nfopt.runner.autonf.warm_start import SHARE as WARM_SHARE
from nfopt.runner.autonf.warm_start import check_warm_start, warm_flows
from nfopt.runner.deliver import deliver
from nfopt.runner.engines import ENGINES, share_out
from nfopt.runner.local_workers import Places
from nfopt.runner.loop import Search
from nfopt.runner.retrain import Retraining, choose_finalists, first_round
from nfopt.runner.worker import threads_of
from nfopt.signals import listening
from nfopt.space import SearchSpace
from nfopt.storage.open import Storage, clear_errors, mask_url, open_storage
from nfopt.storage.retrying import PatientStorage
from nfopt.storage.url import RUNS
from nfopt.stored import attributes_of, space_of, trials_of
from nfopt.study.arguments import Budget, check_members, check_name
from nfopt.study.create import (
    Opened,
    Wanted,
    check_objectives,
    given_limits,
    length_of,
    open_study,
    stored_attributes,
)
from nfopt.study.dataset import Source, keep, search_rows
from nfopt.study.first_trials import Recipe, check_initial, first_key, first_of, holds
from nfopt.study.length import MEMBERS, Length
from nfopt.study.results import SearchResult
from nfopt.study.stacks import scoring_seconds
from nfopt.training import TrainData
from nfopt.training.measure import WHOLE_STEP, measure_step


def run_search(
    source: Source,
    budget: Budget,
    *,
    study: str | None = None,
    storage: Storage | None = None,
    kind: str | None = None,
    limits: Mapping[str, Any] | None = None,
    space: SearchSpace | None = None,
    encoding: str | None = None,
    sampler: str | None = None,
    objectives: Sequence[str] | None = None,
    recipes: Sequence[Recipe] | None = None,
    initial: Sequence[Recipe] = (),
    warm_start: str | None = None,
    members: int = MEMBERS,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 1,
    engine: str = "local",
    threads: int | None = None,
    artifacts: str | os.PathLike[str] | None = None,
    lease: float | None = None,
    out: str | Path | None = None,
    watch: Watch | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Search, retrain, score and save.

    Args:
        source: The data.
        budget: When to end.
        study: Name; None: the data's. A study of that name in the storage is taken up again.
        storage: A URL, an open storage, or None for the default.
        kind: Of the space, see `SearchSpace.create`.
        limits: Of the space.
        space: A whole space instead.
        encoding: "packed" or "bits"; None: packed for evolution, else bits while there are few.
        sampler: "evolution", "tpe", "nsga2" or "random"; None: evolution.
        objectives: "nll" and maybe "parameters", "inverse_cost".
        recipes: First trials, the best first; None: those of `nfopt.recipes`.
        initial: More first trials.
            None: the study's, no for a new one.
        warm_start: "autonf": yet more, from a short differentiable search, in a new study.
        members: Flows to keep at most, mixed where that is better on validation data.
        seed: Of everything random in a new study.
        device: Where to train.
        workers: Processes that search, this one among them.
        engine: Where the others run, "local" or "ray"; see `nfopt.runner.engines`.
        threads: CPU threads of all of them; None: all cores, as soon as there are several.
        artifacts: Folder or s3://BUCKET for checkpoints and weights; None: where the study has
            them, and for a new one beside the storage's file, or in nfopt-runs/artifacts.
        lease: Seconds without a sign of life after which a worker's trials are taken over; None:
            the study's, 60 for a new one.
        out: Folder for the flow; None: nfopt-runs/STUDY.
        watch: What the other workers do besides, such as draw; None: nothing.
        on_event: Told of everything.
        should_stop: Asked about five times a second.
        began: Clock time at which the call began; None: now.
        clock: Seconds.

    Raises:
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`, with nothing left running.
        StudyError: If study or storage do not fit.
        ValueError: If an argument does not.
    """
    began = clock() if began is None else began
    check_members(members)
    check_warm_start(warm_start)
    name = check_name(study or source.name, out)
    home = RUNS / name if out is None else Path(out)
    devices, each = share_out(workers, device, threads, engine)
    if lease is not None:
        check_lease(lease)
    if artifacts is not None:
        artifact_store(artifacts)  # refuses what is no place, before anything is made
    if objectives is not None:
        objectives = check_objectives(objectives)
    data = source.data
    rows, shape = len(data.parts[0]), {"context_features": data.context_features}
    best = list(recipes or first_trials(data.features, rows, values=data.train, **shape))
    first = [best[0], *initial, *best[1:]]
    given = None if space is not None else given_limits(kind, limits)
    own_space = space is not None or kind is not None or bool(limits)
    known = stored_attributes(name, storage) or {}
    if space is None and names.SPACE in known and (not own_space or names.LIMITS in known):
        space = space_of(name, known)
    elif space is None:
        space = SearchSpace.for_data(data.train, kind=kind, limits=limits, recipes=first, **shape)
    check_initial(initial, space)
    wanted = Wanted(
        name=name,
        data=source.described,
        seed=seed,
        space=space,
        given=given,
        own_space=own_space,
        sampler=sampler,
        encoding=encoding,
        objectives=None if objectives is None else tuple(objectives),
    )
    said: list[str] = list(data.warnings)

    def tell(event: Any) -> None:
        if isinstance(event, Notice):
            said.append(event.text)
        on_event(event)

    opened_storage = open_storage(storage)
    with clear_errors(storage, "failed"), listening(should_stop) as stop:
        if isinstance(opened_storage, PatientStorage):
            opened_storage.listen(on_wait=lambda text: tell(Notice(text)), should_stop=stop)
        opened = open_study(wanted, opened_storage)
        small = search_rows(data, opened.seed, device, tell)
        if not holds(opened.space, best[0]):
            what = best[0][0].summary()
            tell(Notice(f"the best known recipe, {what}, is outside `space` and is not tried"))
        first = first_of(opened.space, first)
        times, length = _plan(opened, first[0], small, budget, members, lambda: clock() - began)
        if warm_start is not None and not opened.resumed:
            first[1:1] = warm_flows(
                small,
                opened.space,
                first[0],
                seed=opened.seed,
                seconds=None if budget.seconds is None else WARM_SHARE * budget.seconds,
                on_event=tell,
                should_stop=stop,
            )
            stop.check()
        ends = None if times is None else times.search - (clock() - began)
        settle(opened.study, artifacts, make=True)
        lasting = describe_run(storage, artifacts, lease, source, home, first[0], tell)
        for attribute, value in lasting.items():
            if value != attributes_of(opened.study).get(attribute):
                opened.study.set_user_attr(attribute, value)
        opened.study.set_user_attr(
            names.BUDGET,
            {
                "trials": budget.trials,
                "minutes": budget.minutes,
                "until": None if ends is None else time.time() + ends,
            },
        )
        tell(
            Started(
                study=name,
                storage=mask_url(storage),
                sampler=str(attributes_of(opened.study)[names.SAMPLER]),
                population=length.size,
                trials=_counted(opened.study),
                budget_trials=budget.trials,
                budget_seconds=budget.seconds,
                resumed=opened.resumed,
                data=data,
            )
        )
        search = Search(
            study=opened.study,
            space=opened.space,
            data=small,
            length=length,
            seed=opened.seed,
            stop=stop,
            trials=budget.trials,
            deadline=None if times is None else began + times.search,
            first=first,
            objectives=opened.objectives,
            preprocessing=data.preprocessing,
            lease_seconds=lease_seconds(opened.study),
            on_event=tell,
            began=began,
            clock=clock,
        )
        places = Places(source.described["source"] or lasting.get(names.KEPT), artifacts)
        others = ENGINES[engine](name, storage, devices[1:], each, tell, stop, watch, places=places)
        with others, threads_of(each if workers > 1 else None):
            search.run()
            others.finish()
        sweep(opened.study)
        finalists = choose_finalists(
            opened.study, first[0], opened.objectives, trusted=length.trusted
        )
        everything = TrainData.of(data, device)
        deadline = None
        if times is not None:
            specs = [finalist.spec for finalist in finalists]
            scored = len(data.parts[2]) + (len(data.parts[1]) if members > 1 else 0)
            scoring = members * scoring_seconds(specs, everything, scored)
            deadline = began + plan.leave(times.retrain, clock() - began, scoring)
        left = None if deadline is None else deadline - clock()
        count, flows = plan.first_round(left, length.full, length.stacked, members)
        return deliver(
            opened.study,
            first_round(finalists, first[0], count, flows),
            data,
            Retraining(
                data=everything,
                seed=opened.seed,
                stop=stop,
                deadline=deadline,
                more=plan.MORE_SEEDS,
                members=members,
                on_event=tell,
                began=began,
                clock=clock,
            ),
            home,
            said,
            mean_group=search.mean_group,
        )


def describe_run(
    storage: Storage | None,
    artifacts: str | os.PathLike[str] | None,
    lease: float | None,
    source: Source,
    home: Path,
    best: Recipe,
    on_event: OnEvent,
) -> dict[str, Any]:
    """Collect what other workers, later ones too, have to know of a study beyond its making."""
    known: dict[str, Any] = {names.LEADER: first_key(*best)}
    if lease is not None:
        known[names.LEASE_SECONDS] = float(lease)
    if source.described["source"] is None and place_of(artifacts, storage):
        try:
            known[names.KEPT] = str(keep(source.data, home))
        except OSError as error:
            on_event(Notice(f"the data can't be kept for other workers: {error.strerror}"))
    return known


def _counted(study: optuna.Study) -> int:
    return len(trials_of(study, *COUNTED))


def _plan(
    opened: Opened,
    recipe: Recipe,
    data: TrainData,
    budget: Budget,
    members: int,
    elapsed: Callable[[], float],
) -> tuple[plan.Times | None, Length]:
    """Divide the time, and take the length that the study has, or choose one and store it."""
    device = data.x.device.type
    length = opened.length
    full, stacked = (None, None) if length is None else (length.full, length.stacked)
    if full is None and budget.seconds is not None:
        usual = plan.population_range(device)[1]
        steps = measure_step(*recipe, data, usual)
        full, stacked = (WHOLE_STEP * recipe[1].steps * step for step in steps)
    times = None
    if budget.seconds is not None:
        times = plan.times(budget.seconds, elapsed(), stacked or full, members)
    if length is None:
        seconds = None
        if budget.trials is None and times is not None:
            seconds = times.search - elapsed()
        length = plan.length(
            device=device,
            trials=budget.trials,
            search_seconds=seconds,
            full_seconds=full,
            stacked_seconds=stacked,
        )
        # of two workers that begin at once, the later one's choice holds for whoever comes next
        opened.study.set_user_attr(names.POPULATION, msgspec.to_builtins(length))
        length = length_of(attributes_of(opened.study)) or length
    return times, length
