"""Who makes a study, where several begin it at one time: one makes it, the others find it made.

Every storage lets exactly one make a study of a name. What a study is, is written afterwards, so
whoever comes second waits until it stands there, and then compares it with what it wants.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from nfopt.stored import attributes_of, trials_of

MAKING = 5.0  # seconds without a new attribute after which its maker is taken for dead
POLL = 0.05  # seconds between two looks


def claim(
    name: str,
    storage: BaseStorage,
    objectives: int,
    last: str,
    *,
    adopt: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[optuna.Study, bool]:
    """Make a study, or find it once its maker has written what it is.

    Args:
        name: Of the study.
        storage: Open.
        objectives: Of a new one; each is minimised.
        last: The attribute that its maker writes last.
        adopt: Take over a study that nobody has said anything of; it may be a stranger's.
        clock: Seconds.

    Returns:
        The study, and whether it is the caller's to say what it is: it is new, or whoever made it
        was cut off meanwhile.
    """
    try:
        ways = [StudyDirection.MINIMIZE] * objectives
        made = optuna.create_study(study_name=name, storage=storage, directions=ways)
    except DuplicatedStudyError:
        found = optuna.load_study(study_name=name, storage=storage)
    else:
        return made, True
    seen, since = -1, clock()
    while True:
        known = attributes_of(found)
        if last in known:
            return found, False
        if trials_of(found):  # somebody's who does not write it
            return found, True
        if len(known) != seen:
            seen, since = len(known), clock()
        elif clock() - since >= MAKING:
            return found, adopt or bool(known)
        time.sleep(POLL)
