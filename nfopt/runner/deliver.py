"""From candidates to a flow on disk: retrain, choose, score once, save. And `retrain`, `fit`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna

from nfopt import attributes as names
from nfopt import seeds
from nfopt.data import DEFAULT, Prepared
from nfopt.distributed.queue import COUNTED
from nfopt.errors import NfoptError
from nfopt.events import Done, Finalists, OnEvent, ignore
from nfopt.model import Flow
from nfopt.runner import budget as plan
from nfopt.runner.context import Run
from nfopt.runner.retrain import Finalist, Retraining, Trained
from nfopt.signals import listening
from nfopt.spec import FlowSpec, Recipe
from nfopt.storage.url import RUNS
from nfopt.stored import attributes_of, recipe_of, trials_of
from nfopt.study.arguments import check_members, check_minutes
from nfopt.study.dataset import Source, read_again
from nfopt.study.results import (
    FitResult,
    Score,
    SearchResult,
    gap_text,
    info_of,
    member_scores,
    mixture,
    score_of,
)
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import scoring_seconds


def deliver(
    study: optuna.Study,
    finalists: Sequence[Finalist],
    data: Prepared,
    retraining: Retraining,
    out: Path,
    warnings: list[str],
    *,
    mean_group: float = math.nan,
) -> SearchResult:
    """Retrain candidates of a study, keep the best on validation data, score it once, save it.

    What is kept is one flow or, where `retraining.members` allows it, a mixture of several.

    Args:
        study: The study.
        finalists: Candidates, the best first.
        data: All rows.
        retraining: How; it holds the same rows on its device.
        out: Folder.
        warnings: Those so far; a gap between test and validation is added.
        mean_group: Of the search, for the result.
    """
    retraining.call.on_event(
        Finalists(
            numbers=tuple(finalist.number for finalist in finalists),
            summaries=tuple(finalist.spec.summary() for finalist in finalists),
            seconds=retraining.call.left(retraining.deadline),
        )
    )
    kept = retraining.run(finalists)
    best = kept[0]
    flow = Flow(
        [each.finalist.spec for each in kept],
        [each.weights for each in kept],
        [retraining.data.preprocessing(each.finalist.recipe.marginals) for each in kept],
        device=retraining.data.device,
    )
    common = _conclude(
        flow,
        _validation(flow, kept, data),
        data,
        retraining.call,
        out,
        warnings,
        study=study.study_name,
        trial=best.finalist.number,
        trials=[each.finalist.number for each in kept],
        train=msgspec.to_builtins(best.finalist.train),
        marginals=[each.finalist.recipe.marginals for each in kept],
        seeds=[each.seed for each in kept],
        steps=[each.steps for each in kept],
    )
    trials = len(trials_of(study, *COUNTED))
    return SearchResult(
        **common,
        study=study,
        trials=trials,
        number=best.finalist.number,
        mean_group=mean_group,
    )


def deadline_of(
    call: Run,
    times: plan.Times | None,
    specs: Sequence[FlowSpec],
    data: Prepared,
    rows: MappedRows,
    members: int = 1,
) -> float | None:
    """Clock time at which retraining must be over, so that scoring fits into the call's time.

    Args:
        call: The call.
        times: Of the call, or None: it has all the time.
        specs: Flows of which some will be scored.
        data: All rows.
        rows: The same, on their device.
        members: Flows to score at most.
    """
    if times is None:
        return None
    scored = data.sizes[2] + (data.sizes[1] if members > 1 else 0)
    scoring = members * scoring_seconds(specs, rows.under(DEFAULT), scored)
    return call.at(plan.leave(times.retrain, call.elapsed(), scoring))


def _validation(flow: Flow, members: Sequence[Trained], data: Prepared) -> Score:
    """Score a flow on validation data; one member's score is known from its training."""
    if len(members) == 1:
        return Score(members[0].nll, members[0].nll_2se)
    return score_of(mixture(member_scores(flow, data.parts[1])), data.parts[1])


