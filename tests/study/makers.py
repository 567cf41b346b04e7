"""Several who make one study at one time."""

from __future__ import annotations

import threading

import numpy as np
from optuna.storages import BaseStorage
from small_study import LIMITS

from nfopt.errors import StudyError
from nfopt.space import SearchSpace
from nfopt.study.create import Opened, Wanted, open_study


def wanted(name: str, fingerprint: str, depth: int = 2) -> Wanted:
    values = np.random.default_rng(0).normal(size=(50, 3))
    limits = {**LIMITS, "depth": [1, depth]}
    space = SearchSpace.for_data(values, kind="coupling", limits=limits, recipes=[])
    data = {"name": "d", "fingerprint": fingerprint, "rows": [40, 5, 5], "columns": ["a", "b", "c"]}
    return Wanted(name=name, data=data, space=space, own_space=True)


def side_by_side(storages: list[BaseStorage], asked: list[Wanted]) -> list[Opened | StudyError]:
    barrier = threading.Barrier(len(asked))
    found: list[Opened | StudyError] = []

    def make(storage: BaseStorage, one: Wanted) -> None:
        barrier.wait()
        try:
            found.append(open_study(one, storage))
        except StudyError as error:
            found.append(error)

    threads = [
        threading.Thread(target=make, args=pair) for pair in zip(storages, asked, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
