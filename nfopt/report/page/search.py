"""The sections on the study: how it went, its front, what mattered, and its trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from nfopt import attributes as names
from nfopt.report import figures
from nfopt.report.page.delivered import clock, storage_flag
from nfopt.report.page.facts import Facts, StudyFacts
from nfopt.report.page.importances import BITS, Importance, importances
from nfopt.report.page.markup import NOTHING, Html, el, joined, pairs, picture, table
from nfopt.report.page.svg import chart
from nfopt.report.rows import ranked
from nfopt.stored import flow_of, usable

BEST = 20  # trials in the table
SHOWN = 12  # parameters
REASONS = 5


def course(facts: Facts) -> Html:
    """Draw how the best NLL fell, and the front of NLL against size."""
    study = facts.study
    if study is None:
        return NOTHING
    rows, known = study.rows, study.known
    states = Counter(trial.state.name.lower() for trial in study.trials)
    budget = known.get(names.BUDGET) or {}
    wanted = [f"{budget['trials']:,} trials in all"] if budget.get("trials") else []
    wanted += [f"{budget['minutes']:g} minutes a call"] if budget.get("minutes") else []
    told = [
        ("study", study.name + storage_flag(study)),
        ("sampler", f"{known.get(names.SAMPLER)}, seed {known.get(names.STUDY_SEED)}"),
        ("trials", ", ".join(f"{count:,} {state}" for state, count in states.items()) or "0"),
        ("training time", clock(sum(row.seconds for row in rows)) + ", all workers together"),
        ("budget", " or ".join(wanted)),
    ]
    parts = [pairs([(label, said) for label, said in told if said])]
    drawn = _differentiable(study)
    if len(rows) > 1:
        usual = (figures.best_by_seconds, figures.best_by_trials, figures.pareto)
        drawn = [*(chart(figure(rows)) for figure in usual), *drawn]
    if drawn:
        parts.append(el("div", *drawn, class_="figures"))
    return joined([*parts, _search_picture(study)])


def _differentiable(study: StudyFacts) -> list[Html]:
    if names.AUTONF not in study.known:
        return []
    from nfopt.report.searches import nll_and_cost, points_of

    points = points_of(study.trials)
    return [chart(nll_and_cost(points))] if points else []


def _search_picture(study: StudyFacts) -> Html:
    """Draw the weights of a differentiable search, that of the best trial."""
    if names.AUTONF not in study.known or study.best is None:
        return NOTHING
    from nfopt.report.searches import history_of, search_png

    number = study.best.number
    history = history_of(study.trials[number])
    if history is None:
        return NOTHING
    said = f"Weights and course of trial {number}'s search"
    return picture(search_png(history, title=said), said)


def what_mattered(facts: Facts) -> Html:
    """Tell which parameters and pairs explain how good the trials were."""
    if facts.study is None:
        return NOTHING
    singles, both = importances(facts.study.trials, facts.study.objectives)
    if not singles:
        return NOTHING
    telling = [one for one in singles if one.share > one.chance]
    bits = any(BITS.search(name) for trial in facts.study.trials for name in trial.params)
    words = (
        "The share of the variance of the trials' ranks that a parameter explains, less what chance"
        " would explain (omega squared; pruned trials rank behind complete ones). A sampler"
        " changes parameters together once it settles: shares overlap, and tell no causes."
        + (" Bits of masks and adjacencies are no parameters of their own here." if bits else "")
    )
    parts = [el("p", words, class_="soft")]
    if telling:
        head = {"parameter": str, "share": str, "best where it is": str, "trials": int}
        lines = [[*_cells(one), one.best, f"{one.trials:,}"] for one in telling[:SHOWN]]
        parts.append(table(head, lines))
    if silent := len(singles) - len(telling):
        parts.append(el("p", f"{silent} parameters explain no more than chance may."))
    if both:
        head = {"pair, beyond both alone": str, "share": str, "trials": int}
        lines = [[*_cells(one), f"{one.trials:,}"] for one in both[:SHOWN]]
        parts.append(table(head, lines))
    else:
        parts.append(el("p", "No pair explains more together than apart, beyond chance."))
    return joined(parts)


def _cells(one: Importance) -> list[str | Html]:
    share = max(0.0, one.share)
    bar = el("span", class_="bar", style=f"width:{8 * share:.2f}rem")
    return [" and ".join(one.names), joined([bar, f"{share:.1%}"])]


def trials(facts: Facts) -> Html:
    """List the best trials, and why others failed."""
    study = facts.study
    if study is None:
        return NOTHING
    best = islice((r for r in ranked(study.rows) if usable(study.trials[r[0].number])), BEST)
    lines = []
    for row, nll in best:
        trial = study.trials[row.number]
        flow = flow_of(trial)
        error = trial.user_attrs.get(names.NLL_2SE)
        lines.append([
            str(row.number),
            f"{nll:.4f}",
            f"{error:.2g}" if isinstance(error, int | float) else "",
            "" if row.parameters is None else f"{row.parameters:,}",
            f"{row.seconds:.1f}",
            _origin(trial.user_attrs),
            "" if flow is None else flow.summary(),
        ])  # fmt: skip
    numbers = ["trial", "validation NLL", "2 s.e.", "parameters", "seconds"]
    head = {**dict.fromkeys(numbers, int), "made by": str, "structure": str}
    words = (
        f"The best {len(lines)} of {len(study.rows):,} that have ended. Validation NLLs are in nats"
        " a row; lower is better."
    )
    parts = [el("p", words, class_="soft"), table(head, lines)] if lines else []
    why = Counter(
        str(trial.user_attrs.get(names.REASON, "not said"))
        for trial in study.trials
        if trial.state.name == "FAIL"
    )
    if why:
        reasons = [el("li", f"{count:,}: {said}") for said, count in why.most_common(REASONS)]
        parts.append(joined([el("h3", "Why trials failed"), el("ul", *reasons)]))
    return joined(parts)


def _origin(attributes: Mapping[str, Any]) -> str:
    origin = attributes.get(names.ORIGIN)
    if names.FIRST in attributes:
        return "first trial"
    if names.REPEATS in attributes:
        return "further seed"
    made = origin.get("operator") if isinstance(origin, Mapping) else None
    return str(made or "").replace("+", " + ")
