"""`AutoNFObjective`: one differentiable search a trial; Optuna searches the search's settings.

    study = optuna.create_study()
    study.optimize(nfopt.AutoNFObjective("magic", minutes=5), n_trials=3)

A trial searches the layer types (`nfopt.autonf`), races the most likely architectures, each trained
alone, and is worth the winner's validation NLL. What the search's shared weights say of a
likelihood is in the history, and never a value.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna

from nfopt import attributes as names
from nfopt import seeds, stored
from nfopt.autonf import (
    Choice,
    CostTable,
    Fixed,
    Price,
    Raced,
    Record,
    Settings,
    Target,
    choose,
)
from nfopt.autonf.objective import MOST_PATHS
from nfopt.autonf.options import check_searched
from nfopt.data import DEFAULT, Prepared
from nfopt.distributed.lease import Observer, lease_seconds
from nfopt.distributed.process import Worker
from nfopt.distributed.queue import WorkQueue
from nfopt.errors import StudyError
from nfopt.events import OnEvent, SearchEnded, ignore
from nfopt.model.disk import versions
from nfopt.recipes import training
from nfopt.runner.autonf.checkpoint import Keeping
from nfopt.runner.autonf.initial import Initial, initial_flow, initial_path
from nfopt.runner.autonf.setup import Setup, facts_of, values_of
from nfopt.spec import TrainSpec
from nfopt.storage.open import Storage
from nfopt.stored import trials_of
from nfopt.study.create import check_objectives
from nfopt.study.dataset import Source, read
from nfopt.study.rows import search_rows

HISTORY, CANDIDATES, WARNINGS = names.AUTONF, names.CANDIDATES, names.WARNINGS

PRICE = 0.02  # that a study tries first, nats a row and unit of cost
MOST_BLOCK = 4  # layers of a block, that a trial may choose
RANGES = {"learning_rate": (1e-3, 3e-2), "logit_rate": (3e-3, 0.1), "price": (1e-3, 0.3)}


class AutoNFObjective:
    """The validation NLL of the architecture that a trial's differentiable search finds.

    A trial suggests `block`, `passes`, `estimator`, `learning_rate`, `logit_rate` and,
    where cost counts and neither price nor target is given, `price`. It is reported at the rungs
    of its race, as percent of a full training, and may be pruned there by the study's pruner.

    A trial keeps itself in the study's store of artifacts, or in `artifacts`, after each block of
    its search and each training of its race. What was killed or interrupted comes back with
    `goal.requeue(study)`, or by Optuna's own `RetryHeartbeatStaleTrialCallback`, and goes
    on from there.

    Args:
        data: Whatever `nfopt.search` takes, or a `Prepared`.
        setup: What is searched, and what it costs.
        settings: What is not suggested, and where the suggestions begin; None: the defaults, with
            half as many steps as a training has.
        train: How candidates are trained, at full length; None: the recipe's training.
        initial: An architecture that the logits begin with: a flow, a study (its best trial), a
            trial, a JSON file, or the name STUDY or STUDY/NUMBER.
        storage: Of a study that `initial` names.
        objectives: One or more of "nll", "parameters", "inverse_cost"; a study minimises each.
        minutes: Wall clock of a trial at most; None: as long as its steps take.
        device: Where to train.
        seed: Of everything random, with the trial's number.
        on_record: Told of each record of a search.
        on_rung: Told of each rung of a race.
        on_event: Told of checkpoints that can't be written or used, and of each search's end, so
            that it can be drawn.
        should_stop: Asked while a trial works; True raises KeyboardInterrupt.
        artifacts: Folder or s3://BUCKET for checkpoints; None: the study's, if it has one.

    Raises:
        DataError: If the data can't be used.
        ValueError: If an argument does not fit, in one line.
    """

    def __init__(
        self,
        data: Any,
        setup: Setup | None = None,
        *,
        settings: Settings | None = None,
        train: TrainSpec | None = None,
        initial: Initial | None = None,
        storage: Storage | None = None,
        objectives: Sequence[str] = ("nll",),
        minutes: float | None = None,
        device: str = "cpu",
        seed: int = 0,
        on_record: Callable[[Record], None] | None = None,
        on_rung: Callable[[float, Sequence[Raced]], None] | None = None,
        on_event: OnEvent = ignore,
        should_stop: Callable[[], bool] | None = None,
        artifacts: str | os.PathLike[str] | None = None,
    ) -> None:
        prepared = _prepared(data, seed)
        if minutes is not None and not minutes > 0:
            raise ValueError(f"`minutes` must be positive, got {minutes!r}.")
        rows = prepared.sizes[0]
        self.data, self.setup = prepared, setup or Setup()
        self.objectives = check_objectives(objectives)
        self.train = train or training(prepared.features, rows)
        if settings is None:
            steps = max(1, self.train.steps // 2)
            settings = Settings(steps=steps, batch_size=self.train.batch_size)
        block = settings.block if self.setup.block is None else self.setup.block
        self.settings = msgspec.structs.replace(
            settings,
            places=self.setup.places,
            block=min(block, self.setup.places),
            estimator=self.setup.estimator or settings.estimator,
        )
        self.options = check_searched(
            self.setup.options_for(prepared.features), prepared.features, self.settings
        )
        self.initial = None
        if initial is not None:
            spec = initial_flow(initial, storage)
            self.initial = initial_path(spec, self.options, self.setup.places, prepared)
        self.minutes, self.device, self.seed = minutes, device, seed
        self.artifacts = artifacts
        self._told, self._ranked, self._stop = on_record, on_rung, should_stop
        self._on_event = on_event
        mapped = search_rows(prepared, seed, device, lambda event: None)
        self._rows = mapped.under(DEFAULT)
        self._costs: tuple[float, ...] | None = None

    def defaults(self) -> dict[str, Any]:
        """Return the parameters that a study should try first."""
        settings = self.settings
        paths = len(self.options) ** settings.block
        names_ = ("passes", "learning_rate", "logit_rate")
        found: dict[str, Any] = {name: getattr(settings, name) for name in names_}
        if self.setup.block is None:
            found["block"] = min(settings.block, MOST_BLOCK)
        if self.setup.estimator is None:
            found["estimator"] = "exact" if paths <= MOST_PATHS // 4 else "sampled"
        if self._own_price():
            prices = self.setup.price
            found["price"] = prices[0] if isinstance(prices, tuple) else PRICE
        return found

    def __call__(self, trial: optuna.Trial) -> float | list[float]:
        """Search, race, and write down what came of it.

        Returns:
            Validation NLL of the winner in nats a row, or one value an objective; nan, with which
            Optuna fails the trial, if no candidate can be used.

        Raises:
            optuna.TrialPruned: If the study's pruner says so at a rung.
            KeyboardInterrupt: If `should_stop` says so; the trial may then be queued again.
        """
        trial.set_user_attr(names.WORKER, msgspec.to_builtins(Worker.here()))
        trial.set_user_attr(names.VERSIONS, versions())
        # what comes back keeps its seed
        seed = trial.user_attrs.get(names.SEED)
        if seed is None:
            seed = seeds.derive(self.seed, seeds.WEIGHTS, trial.number)
            trial.set_user_attr(names.SEED, seed)
        with Keeping(trial, self.train, int(seed), self.artifacts, self._on_event) as keeping:
            try:
                return self._search(trial, int(seed), keeping)
            except KeyboardInterrupt:
                trial.set_user_attr(names.REASON, "interrupted")
                keeping.interrupted()
                raise

    def requeue(self, study: optuna.Study) -> int:
        """Queue again what a killed process or Ctrl-C left undone; its searches go on.

        Args:
            study: That the trials are of.

        Returns:
            How many trials wait now because of it.
        """
        before = len(trials_of(study))
        queue = WorkQueue(study)
        queue.reap(Observer(lease_seconds(study)))
        queue.requeue()
        return len(trials_of(study)) - before

    def _search(self, trial: optuna.Trial, seed: int, keeping: Keeping) -> float | list[float]:
        settings, price = self._suggest(trial)
        pruned, several = False, len(self.objectives) > 1

        def on_rung(rung: float, field: Sequence[Raced]) -> bool:
            nonlocal pruned
            if self._ranked is not None:
                self._ranked(rung, field)
            if several:
                return False
            if field[0].nll < float("inf"):
                trial.report(field[0].nll, round(100 * rung))
                keeping.rungs[round(100 * rung)] = field[0].nll
            pruned = rung < 1.0 and trial.should_prune()
            return pruned

        for step, value in keeping.rungs.items():
            trial.report(value, step)
        began, costs = time.monotonic(), self.costs()

        def work(path: Path | None) -> Choice:
            return choose(
                self.options,
                self._rows,
                self.train,
                settings,
                method=self.setup.method,
                plan=self.setup.race,
                costs=costs,
                price=price,
                initial=self.initial,
                seed=seed,
                seconds=None if self.minutes is None else 60.0 * self.minutes,
                on_record=self._told,
                on_rung=on_rung,
                should_stop=lambda: keeping.lost or (self._stop is not None and self._stop()),
                checkpoint=path,
                on_checkpoint=keeping.saved,
            )

        choice = keeping.run(work)
        if keeping.lost:
            raise StudyError(
                f"Trial {trial.number} was taken over by another process, as nothing was heard of"
                " this one."
            )
        if self._stop is not None and self._stop():
            raise KeyboardInterrupt("stopped")
        stored.write(trial, facts_of(choice, self.train, DEFAULT, time.monotonic() - began))
        if isinstance(trial, optuna.Trial):  # a FixedTrial is of no study
            history = None if choice.found is None else choice.found.history
            self._on_event(SearchEnded(trial, choice.best.spec, history))
        if pruned:
            trial.set_user_attr(names.REASON, f"pruned at {choice.best.share:.0%} of a training")
            raise optuna.TrialPruned
        if not choice.best.nll < float("inf"):
            trial.set_user_attr(names.REASON, "no candidate could be trained")
            return [float("nan")] * len(self.objectives) if several else float("nan")
        values = values_of(choice, self.objectives)
        return values if several else values[0]

    def costs(self) -> tuple[float, ...] | None:
        """Return the options' costs: from the table, measured the first time."""
        if self.setup.cost is None:
            return None
        if self._costs is None:
            table = self.setup.table or CostTable()
            self._costs = table.costs(
                self.setup.cost,  # type: ignore[arg-type]  # the table checks it
                self.options,
                self.data.features,
                context_features=self.data.context_features,
                batch=self.train.batch_size,
                device=self.device,
            )
        return self._costs

    def _own_price(self) -> bool:
        setup = self.setup
        given = isinstance(setup.price, float | int) or setup.target_cost is not None
        return setup.cost is not None and not given

    def _suggest(self, trial: optuna.Trial) -> tuple[Settings, Callable[[], Price]]:
        given = self.settings
        block, changes = given.block, dict[str, Any]()
        if self.setup.block is None:
            block = trial.suggest_int("block", 1, min(MOST_BLOCK, self.setup.places))
            changes["block"] = block
        changes["passes"] = trial.suggest_int("passes", 1, max(2, given.passes))
        if self.setup.estimator is None:
            changes["estimator"] = trial.suggest_categorical("estimator", ["sampled", "exact"])
        for name in ("learning_rate", "logit_rate"):
            changes[name] = trial.suggest_float(name, *RANGES[name], log=True)
        if given.objective == "mixture":  # needs all paths
            changes["estimator"] = "exact"
        elif len(self.options) ** block > MOST_PATHS:  # more than memory holds
            changes["estimator"] = "sampled"
        settings = msgspec.structs.replace(given, **changes)
        if self.setup.target_cost is not None:
            target = self.setup.target_cost
            return settings, lambda: Target(target)
        prices = self.setup.price
        if isinstance(prices, tuple):
            nats = float(trial.suggest_categorical("price", prices))
        elif self._own_price():
            nats = trial.suggest_float("price", *RANGES["price"], log=True)
        else:
            nats = prices or 0.0
        return settings, lambda: Fixed(nats)


def _prepared(data: Any, seed: int) -> Prepared:
    if isinstance(data, Source):
        return data.data
    return data if isinstance(data, Prepared) else read(data, seed=seed).data
