"""The end of a call: a mixture, chosen on validation rows, scored once on test rows, saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna
import torch
from optuna.trial import FrozenTrial
from torch import Tensor

from nfopt import attributes as names
from nfopt import seeds
from nfopt.data import DEFAULT
from nfopt.distributed.queue import COUNTED
from nfopt.errors import NfoptError, StudyError
from nfopt.events import Done, Mixed
from nfopt.model import Flow
from nfopt.model.disk import UNWRITTEN
from nfopt.model.mixture import choose_mixture, flow_shares, merge
from nfopt.runner import budget as plan
from nfopt.runner.context import Run
from nfopt.runner.costs import costs_of
from nfopt.spec import FlowSpec
from nfopt.stored import attributes_of, recipe_of, trials_of
from nfopt.study.candidate import fault
from nfopt.study.length import BAG_MEMBERS, MEMBERS
from nfopt.study.ranking import best_of, order
from nfopt.study.results import (
    Score,
    SearchResult,
    disagreement,
    gap_text,
    gaussian_text,
    info_of,
    member_scores,
    mixture,
    note_delivered,
    score_of,
)
from nfopt.study.rows import MappedRows
from nfopt.study.stacks import bag_scores, inverse_seconds, scoring_seconds, train_bags
from nfopt.study.weights import BY_MIXTURE, BY_NLL, Kept, KeptFlows, provenance_of
from nfopt.training.provenance import Made, of_bag


def deliver(
    study: optuna.Study,
    kept: KeptFlows,
    rows: MappedRows,
    call: Run,
    out: Path,
    warnings: list[str],
    *,
    members: int,
    mean_group: float,
    deadline: float | None = None,
) -> SearchResult:
    """Mix what a study has kept, chosen on validation rows; score it once on test rows; save it.

    Args:
        study: The study.
        kept: Its flows.
        rows: All rows, on the device that scores.
        call: The call.
        out: Folder.
        warnings: Those so far; what can't be read and a gap to the test rows are added.
        members: Distinct flows at most.
        mean_group: Of the search, for the result.
        deadline: Clock time at which all training must be over, or None.

    Raises:
        StudyError: If nothing of the study can be delivered.
    """
    flows, unreadable = kept.all()
    for line in unreadable:
        call.notice(line)
    best = best_of(study)
    if best is not None and best.number not in {one.number for one in flows}:
        again = _train_again(study, best, rows, call, None if not flows else deadline)
        flows = sorted([*flows, *again], key=lambda one: order(one.nll, one.number))
    if not flows:
        raise StudyError(
            f"None of the trials of study {study.study_name!r} left a flow that can be used: give"
            " it more time, limit the search with `space`, or look at the data."
        )
    scores = torch.stack([_scores(one, rows) for one in flows])
    weights = rows.weights
    most = max(1, (BAG_MEMBERS if members == MEMBERS else members) // rows.bag)
    picked = choose_mixture(scores, members if rows.bag == 1 else most, weights)
    chosen = [flows[row] for row in picked]
    call.on_event(
        Mixed(
            numbers=tuple(one.number for one in chosen),
            times=tuple(picked.values()),
            summaries=tuple(one.flow.specs[0].summary() for one in chosen),
            trained=len(flows),
        )
    )
    flow = merge([one.flow for one in chosen], list(picked.values()), rows.device)
    leads = chosen[0].number
    validation = score_of(mixture(scores[list(picked)], flow_shares(picked)), rows.validation)
    trials = trials_of(study)
    common = conclude(
        flow,
        validation,
        rows,
        call,
        out,
        [*warnings, *unreadable],
        study=study.study_name,
        trial=leads,
        trials=[one.number for one in chosen for _ in one.flow.specs],
        train=msgspec.to_builtins(recipe_of(trials[leads]).train),
        marginals=[recipe_of(trials[o.number]).marginals for o in chosen for _ in o.flow.specs],
        seeds=[seed for one in chosen for seed in one.flow.info["seeds"]],
        steps=[steps for one in chosen for steps in one.flow.info["steps"]],
        made=Made.of(
            attributes_of(study)[names.DATA],
            [m for one in chosen for m in provenance_of(one, recipe_of(trials[one.number]))],
            folds=rows.folds,
            folds_seed=rows.seed,
            searched=True,
        ),
    )
    kept.tidy(_staying(flows, scores, weights) | {one.number for one in chosen})
    result = SearchResult(
        **common,
        study=study,
        trials=len(trials_of(study, *COUNTED)),
        complete=len(trials_of(study, COUNTED[0])),
        pruned=len(trials_of(study, COUNTED[1])),
        number=leads,
        mean_group=mean_group,
    )
    note_delivered(result)
    return result


def _train_again(
    study: optuna.Study,
    best: FrozenTrial,
    rows: MappedRows,
    call: Run,
    deadline: float | None,
) -> list[Kept]:
    """Train the recipe of the best trial again, as its flow can't be read; none if there's no time.

    Args:
        study: The study.
        best: The trial.
        rows: All rows.
        call: The call.
        deadline: Clock time at which it must be over, or None.
    """
    left = call.left(deadline)
    if left is not None and left <= 0:
        call.notice(f"trial {best.number}, the best, is left out: there is no time to train it")
        return []
    call.notice(f"the flow of trial {best.number}, the best, is not there: it is trained again")
    seed = int(attributes_of(study).get(names.STUDY_SEED, 0))
    recipe, seed = recipe_of(best), seeds.derive(seed, seeds.RETRAIN, best.number)
    stack, (result,) = train_bags(
        [recipe.flow],
        [recipe.train],
        [seed],
        [recipe.marginals],
        rows,
        batches=seed,
        steps=recipe.train.steps,
        seconds=left,
        on_progress=lambda seen: call.training("retrain", recipe.flow.summary(), seen),
        should_stop=call.stop,
    )
    call.stop.check()
    if fault(result):
        return []
    made = of_bag(
        result,
        recipe.train,
        recipe.marginals,
        seed,
        batches=seed,
        steps=recipe.train.steps,
        stack=rows.bag,
        size=rows.bag,
        timed=left is not None,
    )
    info = {
        "seeds": [seed] * rows.bag,
        "steps": [result.steps] * rows.bag,
        "made": msgspec.to_builtins(made),
    }
    flow = Flow.of(stack, rows.preprocessings(recipe.marginals), info)
    scores = bag_scores(stack, [recipe.marginals], rows)[0]
    return [Kept(best.number, result.nll, flow, scores)]


def _scores(one: Kept, rows: MappedRows) -> Tensor:
    """Log-density of the validation rows; computed for what another process has trained."""
    if one.scores is not None:
        return one.scores.double()
    return rows.scores(one.flow)


def _staying(flows: Sequence[Kept], scores: Tensor, weights: Tensor | None) -> set[int]:
    """Numbers of the trials whose flows stay: the best alone, and those that help most."""
    stay = {one.number for one in flows[:BY_NLL]}
    return stay | {flows[row].number for row in choose_mixture(scores, BY_MIXTURE, weights)}


def trained_by(
    call: Run, seconds: float | None, specs: Sequence[FlowSpec], rows: MappedRows, members: int = 1
) -> float | None:
    """Clock time at which all training must be over, so that what follows fits into the call.

    What follows in any case is the round trip and the scores. What it may cost to sample is noted
    for `call.closing`.

    Args:
        call: The call.
        seconds: Of the whole call, or None: it has all the time.
        specs: Flows of which some will be scored.
        rows: All rows.
        members: Flows to score at most.
    """
    if seconds is None:
        return None
    scored = rows.data.sizes[2] + (rows.data.sizes[1] if members > 1 else 0)
    scoring = members * scoring_seconds(specs, rows.under(DEFAULT), scored)
    call.closing.inverse = inverse_seconds(specs, rows.device)
    after = scoring + call.closing.inverse
    return call.at(plan.leave(plan.trained_by(seconds), call.elapsed(), after))


def conclude(
    flow: Flow,
    validation: Score,
    rows: MappedRows,
    call: Run,
    out: Path | None,
    warnings: list[str],
    **info: Any,
) -> dict[str, Any]:
    """Score a flow on test data, once; save it; return a result's fields.

    Raises:
        NfoptError: If no member was trained, or the flow can be saved nowhere.
    """
    if not any(info["steps"]):
        raise NfoptError("No flow was trained for a single step: give it more time with `minutes`.")
    data = rows.data
    tested = member_scores(flow, data.parts[2])
    test = score_of(mixture(tested, flow.shares), data.parts[2])
    for line in (gap_text(validation, test), gaussian_text(validation, rows.gaussian_nll())):
        if line is not None:
            call.notice(line)
            warnings = [*warnings, line]
    costs = costs_of(flow, rows, call.closing)
    alone = [score_of(row, data.parts[2]).nll for row in tested]
    info |= {"members_test_nll": alone, "costs": costs, "warnings": warnings}
    made = {"seconds": round(call.elapsed(), 3), "command": call.command}
    flow.info = info_of(data, validation, test, **info, **made)
    call.stop.check()
    saved = None if out is None else _save(flow, out, call, warnings)
    seconds = call.elapsed()
    call.on_event(
        Done(
            number=info.get("trial"),
            validation_nll=validation.nll,
            test_nll=test.nll,
            test_nll_2se=test.nll_2se,
            seconds=seconds,
            out=None if saved is None else str(saved),
            closing=call.closing,
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
        "members": tuple(alone),
        "disagreement": disagreement(tested),
        "costs": costs,
        "warnings": tuple(flow.info["warnings"]),
        "data": data,
        "closing": call.closing,
    }


def _save(flow: Flow, out: Path, call: Run, warnings: Sequence[str]) -> Path:
    """Save a flow in a folder, or elsewhere if the disk is full or the folder is none any more."""
    try:
        return flow.save(out)
    except UNWRITTEN as error:
        why = getattr(error, "strerror", None) or str(error)
    line = f"the flow can't be saved in {str(out)!r} ({why})"
    flow.info["warnings"] = [*warnings, f"{line}: it was saved elsewhere"]
    try:
        saved = flow.save_elsewhere(out)
    except UNWRITTEN as error:
        raise NfoptError(f"{line[0].upper()}{line[1:]}, nor elsewhere: {error}.") from None
    line = f"{line}: it is in {str(saved)!r}"
    flow.info["warnings"] = [*warnings, line]
    call.notice(line)
    return saved