def _conclude(
    flow: Flow,
    validation: Score,
    data: Prepared,
    call: Run,
    out: Path | None,
    warnings: list[str],
    **info: Any,
) -> dict[str, Any]:
    """Score a flow on test data, once; save it; return a result's fields."""
    tested = member_scores(flow, data.parts[2])
    test = score_of(mixture(tested), data.parts[2])
    gap = gap_text(validation, test)
    if gap is not None:
        call.notice(gap)
        warnings = [*warnings, gap]
    flow.info = info_of(data, validation, test, **info, warnings=warnings)
    call.stop.check()
    saved = None if out is None else flow.save(out)
    seconds = call.elapsed()
    call.on_event(
        Done(
            number=info.get("trial"),
            validation_nll=validation.nll,
            test_nll=test.nll,
            test_nll_2se=test.nll_2se,
            seconds=seconds,
            out=None if saved is None else str(saved),
        )
    )
    return {
        "flow": flow,
        "validation_nll": validation.nll,
        "validation_nll_2se": validation.nll_2se,
        "test_nll": test.nll,
        "test_nll_2se": test.nll_2se,
        "parameters": sum(spec.parameter_count() for spec in flow.specs),
        "seconds": seconds,
        "out": saved,
        "members": tuple(score_of(row, data.parts[2]).nll for row in tested),
        "disagreement": float(tested.std(dim=0, correction=0).mean()),
        "warnings": tuple(warnings),
    }


def run_fit(
    source: Source,
    recipe: Recipe,
    *,
    members: int = 1,
    minutes: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
    on_event: OnEvent = ignore,
    should_stop: Callable[[], bool] | None = None,
    began: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FitResult:
    """Train one recipe from several seeds as one stack, without a search.

    Args:
        source: The data.
        recipe: Flow, training and marginal maps.
        members: Seeds; their mixture is the flow.
        minutes: Wall clock of the whole call; None: the recipe's full steps.
        seed: Of weights, batches and dropout.
        device: Where to train.
        out: Folder for the flow, or None.
        on_event: Told of the progress.
        should_stop: Asked about five times a second.
        began: Clock time at which the call began; None: now.
        clock: Seconds.

    Raises:
        ValueError: If an argument is not usable.
        NfoptError: If no member can be used.
        KeyboardInterrupt: On SIGINT, SIGTERM or `should_stop`.
    """
    began = clock() if began is None else began
    check_minutes(minutes)
    check_members(members)
    data = source.data
    warnings = list(data.warnings)
    with listening(should_stop) as stop:
        call = Run(stop, on_event, began, clock)
        times = None if minutes is None else plan.times(60.0 * minutes, call.elapsed())
        rows = MappedRows(data, device)
        training = Retraining(
            data=rows,
            seed=seed,
            call=call,
            deadline=deadline_of(call, times, [recipe.flow], data, rows, members),
            phase="fit",
        )
        trained = training.all([Finalist(None, recipe)] * members)
        good = [member for member in trained if not member.reason]
        if not good:
            raise NfoptError(
                f"The flow can't be trained on this data ({trained[0].reason}):"
                " look at its columns, or give `bounds` or `log` for heavy tails."
            )
        if len(good) < members:
            lost = [member.reason for member in trained if member.reason]
            warnings.append(f"{len(lost)} of {members} members are left out: {lost[0]}")
            call.notice(warnings[-1])
        flow = Flow(
            [member.finalist.spec for member in good],
            [member.weights for member in good],
            rows.preprocessing(recipe.marginals),
            device=device,
        )
        common = _conclude(
            flow,
            _validation(flow, good, data),
            data,
            call,
            None if out is None else Path(out),
            warnings,
            train=msgspec.to_builtins(recipe.train),
            marginals=[recipe.marginals] * len(good),
            seeds=[member.seed for member in good],
            steps=[member.steps for member in good],
        )
    return FitResult(**common)


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
        call = Run(stop, on_event, began, clock)
        times = None if minutes is None else plan.times(60.0 * minutes, call.elapsed())
        rows = MappedRows(source.data, device)
        retraining = Retraining(
            data=rows,
            seed=seeds.derive(own, seeds.RETRAIN, number),
            call=call,
            deadline=deadline_of(call, times, [recipe.flow], source.data, rows),
        )
        target = RUNS / f"{study.study_name}-{number}" if out is None else Path(out)
        warnings = list(source.data.warnings)
        finalists = [Finalist(number, recipe)]
        return deliver(study, finalists, source.data, retraining, target, warnings)
