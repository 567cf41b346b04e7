"""One worker on a study that exists: it asks, trains and tells until the budget is met.

    run_worker("magic", "postgresql+psycopg://...")       in this process, on any machine

The study says what is needed: where the data is and its fingerprint, the space, the sampler, the
budget, the length of a trial. Mixing and scoring are the business of `nfopt search`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
import torch

from nfopt import attributes as names
from nfopt.distributed.artifacts import settle
from nfopt.distributed.checkpoints import SECONDS as CHECKPOINT_SECONDS
from nfopt.distributed.lease import lease_seconds
from nfopt.distributed.queue import counted
from nfopt.errors import StudyError
from nfopt.events import BatchTold, OnEvent, Started, ignore
from nfopt.model.arguments import check_device
from nfopt.model.disk import versions
from nfopt.optuna_internals import storage_of
from nfopt.recipes import recipe
from nfopt.runner.context import Run
from nfopt.runner.fit import pace_of
from nfopt.runner.loop import Budget, Search
from nfopt.signals import Stop, listening
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.storage.open import clear_errors, mask_url
from nfopt.storage.retrying import PatientStorage
from nfopt.stored import attributes_of, recipe_of, space_of, trials_of, usable
from nfopt.study.arguments import check_minutes
from nfopt.study.create import length_of, load_study
from nfopt.study.dataset import Source, read_again
from nfopt.study.first_trials import first_of
from nfopt.study.length import Length
from nfopt.study.rows import search_rows

PATIENCE = 60.0  # seconds that a worker waits for a search which has just made the study


@dataclass(frozen=True)
class Worked:
    """What a worker did.

    Attributes:
        study: Name of the study.
        trials: COMPLETE + PRUNED trials of the study now.
        own: Trials that this worker told.
        seconds: Wall clock.
    """

    study: str
    trials: int
    own: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "study": self.study,
            "trials": self.trials,
            "own": self.own,
            "seconds": self.seconds,
        }


def run_worker(
    study: str,
    storage: str | None = None,
    *,
    data: Any = None,
    artifacts: str | os.PathLike[str] | None = None,
    device: str | None = None,
    threads: int | None = None,
    minutes: float | None = None,
    parent: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Worked:
    """Work on a study until its budget is met.

    Args:
        study: Its name.
        storage: A URL, or None for the default.
        data: Where the data is now; None: where the study says, below the working folder.
        artifacts: Folder or s3://BUCKET that all workers of the study share; None: at the storage's
            place.
        device: Where to train; None: CUDA where there is one.
        threads: CPU threads; None: as torch has it.
        minutes: Wall clock of this worker at most; None: only the study's budget counts.
        parent: A process whose end ends this worker too.
        checkpoint_seconds: Between two checkpoints of a population.
        on_event: Told of everything.
        should_stop: Asked about five times a second.
        clock: Seconds.

    Raises:
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`: what was in training is kept, and
            the next worker goes on with it.
        StudyError: If study, storage or data do not fit; one line.
        ValueError: If an argument does not.
    """
    began = clock()
    check_minutes(minutes)
    device = check_device(device)

    def over() -> bool:
        # a process whose parent ended is given another one
        orphan = parent is not None and os.getppid() != parent
        return orphan or (should_stop is not None and should_stop())

    with threads_of(threads), clear_errors(storage, "failed"), listening(over) as stop:
        opened = load_study(study, storage)
        if names.AUTONF in attributes_of(opened):
            raise StudyError(
                f"`study` {study!r} is of nfopt autonf, whose searches are not shared out: run the"
                " same nfopt autonf again."
            )
        own = _Counter(on_event)
        call = Run(stop, own.tell, began, clock)
        _listen(opened, call)
        settle(opened, artifacts)
        known = attributes_of(opened)
        said = check_versions(known)
        if said:
            call.notice(said)
        length = _length(opened, stop)
        length.check(study)
        seed = int(known.get(names.STUDY_SEED, 0))
        source = read_again(known, data)
        space = space_of(study, known)
        if space.features != source.data.features:
            raise StudyError(
                f"`study` {study!r} can't be used: its attribute `{names.SPACE}` is for"
                f" {space.features} features, its data has {source.data.features}."
            )
        rows = search_rows(source.data, seed, device, on_event, folds=length.folds)
        ends = math.inf if minutes is None else began + 60.0 * minutes

        def budget() -> Budget:
            return budget_of(attributes_of(opened), clock, ends)

        best = _leader(opened, space, source)
        trials, _ = budget()
        finished = counted(trials_of(opened))
        call.on_event(
            Started(
                study=study,
                storage=mask_url(storage),
                sampler=str(known.get(names.SAMPLER)),
                population=length.size,
                trials=finished,
                budget_trials=trials,
                budget_seconds=None if minutes is None else 60.0 * minutes,
                resumed=True,
                data=source.data,
            )
        )
        Search(
            study=opened,
            space=space,
            data=rows,
            length=length,
            seed=seed,
            call=call,
            recipe=best,
            pace=None if budget()[1] is None else pace_of(best, rows).bag(rows.bag),
            objectives=tuple(known.get(names.OBJECTIVES, ("nll",))),
            lease_seconds=lease_seconds(opened),
            checkpoint_seconds=checkpoint_seconds,
            budget=budget,
        ).run()
        return Worked(study, counted(trials_of(opened)), own.trials, call.elapsed())


def _leader(study: optuna.Study, space: SearchSpace, source: Source) -> Recipe:
    """Find the recipe that the study measures time by; else the best that its space has."""
    key = attributes_of(study).get(names.LEADER)
    for trial in trials_of(study):
        leads = key is not None and trial.user_attrs.get(names.FIRST) == key
        if leads and names.SPEC in trial.user_attrs and usable(trial):
            return recipe_of(trial)
    data = source.data
    known = recipe(data.features, data.sizes[0], context_features=data.context_features)
    return first_of(space, [known])[0]


class _Counter:
    def __init__(self, on_event: OnEvent) -> None:
        self.trials, self._on_event = 0, on_event

    def tell(self, event: Any) -> None:
        if isinstance(event, BatchTold):
            self.trials += event.complete + event.pruned
        self._on_event(event)


def budget_of(
    known: Mapping[str, Any], clock: Callable[[], float], ends: float = math.inf
) -> Budget:
    """Read a study's budget.

    Args:
        known: The study's attributes.
        clock: Seconds.
        ends: Clock time at which the caller ends in any case.

    Returns:
        Trials, or None; clock time at which the search is over, or None.
    """
    budget = known.get(names.BUDGET) or {}
    trials, until = budget.get("trials"), budget.get("until")
    if until is not None:  # the one place where the clocks of machines have to agree, to seconds
        ends = min(ends, clock() + float(until) - time.time())
    if trials is None and math.isinf(ends):
        ends = clock()  # a study whose time is over, or that never had a budget
    return trials, None if math.isinf(ends) else ends


def check_versions(known: Mapping[str, Any]) -> str | None:
    """Compare the version of nfopt that made a study with this one.

    Returns:
        A line to say, where the minor version is another one.

    Raises:
        StudyError: If the major version is another one.
    """
    made, mine = (known.get(names.VERSIONS) or {}).get("nfopt"), versions()["nfopt"]
    if made is None or made == mine:
        return None
    then, now = str(made).split("."), mine.split(".")
    if then[0] != now[0]:
        raise StudyError(
            f"The study was made with nfopt {made}, this is {mine}: install nfopt {then[0]}.* to"
            " work on it."
        )
    if then[1:2] != now[1:2]:
        return f"the study was made with nfopt {made}, this is {mine}: results may differ"
    return None


def _listen(study: optuna.Study, call: Run) -> None:
    storage = storage_of(study)
    if isinstance(storage, PatientStorage):
        storage.listen(on_wait=call.notice, should_stop=call.stop)


def _length(study: optuna.Study, stop: Stop) -> Length:
    """Read a trial's length; a search that has just made the study may still be measuring it."""
    until = time.monotonic() + PATIENCE
    while (length := length_of(attributes_of(study))) is None:
        if time.monotonic() > until:
            raise StudyError(
                f"`study` {study.study_name!r} was never begun: start it with nfopt search first."
            )
        stop.check()
        time.sleep(0.2)
    return length


@contextmanager
def threads_of(threads: int | None) -> Iterator[None]:
    """Set torch's CPU threads for the block; None leaves them.

    Raises:
        ValueError: If it is no whole number of at least 1.
    """
    if threads is None:
        yield
        return
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"`threads` must be a whole number of at least 1, got {threads!r}.")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
