"""Delete a study with what it wrote, once nobody works on it.

refuse_if_worked_on(study)          a lease that is alive is a worker
delete_study(study, held(study))    its trials first, then its files
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import optuna

from nfopt.distributed import artifacts
from nfopt.distributed.inventory import Held, Item
from nfopt.distributed.lease import Observer, Running, lease_seconds, workers
from nfopt.distributed.ownership import OWNER, S3, TOKEN
from nfopt.errors import StudyError
from nfopt.optuna_internals import storage_of

LOOKS = 20  # at leases of other machines, in the time of a lease


def refuse_if_worked_on(
    study: optuna.Study,
    on_wait: Callable[[int, float], None] = lambda count, seconds: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """See that no worker trains for a study.

    A worker of this machine is seen at once. One of another machine is alive if its lease's counter
    changes, so counters are watched for the time of a lease.

    Args:
        study: The study.
        on_wait: Told before the watch of how many workers, and of the seconds that it takes.
        sleep: Waits; for tests.
        clock: Seconds, monotonic; for tests.

    Raises:
        StudyError: If one does, or may: it is unknown whether its process lives.
    """
    seconds = lease_seconds(study)
    observer = Observer(seconds, clock)
    rows = workers(study, observer)
    _refuse(study, [row for row in rows if row.worker is not None and row.worker.alive()])
    watched = [row for row in rows if row.lead is not None and row.alive is not False]
    if not watched:
        return
    on_wait(len(watched), seconds)
    began = clock()
    while clock() - began < seconds + 2 * seconds / LOOKS:
        sleep(seconds / LOOKS)
        rows = [row for row in workers(study, observer) if row.lead is not None]
        _refuse(study, [row for row in rows if row.still == 0.0 and row.alive is not False])


def _refuse(study: optuna.Study, alive: Sequence[Running]) -> None:
    if not alive:
        return
    who = [
        "a worker" if row.worker is None else f"process {row.worker.pid} on {row.worker.host}"
        for row in alive[:3]
    ]
    more = ", ..." if len(alive) > 3 else ""
    raise StudyError(
        f"`study` {study.study_name!r} is being worked on ({', '.join(who)}{more}): stop"
        f" {'it' if len(alive) == 1 else 'them'} first (Ctrl-C), or wait until it is over."
    )


def delete_study(study: optuna.Study, holds: Held) -> list[str]:
    """Delete a study from its storage, and then what it wrote into its store of artifacts.

    Args:
        study: The study.
        holds: What it has there; only what it wrote by its own mark is removed.

    Returns:
        A line if files are left; `unreferenced` finds them later.

    Raises:
        KeyError: If the study is gone already.
    """
    optuna.delete_study(study_name=study.study_name, storage=storage_of(study))
    return [] if holds.root is None else remove(holds.root, holds.own)


def remove(root: str, items: Sequence[Item]) -> list[str]:
    """Remove files from a store, and folders of studies that are empty then.

    A folder's record goes last, so that what an interruption leaves can still be told to be whose.

    Returns:
        A line if some are left.
    """
    store = artifacts.artifact_store(root)
    records = tuple(f"/{name}" for name in (OWNER, TOKEN))
    ordered = sorted(items, key=lambda item: item.key.endswith(records))
    for number, item in enumerate(ordered):
        try:
            artifacts.drop(store, item.key)
        except artifacts.failures() as error:
            why = getattr(error, "strerror", None) or " ".join(str(error).split())
            return [
                f"{len(ordered) - number:,} files of {root!r} could not be removed ({why}):"
                " nfopt clean removes them"
            ]
    if not root.startswith(S3):
        for mark in {item.mark for item in items} - {None}:
            with suppress(OSError):  # somebody else's files are in it
                Path(root, f"study-{mark}").rmdir()
    return []
