"""What a caller of a search asks for, in groups."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nfopt.data import DEFAULT, Prepared
from nfopt.distributed.artifacts import artifact_store
from nfopt.distributed.lease import check_lease
from nfopt.events import Watch
from nfopt.recipes import portfolio
from nfopt.runner.engines.table import share_out
from nfopt.space import SearchSpace
from nfopt.spec import Recipe
from nfopt.storage.open import Storage
from nfopt.study.create import check_objectives
from nfopt.study.length import MEMBERS


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study, and what a new one is made with.

    Attributes:
        name: None: the data's. A study of that name in the storage is taken up again.
        storage: A URL, an open storage, or None for the default.
        sampler: "evolution", "tpe", "nsga2" or "random"; None: evolution.
        encoding: "packed" or "bits"; None: packed for evolution, else bits while there are few.
        objectives: "nll" and maybe "parameters", "inverse_cost".
        seed: Of everything random in a new study.
        artifacts: Folder or s3://BUCKET for checkpoints and weights; None: where the study has
            them, and for a new one beside the storage's file, or in nfopt-runs/artifacts.
        lease: Seconds without a sign of life after which a worker's trials are taken over; None:
            the study's, 60 for a new one.
    """

    name: str | None = None
    storage: Storage | None = None
    sampler: str | None = None
    encoding: str | None = None
    objectives: Sequence[str] | None = None
    seed: int = 0
    artifacts: str | os.PathLike[str] | None = None
    lease: float | None = None

    def check(self) -> None:
        """Refuse what can't be, before anything is made.

        Raises:
            StudyError: If the place of the artifacts can't be used.
            ValueError: If an argument does not fit.
        """
        if self.lease is not None:
            check_lease(self.lease)
        if self.artifacts is not None:
            artifact_store(self.artifacts)
        if self.objectives is not None:
            check_objectives(self.objectives)


@dataclass(frozen=True)
class SpaceOptions:
    """What is searched.

    Attributes:
        kind: Of the space, see `SearchSpace.create`.
        limits: Of the space.
        whole: A whole space instead.
    """

    kind: str | None = None
    limits: Mapping[str, Any] | None = None
    whole: SearchSpace | None = None

    @property
    def chosen(self) -> bool:
        """Whether the caller said anything of it."""
        return self.whole is not None or self.kind is not None or bool(self.limits)


@dataclass(frozen=True, kw_only=True)
class FirstOptions:
    """What is tried first.

    Attributes:
        recipes: The best first; None: those of `nfopt.recipes`.
        initial: More first trials.
    """

    recipes: Sequence[Recipe] | None = None
    initial: Sequence[Recipe] = ()

    def of(self, data: Prepared) -> list[Recipe]:
        """List what is tried first on some data: the best recipe, the caller's own, the others."""
        shape = {"context_features": data.context_features}
        rows, values = data.sizes[0], data.under(DEFAULT).train
        best = self.recipes or portfolio(data.features, rows, values=values, **shape)
        return [best[0], *self.initial, *best[1:]]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Where and by how many the search is done.

    Attributes:
        device: Where to train.
        count: Processes that search, this one among them.
        engine: Where the others run, "local" or "ray"; see `nfopt.runner.engines`.
        threads: CPU threads of all of them; None: all cores, as soon as there are several.
        watch: What the other workers do besides, such as draw; None: nothing.
    """

    device: str = "cpu"
    count: int = 1
    engine: str = "local"
    threads: int | None = None
    watch: Watch | None = None

    def share_out(self) -> tuple[list[str], int | None]:
        """Give each worker a device and threads, see `nfopt.runner.engines.table.share_out`."""
        return share_out(self.count, self.device, self.threads, self.engine)


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """All that a caller of a search may choose, beside its data and its budget.

    Attributes:
        study: Which one, and what a new one is made with.
        space: What is searched.
        first: What is tried first.
        workers: Where and by how many.
        members: Flows to keep at most, mixed where that is better on validation data.
        out: Folder for the flow; None: nfopt-runs/STUDY.
    """

    study: StudyOptions = field(default_factory=StudyOptions)
    space: SpaceOptions = field(default_factory=SpaceOptions)
    first: FirstOptions = field(default_factory=FirstOptions)
    workers: WorkerOptions = field(default_factory=WorkerOptions)
    members: int = MEMBERS
    out: Path | None = None
