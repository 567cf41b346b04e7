"""The package's functions: `search`, `fit`, `retrain`, `retrain_from`, `load`, `load_study`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Unpack

import optuna

from nfopt.data import DEFAULT, Prepared
from nfopt.events import OnEvent, ignore
from nfopt.model import Flow
from nfopt.model.arguments import check_device, check_seed
from nfopt.recipes import portfolio, recipe
from nfopt.report import publishing, reported, watching
from nfopt.runner import options
from nfopt.runner.fit import run_fit, run_retrain
from nfopt.runner.repeat.read import read_data, read_description
from nfopt.runner.repeat.run import RepeatResult, run_repeat
from nfopt.runner.run import run_search
from nfopt.runner.worker import threads_of
from nfopt.spec import Recipe
from nfopt.storage.open import Storage
from nfopt.storage.url import RUNS, check_name
from nfopt.study import arguments
from nfopt.study.arguments import Budget, Flows, Space
from nfopt.study.calls import checked, written
from nfopt.study.create import load_study
from nfopt.study.data_options import DEFAULTS, DataOptions, spelled_out
from nfopt.study.dataset import read
from nfopt.study.length import MEMBERS
from nfopt.study.results import FitResult, SearchResult

__all__ = ["fit", "load", "load_study", "retrain", "retrain_from", "search"]


@checked
@spelled_out
def search(
    data: Any,
    *,
    minutes: float | None = None,
    trials: int | None = None,
    study: str | None = None,
    storage: Storage | None = None,
    space: Space | None = None,
    sampler: str | None = None,
    encoding: str | None = None,
    objectives: Sequence[str] | None = None,
    initial: Sequence[Flows] | Flows = (),
    members: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    workers: int = 1,
    engine: str = "local",
    artifacts: str | os.PathLike[str] | None = None,
    lease: float | None = None,
    seed: int | None = None,
    out: str | os.PathLike[str] | None = None,
    pictures: bool | None = None,
    report: bool = True,
    on_event: OnEvent | None = None,
    on_warning: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **data_options: Unpack[DataOptions],
) -> SearchResult:
    """Find, train and save the best flow for a table of continuous data.

    A study of the same name in the same storage goes on where it was. Ctrl-C raises
    KeyboardInterrupt after everything is stored.

    Args:
        data: A path (CSV, Parquet, NPY, NPZ), the name of a data set, a DataFrame, an array, ...
        minutes: Wall clock of the whole call. With neither this nor `trials`, 10.
        trials: COMPLETE + PRUNED trials of the study at the end; with both, what comes first.
        study: Its name; None: the file's stem, or "data-" and eight digits for data in memory.
        storage: A URL, see docs/storages.md; None: NFOPT_STORAGE, else a file in nfopt-runs.
        space: What is searched: a kind ("coupling", "layers", "adjacency", "full"), a TOML file of
            limits, limits as a mapping or as lines "depth=[1,4]", or a SearchSpace.
        sampler: "evolution", "tpe", "nsga2" or "random"; None: evolution.
        encoding: "bits" or "packed"; None: packed for evolution, else bits up to 64 of them.
        objectives: "nll" and maybe "parameters" and "inverse_cost"; None: "nll".
        initial: Flows to try first: FlowSpecs, with or without a TrainSpec, Recipes, or JSON files.
        members: Distinct flows of the mixture at most; None: 8; 1 gives one flow.
        device: "cpu", "cuda", ...; None: CUDA where there is one.
        threads: CPU threads of all workers together; None: as torch has it, of several all cores.
        workers: Processes that search; with CUDA each needs a GPU of its own.
        engine: "local", or "ray": the others are tasks of a cluster, `threads` is of each.
        artifacts: Folder or s3://BUCKET for checkpoints and weights; None: as in docs/workers.md.
        lease: Seconds of silence after which others take a worker's trials; None: the study's, 60.
        seed: Of everything random; None: the study's, 0 for a new one.
        out: Folder for the flow; None: nfopt-runs/STUDY.
        pictures: Draw all for optuna-dashboard; None: unless the storage is in memory.
        report: Write report.html beside the flow.
        on_event: Called with each of `nfopt.events`.
        on_warning: Called with each warning about the data, instead of `warnings.warn`.
        should_stop: Asked about five times a second; True ends the call like Ctrl-C.
        columns: The features, by name or position; None: all that have no other part.
        context: Columns to condition on.
        header: The first line of a text file holds names; None: it does, unless it is numbers.
        separator: Between the fields of a text file; None: found from its first lines.
        decimal: "." or ","; None: found from a text file's first lines.
        bounds: By column (low, high): values lie strictly between.
        log: Columns of positive values, taken by their logarithm.
        weights: A column, or a weight a row.
        groups: A column, or a label a row: a group stays in one part of the split.
        dequantise: As in `nfopt.data.load`.
        drop_rows: Leave out rows that are not finite.
        strict: Refuse an atom instead of warning.
        split: "random", "group", "blocked" or "given".

    Raises:
        DataError: If the data can't be used.
        StudyError: If study or storage do not fit.
        ValueError, TypeError: If an argument does not.
    """
    began, command = time.monotonic(), written(search, locals())
    budget = Budget(trials=trials, minutes=minutes)
    device = check_device(device)
    chosen = options.SpaceOptions(*arguments.space_of(space))
    flows = arguments.flows_of(initial)
    seed = arguments.seed_of(data, study, storage) if seed is None else seed
    check_seed(seed)
    with threads_of(threads), publishing(on_event or ignore, storage, pictures) as tell:
        source = read(data, seed=seed, on_warning=on_warning, **DEFAULTS | data_options)
        arguments.check_flows([flow for flow, *_ in flows], source.data, "initial")
        best = _recipe(source.data)
        given = [arguments.filled(each, best) for each in flows]
        result = run_search(
            source,
            budget,
            options.SearchOptions(
                study=options.StudyOptions(
                    name=study,
                    storage=storage,
                    sampler=sampler,
                    encoding=encoding,
                    objectives=objectives,
                    seed=seed,
                    artifacts=artifacts,
                    lease=lease,
                ),
                space=chosen,
                first=options.FirstOptions(initial=given),
                workers=options.WorkerOptions(
                    device=device,
                    count=workers,
                    engine=engine,
                    threads=threads,
                    watch=watching(storage, pictures),
                ),
                members=MEMBERS if members is None else members,
                out=None if out is None else Path(out),
            ),
            on_event=tell,
            should_stop=should_stop,
            began=began,
            command=command,
        )
        return reported(result, tell) if report else result


@checked
@spelled_out
def fit(
    data: Any,
    *,
    minutes: float | None = None,
    members: int | None = None,
    flow: Flows | None = None,
    marginals: str | Sequence[str] | None = None,
    device: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    report: bool = True,
    on_event: OnEvent | None = None,
    on_warning: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    **data_options: Unpack[DataOptions],
) -> FitResult:
    """Train and save the best known flow for a table of this size, without a search.

    Args:
        data: As in `search`.
        minutes: Wall clock of the whole call; None: full trainings.
        members: Seeds trained as one program; their mixture is the flow. None: as many as `minutes`
            allows, at most 8, mixed by what validates best; without `minutes` one.
        flow: Another than the recipe's: a FlowSpec, maybe with a TrainSpec, a Recipe, a JSON file.
        marginals: Other marginal maps: "standardise", "asinh", "quantile", or one a column.
        device: As in `search`.
        threads: As in `search`.
        seed: Of everything random.
        out: Folder for the flow; None: nfopt-runs/NAME-fit, after the data.
        report: As in `search`.
        on_event: As in `search`.
        on_warning: As in `search`.
        should_stop: As in `search`.
        data_options: As the last thirteen in `search`, from `columns` on.

    Raises:
        DataError: If the data can't be used.
        ValueError: If an argument does not fit.
    """
    began, command = time.monotonic(), written(fit, locals())
    arguments.check_minutes(minutes)
    check_seed(seed)
    device = check_device(device)
    with threads_of(threads):
        source = read(data, seed=seed, on_warning=on_warning, **DEFAULTS | data_options)
        best = arguments.chosen(flow, marginals, _recipe(source.data), source.data)
        name = source.name if out is not None else check_name(source.name, None)
        result = run_fit(
            source,
            [best] if flow or marginals else _portfolio(source.data),
            members=members,
            minutes=minutes,
            seed=seed,
            device=device,
            out=RUNS / f"{name}-fit" if out is None else Path(out),
            on_event=on_event or ignore,
            should_stop=should_stop,
            began=began,
            command=command,
        )
        return reported(result, on_event) if report else result


@checked
def retrain(
    study: str | optuna.Study,
    trial: int,
    *,
    storage: Storage | None = None,
    data: Any = None,
    minutes: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> SearchResult:
    """Train any trial of a study in full, score and save it.

    Args:
        study: A name, or what `load_study` gave.
        trial: Its number.
        storage: As in `search`.
        data: Where the data is now; None: where the study found it.
        minutes: Wall clock of the whole call; None: the trial's full number of steps.
        seed: Of the weights; None: follows from the study's.
        device: As in `search`.
        threads: As in `search`.
        out: Folder for the flow; None: nfopt-runs/STUDY-NUMBER.
        on_event: As in `search`.
        should_stop: As in `search`.

    Raises:
        StudyError: If there is no such study, or the data is another one.
        ValueError: If there is no such trial.
    """
    command = written(retrain, locals())
    arguments.check_minutes(minutes)
    device = check_device(device)
    found = load_study(study, storage) if isinstance(study, str) else study
    with threads_of(threads):
        result = run_retrain(
            found,
            trial,
            data=data,
            minutes=minutes,
            seed=seed,
            device=device,
            out=None if out is None else Path(out),
            on_event=on_event or ignore,
            should_stop=should_stop,
            command=command,
        )
        return reported(result, on_event)


@checked
def retrain_from(
    path: str | os.PathLike[str],
    data: Any,
    *,
    device: str | None = None,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    on_warning: Callable[[str], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> RepeatResult:
    """Train a delivered flow again, from its flow.json alone: all its members, with their shares.

    Args:
        path: The flow.json, by any name, or the folder that it is in; the weights are not read.
        data: The table that it was trained on, as in `search`; it is read and split as then.
        device: As in `search`.
        threads: As in `search`.
        out: Folder for the flow; None: nfopt-runs/NAME-again, after the data.
        on_event: As in `search`.
        on_warning: As in `search`.
        should_stop: As in `search`.

    Raises:
        DataError: If the data is another one, which its fingerprint tells, or can't be used.
        ValueError: If the file can't be read, or does not say how the flow was made.
    """
    began, command = time.monotonic(), written(retrain_from, locals())
    device = check_device(device)
    with threads_of(threads):
        described = read_description(Path(path))
        source = read_data(described, data, on_warning)
        name = check_name(described.name, out if out is None else str(out))
        result = run_repeat(
            described,
            source,
            device=device,
            out=RUNS / f"{name}-again" if out is None else Path(out),
            on_event=on_event or ignore,
            should_stop=should_stop,
            began=began,
            command=command,
        )
        return reported(result, on_event)


def load(path: str | os.PathLike[str], *, device: str = "cpu") -> Flow:
    """Read a flow that was saved: the folder, or one of its files."""
    return Flow.load(path, device=device)


def _recipe(data: Prepared) -> Recipe:
    return recipe(data.features, data.sizes[0], context_features=data.context_features)


def _portfolio(data: Prepared) -> list[Recipe]:
    """List the best known recipes, the best first."""
    rows, values = data.sizes[0], data.under(DEFAULT).train
    return portfolio(data.features, rows, values=values, context_features=data.context_features)
