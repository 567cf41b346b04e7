"""The first section: what was delivered, its score, its members, and how to use it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable

from nfopt import attributes as names
from nfopt.report.page.facts import Delivered, Facts, StudyFacts
from nfopt.report.page.markup import NOTHING, Html, code, el, joined, pairs, table

FEW = 40  # columns that are named
UNIT = el("small", " nats a row")


def delivered(facts: Facts) -> Html:
    """Tell the test score, what the flow is, and how to load it."""
    if facts.delivered is None:
        return NOTHING if facts.study is None else _without(facts, facts.study)
    found = facts.delivered
    test = found.number("test_nll", of="scores")
    validation = found.number("validation_nll", of="scores")
    score = with_error(test, found.number("test_nll_2se", of="scores"))
    validated = with_error(validation, found.number("validation_nll_2se", of="scores"))
    tested = test is not None
    parts = [
        el("p", score if tested else validated, UNIT, class_="score"),
        el(
            "p",
            f"Mean {'test' if tested else 'validation'} log-likelihood in nats a row, on the data's"
            " own scale, with twice its standard error; higher is better. "
            + (
                "The flow was chosen on validation rows; the test rows were scored once."
                if tested
                else "There are no test rows: the flow was chosen on the rows of this score."
            ),
            class_="soft",
        ),
        pairs(_pairs(facts, found, validated)),
        *(el("p", line, class_="warning") for line in _warnings(found)),
        _members(found),
        *_usage(facts, found),
    ]
    return joined(parts)


def _pairs(facts: Facts, found: Delivered, validated: str) -> list[tuple[str, str]]:
    seconds, members = found.number("seconds"), len(found.specs)
    parameters = sum(spec.parameter_count() for spec in found.specs)
    rows = [
        ("data", _data(facts)),
        ("columns", listed(facts.columns)),
        ("given", listed(facts.described.get("context_columns", ()))),
        ("flow", f"a mixture of {members} flows" if members > 1 else found.specs[0].summary()),
        ("parameters", f"{parameters:,}"),
        ("validation log-likelihood", validated),
        ("time", "" if seconds is None else clock(seconds)),
        ("made by", el("code", command) if (command := found.info.get("command")) else ""),
        ("saved in", "" if found.home is None else str(found.home)),
    ]
    return [(label, said) for label, said in rows if said]


def _data(facts: Facts) -> str:
    counts = [int(count) for count in facts.described.get("rows", ())]
    said = ", ".join(
        f"{count:,} {part}"
        for count, part in zip(counts, ("training", "validation", "test"), strict=False)
    )
    return f"{facts.name}: {said} rows" if said else facts.name


def listed(columns: Iterable[object]) -> str:
    """Name the first columns."""
    known = [str(column) for column in columns]
    if not known:
        return ""
    more = f", and {len(known) - FEW} more" if len(known) > FEW else ""
    return f"{len(known)}: {', '.join(known[:FEW])}{more}"


def _warnings(found: Delivered) -> list[str]:
    said = found.info.get("warnings")
    return [str(line) for line in said] if isinstance(said, list | tuple) else []


def _members(found: Delivered) -> Html:
    if len(found.specs) < 2:
        return NOTHING
    columns = (
        found.each("trials", int),
        found.each("members_test_nll", float),
        found.each("steps", int),
        found.each("marginals", str),
    )
    rows = [
        [
            str(number),
            f"{share:.3f}",
            "" if trial is None else str(trial),
            with_error(nll, None),
            "" if steps is None else f"{steps:,}",
            f"{spec.parameter_count():,}",
            f"{spec.summary()}; {marginals or 'standardise'}",
        ]
        for number, (spec, share, trial, nll, steps, marginals) in enumerate(
            zip(found.specs, found.shares, *columns, strict=True), 1
        )
    ]
    numbers = ["member", "weight", "trial", "test alone", "steps", "parameters"]
    head = {**dict.fromkeys(numbers, int), "structure; marginal maps": str}
    return joined([el("h3", "Members and their weights in the mixture"), table(head, rows)])


def _usage(facts: Facts, found: Delivered) -> list[Html]:
    if found.home is None:
        return []
    home, given = str(found.home), bool(facts.described.get("context_columns"))
    more = ", context=context" if given else ""
    python = (
        "import nfopt\n\n"
        f"flow = nfopt.load({home!r})\n"
        f"flow.log_prob(rows{more})  # nats, shape (n,); an array or a DataFrame\n"
        f"flow.sample(1000, seed=0{more})  # shape (1000, {found.specs[0].features})\n"
    )
    folder = shlex.quote(home)
    given_row = " --context ROWS.csv" if given else ""
    shell = f"nfopt score {folder} DATA\nnfopt sample {folder} --rows 1000{given_row}\n"
    return [el("h3", "How to use it"), code(python), code(shell)]


def _without(facts: Facts, study: StudyFacts) -> Html:
    """Say where the flow is, or what the best trial is, from the storage alone."""
    told = study.known.get(names.DELIVERED)
    parts = []
    if told:
        error = told.get("test_nll_2se")
        parts = [
            el("p", with_error(told.get("test_nll"), error), UNIT, class_="score"),
            el(
                "p",
                "Mean test log-likelihood in nats a row of what was delivered last, with twice its"
                " standard error; higher is better.",
                class_="soft",
            ),
        ]
    rows = [("data", _data(facts)), ("columns", listed(facts.columns))]
    if told:
        rows += [
            ("members", str(told.get("members", 1))),
            ("time", clock(float(told.get("seconds") or 0.0))),
            ("made by", el("code", told["command"]) if told.get("command") else ""),
            ("saved in", f"{told.get('out')} (not read here)" if told.get("out") else "no folder"),
        ]
    if (best := study.best) is not None:
        command = f"nfopt retrain {shlex.quote(study.name)} --trial {best.number}"
        score = f"validation log-likelihood {with_error(best.nll, None)}"
        rows.append(("best trial", f"{best.number}, {score} at a trial's length"))
        rows.append(("train it", el("code", command + storage_flag(study))))
    elif not told:
        parts.append(el("p", "Nothing yet: no trial has an NLL."))
    return joined([*parts, pairs([(label, said) for label, said in rows if said])])


def storage_flag(study: StudyFacts) -> str:
    """The option that names a study's storage, where a command needs it."""
    return f" --storage {shlex.quote(study.storage)}" if study.storage else ""


def with_error(nll: float | None, error: float | None) -> str:
    """A log-likelihood with two standard errors, rounded accordingly; "" where there is none.

    >>> with_error(24.3512, 0.0437)
    '-24.351 ± 0.044'
    """
    if nll is None or not math.isfinite(nll):
        return ""
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{-nll:.4f}"
    digits = min(6, max(1, 1 - math.floor(math.log10(error))))
    return f"{-nll:.{digits}f} ± {error:.{digits}f}"


def clock(seconds: float) -> str:
    """Seconds as people say them.

    >>> clock(90.4), clock(7262.0)
    ('1 min 30 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
