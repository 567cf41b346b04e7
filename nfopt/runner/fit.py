"""Train what is known, without a search: the portfolio's recipes, or a trial of a study."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna
import torch
from msgspec.structs import replace

from nfopt import attributes as names
from nfopt import seeds
from nfopt.distributed.queue import COUNTED
from nfopt.errors import NfoptError
from nfopt.events import Finalists, OnEvent, ignore
from nfopt.flows.cost import train_cost
from nfopt.model import Flow
from nfopt.model.mixture import choose_mixture, flow_shares
from nfopt.runner import budget as plan
from nfopt.runner.budget import Pace
from nfopt.runner.context import Run
from nfopt.runner.deliver import conclude, trained_by
from nfopt.runner.retrain import Finalist, Retraining, Trained
from nfopt.signals import listening
from nfopt.spec import Recipe
from nfopt.storage.url import RUNS
from nfopt.stored import attributes_of, recipe_of, trials_of
from nfopt.study.arguments import check_members, check_minutes
from nfopt.study.candidate import stack_key
from nfopt.study.dataset import Source, read_again
from nfopt.study.length import MEMBERS
from nfopt.study.results import FitResult, Score, SearchResult, mixture, score_of
from nfopt.study.rows import MappedRows
from nfopt.training.measure import measure_training
from nfopt.training.provenance import Made

SURELY = 0.8  # of the seconds that a training should take, by its cost, it takes in any case

Picked = Sequence[tuple[Trained, int]]  # flows and how often each counts


def run_fit(
    source: Source,
    recipes: Sequence[Recipe],
    *,
    members: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    command: str = "",
) -> FitResult:
    """Train recipes from several seeds, without a search.

    Args:
        source: The data.
        recipes: The best first. Others than the first are trained only where `minutes` is given
            and `members` is not: as many of them as fit.
        members: Seeds of the first recipe; None: what `minutes` allows, 1 without it.
        minutes: Wall clock of the whole call; None: full trainings.
        seed: Of weights, batches and dropout.
        device: Where to train.
        out: Folder for the flow, or None.
        on_event: Told of the progress.
        should_stop: Asked about five times a second.
        began: Clock time at which the call began; None: now.
        clock: Seconds.
        command: What made the call, which is kept with the flow.

    Raises:
        ValueError: If an argument is not usable.
        NfoptError: If no flow can be used.
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`.
    """
    began = clock() if began is None else began
    check_minutes(minutes)
    if members is not None:
        check_members(members)
    warnings = list(source.data.warnings)
    with listening(should_stop) as stop:
        seconds = None if minutes is None else 60.0 * minutes
        call = Run(stop, on_event, began, clock, command).within(seconds)
        rows = MappedRows(source.data, device)
        flows = [recipe.flow for recipe in recipes[:1]]
        training = Retraining(
            data=rows,
            seed=seed,
            call=call,
            deadline=trained_by(call, seconds, flows, rows, members or MEMBERS),
            phase="fit",
        )
        if members is None and minutes is not None:
            trained = _fill(training, recipes)
        else:
            trained = training.all([Finalist(None, recipes[0])] * (members or 1))
        good = [one for one in trained if not one.reason]
        if not good:
            raise NfoptError(
                f"The flow can't be trained on this data ({trained[0].reason}):"
                " look at its columns, or give `bounds` or `log` for heavy tails."
            )
        if len(good) < len(trained):
            lost = [one.reason for one in trained if one.reason]
            warnings.append(f"{len(lost)} of {len(trained)} members are left out: {lost[0]}")
            call.notice(warnings[-1])
        picked: Picked = [(one, 1) for one in good]
        if members is None:
            picked = mixed(good, rows)
        flow, validation, info = assembled(picked, rows, source.described)
        target = None if out is None else Path(out)
        common = conclude(flow, validation, rows, call, target, warnings, **info)
    return FitResult(**common)


def _fill(training: Retraining, recipes: Sequence[Recipe]) -> list[Trained]:
    """Train the recipes while there is time, those of one shape side by side.

    Recipes differ more than seeds of the best one do, so their mixture is better; and whichever map
    or rate is wrong for this table gets no weight in it (`studies/portfolio`).
    """
    trained: list[Trained] = []
    share, known = 0.0, Pace(0.0, 0.0)
    waiting = [*recipes] * math.ceil(MEMBERS / len(recipes))
    while waiting:
        dear = train_cost(waiting[0].flow) / max(train_cost(recipes[0].flow), 1e-9)
        left = training.call.left(training.deadline) or 0.0
        if trained and left < SURELY * plan.LEAST_LAST_SHARE * share * known.times(dear).alone:
            break  # measuring alone would take what time is left
        pace = pace_of(waiting[0], training.data)
        known = known if trained else pace
        left = training.call.left(training.deadline) or 0.0
        share = share or plan.share_of_steps(left, pace)
        count = plan.stack_fitting(left, pace.times(share), MEMBERS)
        if not trained:
            count = max(1, count)
        if not count:
            break
        key = stack_key(waiting[0].flow, waiting[0].train)
        group = [one for one in waiting if stack_key(one.flow, one.train) == key][:count]
        for recipe in group:
            waiting.remove(recipe)
        own = share * plan.stretch(left, pace.times(share), len(group))
        finalists = [Finalist(None, _of_length(recipe, own)) for recipe in group]
        trained += training.all(finalists, again=len(trained))
    return trained


def _of_length(recipe: Recipe, share: float) -> Recipe:
    steps = max(1, round(share * recipe.train.steps))
    return replace(recipe, train=replace(recipe.train, steps=steps))


def pace_of(recipe: Recipe, rows: MappedRows) -> Pace:
    """Measure the seconds of a full training, alone and in a stack."""
    data = rows.under(recipe.marginals)
    return Pace(*measure_training(recipe.flow, recipe.train, data, plan.MOST_SEEDS))


def mixed(good: Sequence[Trained], rows: MappedRows) -> Picked:
    """Choose a mixture on validation rows."""
    scores = torch.stack([one.scores for one in good])
    picked = choose_mixture(scores, MEMBERS, rows.weights)
    return [(good[row], times) for row, times in picked.items()]


def assembled(
    picked: Picked, rows: MappedRows, described: Mapping[str, Any]
) -> tuple[Flow, Score, dict[str, Any]]:
    """Make a mixture of trained flows, with its validation score and what is told of it."""
    members = [one for one, _ in picked]
    shares = flow_shares(dict(enumerate(times for _, times in picked)))
    flow = Flow(
        [one.finalist.spec for one in members],
        [one.weights for one in members],
        [rows.preprocessing(one.finalist.recipe.marginals) for one in members],
        shares=shares,
        device=rows.device,
    )
    validation = Score(members[0].nll, members[0].nll_2se)
    if len(members) > 1:
        scores = mixture(torch.stack([one.scores for one in members]), shares)
        validation = score_of(scores, rows.data.parts[1])
    info = {
        "train": msgspec.to_builtins(members[0].finalist.train),
        "marginals": [one.finalist.recipe.marginals for one in members],
        "seeds": [one.seed for one in members],
        "steps": [one.steps for one in members],
        "made": Made.of(described, [one.made for one in members]),
    }
    return flow, validation, info


def run_retrain(
    study: optuna.Study,
    number: int,
    *,
    data: Any = None,
    minutes: float | None = None,
    seed: int | None = None,
    device: str = "cpu",
    out: str | Path | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    clock: Callable[[], float] = time.monotonic,
    command: str = "",
) -> SearchResult:
    """Train one trial of a study in full, score and save it.

    Args:
        study: What `load_study` gave.
        number: Of the trial.
        data: Where the data is now; None: where the study found it.
        minutes: Wall clock of the whole call; None: the trial's full steps.
        seed: Of the weights; None: one of the study's own.
        device: Where to train.
        out: Folder for the flow; None: nfopt-runs/STUDY-NUMBER.
        on_event: Told of the progress.
        should_stop: Asked about five times a second.
        clock: Seconds.
        command: As in `run_fit`.

    Raises:
        ValueError: If there is no such trial, or it was never trained.
        StudyError: If the data is not the study's.
    """
    began = clock()
    check_minutes(minutes)
    trials = trials_of(study)
    if not 0 <= number < len(trials):
        raise ValueError(
            f"`trial` {number} is not in study {study.study_name!r}, which has {len(trials)} trials"
            f"{f', 0 to {len(trials) - 1}' if trials else ''}."
        )
    recipe = recipe_of(trials[number])
    source = read_again(attributes_of(study), data)
    own = int(attributes_of(study).get(names.STUDY_SEED, 0)) if seed is None else seed
    with listening(should_stop) as stop:
        seconds = None if minutes is None else 60.0 * minutes
        call = Run(stop, on_event, began, clock, command).within(seconds)
        rows = MappedRows(source.data, device)
        retraining = Retraining(
            data=rows,
            seed=seeds.derive(own, seeds.RETRAIN, number),
            call=call,
            deadline=trained_by(call, seconds, [recipe.flow], rows),
        )
        target = RUNS / f"{study.study_name}-{number}" if out is None else Path(out)
        warnings = list(source.data.warnings)
        finalists = [Finalist(number, recipe)]
        return deliver_retrained(study, finalists, retraining, target, warnings, source.described)


def deliver_retrained(
    study: optuna.Study,
    finalists: Sequence[Finalist],
    retraining: Retraining,
    out: Path,
    warnings: list[str],
    described: Mapping[str, Any],
) -> SearchResult:
    """Train finalists of a study in full, mix what validates best, score it once, save it.

    Args:
        study: The study.
        finalists: The best first.
        retraining: How, and on which rows.
        out: Folder.
        warnings: Those so far; a gap between test and validation is added.
        described: The data, as `Source` describes it.
    """
    call = retraining.call
    call.on_event(
        Finalists(
            numbers=tuple(finalist.number for finalist in finalists),
            summaries=tuple(finalist.spec.summary() for finalist in finalists),
            seconds=call.left(retraining.deadline),
        )
    )
    picked = retraining.run(finalists)
    flow, validation, info = assembled(picked, retraining.data, described)
    number = picked[0][0].finalist.number
    info |= {
        "study": study.study_name,
        "trial": number,
        "trials": [one.finalist.number for one, _ in picked],
    }
    common = conclude(flow, validation, retraining.data, call, out, warnings, **info)
    return SearchResult(
        **common,
        study=study,
        trials=len(trials_of(study, *COUNTED)),
        complete=len(trials_of(study, COUNTED[0])),
        pruned=len(trials_of(study, COUNTED[1])),
        number=number,
    )
