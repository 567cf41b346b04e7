"""Notes of trials and studies, in the markdown that optuna-dashboard shows.

Everything that comes from data (names of columns, of a study) is escaped: plain text, not markdown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from nfopt import attributes as names
from nfopt.layers import Autoregressive, Coupling
from nfopt.report.canvas import short
from nfopt.report.rows import Row, best_of, columns_of
from nfopt.spec import FlowSpec
from nfopt.stored import recipe_of

LONGEST = 1_900  # characters of a trial's note, so that it is a single attribute
FEW = 16  # columns whose names are written out, layer by layer


def escape(text: str) -> str:
    """Escape text for markdown and HTML."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"([\\`*_{}\[\]()<>#+\-.!|~$&:@/])", r"\\\1", flat)


def trial_note(trial: FrozenTrial, columns: Sequence[str]) -> str | None:
    """The note of a trial: what it was and how it ended; None if nfopt did not create it.

    Args:
        trial: One that has ended.
        columns: D names.
    """
    known = trial.user_attrs
    if names.SPEC not in known or names.TRAIN not in known:
        return None
    try:
        recipe = recipe_of(trial)
    except ValueError as error:
        return escape(str(error))
    spec, train = recipe.flow, recipe.train
    columns = columns_of(spec, columns)
    lines = [f"**{escape(spec.summary())}**", ""]
    steps = trial.intermediate_values
    nll = steps[max(steps)] if steps else None  # pruned trials have one too
    if nll is not None and math.isfinite(nll):
        lines.append(f"- validation NLL: **{nll:.4f}**{_error(known, trial)} nats a row")
    share = known.get(names.FIDELITY)
    fidelity = "" if share is None else f", {share:.0%} of {train.steps:,} steps"
    why = f": {escape(str(known[names.REASON]))}" if names.REASON in known else ""
    lines.append(f"- {trial.state.name.lower()}{fidelity}{why}")
    count = known.get(names.PARAMETERS)
    count = count if isinstance(count, int) else spec.parameter_count()
    lines.append(f"- parameters: {count:,}; base: {escape(spec.base.kind)}")
    lines.append(
        f"- training: {train.optimiser}, {escape(train.schedule)}, learning rate"
        f" {train.learning_rate:.2g}, batch {train.batch_size:,}, weight decay"
        f" {train.weight_decay:.2g}, dropout {train.dropout:.2g}"
    )
    lines.append(f"- marginal maps: {escape(recipe.marginals)}")
    lines.append(f"- seed of the weights: {known.get(names.SEED)}; of the batches: the study's")
    lines += _others(known)
    lines += ["", "Layers, from the data to the base:", ""]
    return _within("\n".join(lines), [_layer(*one, columns) for one in enumerate(spec.layers, 1)])


def _error(known: Mapping[str, Any], trial: FrozenTrial) -> str:
    error = known.get(names.NLL_2SE)
    whole = trial.state.name == "COMPLETE" and isinstance(error, int | float)
    return f" ± {error:.2g} (2 s.e.)" if whole else ""


def _others(attributes: Mapping[str, Any]) -> list[str]:
    """Lines that only some trials have."""
    lines = []
    error = attributes.get(names.ROUND_TRIP)
    if error is not None:
        lines.append(f"- error of data taken to the base and back: {error:.1e}")
    if names.FIRST in attributes:
        lines.append("- one of the first trials: a recipe, or a flow that was given")
    if names.RETRY_OF in attributes:
        lines.append(f"- goes on with interrupted trial {attributes[names.RETRY_OF]}")
    origin = attributes.get(names.ORIGIN)
    if isinstance(origin, dict) and origin.get("operator"):
        parents = ", ".join(str(number) for number in origin.get("parents") or ())
        of = f", of trial{'s' if ',' in parents else ''} {parents}" if parents else ""
        lines.append(f"- made by: {escape(str(origin['operator']))}{of}")
    return lines


def _layer(number: int, layer: Any, columns: Sequence[str]) -> str:
    said = f"{number}. {escape(layer.words())}"
    if len(columns) > FEW:
        return said
    match layer:
        case Coupling():
            moved = [escape(short(c)) for c, x in zip(columns, layer.mask, strict=True) if x == "T"]
            fed = [escape(short(c)) for c, x in zip(columns, layer.mask, strict=True) if x == "C"]
            return f"{said}: {', '.join(moved)} given {', '.join(fed)}"
        case Autoregressive(order=tuple(order)):
            return f"{said}: {', '.join(escape(short(columns[k])) for k in order)}"
        case Autoregressive():
            edges = sum(map(len, layer.parents or ()))
            return f"{said}: {edges:,} of {len(columns) * (len(columns) - 1) // 2:,} edges"
        case _:
            return said


def _within(head: str, lines: Sequence[str]) -> str:
    """A head and as many lines as `LONGEST` allows."""
    text = head
    for number, line in enumerate(lines):
        if len(text) + len(line) > LONGEST - 40:
            return f"{text}\n\n... and {len(lines) - number} more layers (see the picture)"
        text += f"\n{line}"
    return text


def study_note(
    name: str,
    storage: str,
    known: Mapping[str, Any],
    rows: Sequence[Row],
    best: FlowSpec | None,
) -> str:
    """The note of a study: what it is, how far it is and how to go on.

    Args:
        name: Of the study.
        storage: Its URL, the password masked.
        known: The study's attributes.
        rows: Its trials that have ended.
        best: The flow of the best one, or None.
    """
    data = known.get(names.DATA) or {}
    budget = known.get(names.BUDGET) or {}
    columns = [str(column) for column in data.get("columns", ())]
    given = [str(column) for column in data.get("context_columns", ())]
    wanted = [f"{budget['trials']:,} trials in all"] if budget.get("trials") else []
    wanted += [f"{budget['minutes']:g} minutes a call"] if budget.get("minutes") else []
    states = {
        state: sum(row.state == state for row in rows) for state in ("COMPLETE", "PRUNED", "FAIL")
    }
    lines = [
        f"nfopt searches a normalizing flow for **{escape(str(data.get('name', 'data')))}**.",
        "",
        f"- rows for training, validation, test: {_rows(data)}",
        f"- {_listed(f'{len(columns)} columns', columns)}",
    ]
    if given:
        lines.append(f"- {_listed(f'given {len(given)} context columns', given)}")
    lines += [
        f"- sampler: {escape(str(known.get(names.SAMPLER, 'unknown')))}, seed"
        f" {known.get(names.STUDY_SEED, 'unknown')}; budget: {' or '.join(wanted) or 'none'}",
        f"- trials so far: {states['COMPLETE']:,} complete, {states['PRUNED']:,} pruned,"
        f" {states['FAIL']:,} failed",
    ]
    found = best_of(rows)
    if found is not None and found.nll is not None:
        what = "" if best is None else f": {escape(best.summary())}"
        lines.append(
            f"- **best so far: trial {found.number}, validation NLL {found.nll:.4f}** nats a row at"
            f" a trial's length (lower is better){what}"
        )
    lines += ["", "Go on with it, look at it, or take a trial out as a flow:", "", "```"]
    lines += [f"{command}" for command in _commands(name, storage, known, found)]
    lines += ["```", "", _letters()]
    return "\n".join(lines)


def _rows(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{count:,}" for count in data.get("rows", ())) or "unknown"


def _listed(what: str, columns: Sequence[str]) -> str:
    shown = ", ".join(escape(short(column)) for column in columns[:FEW])
    return f"{what}: {shown}{', ...' if len(columns) > FEW else ''}"


def _commands(name: str, storage: str, known: Mapping[str, Any], best: Row | None) -> list[str]:
    import shlex

    where = f" --storage {shlex.quote(storage)}" if "://" in storage else ""
    study = shlex.quote(_plain(name))
    source = (known.get(names.DATA) or {}).get("source")
    data = "DATA" if source is None else shlex.quote(_plain(str(source)))
    number = 0 if best is None else best.number
    return [
        f"nfopt {'autonf' if names.AUTONF in known else 'search'} {data} --study {study}{where}",
        f"nfopt status {study}{where}",
        f"nfopt retrain {study} --trial {number}{where}",
    ]


def _plain(text: str) -> str:
    """Keep a text from ending the block of code it stands in."""
    return text.replace("`", "'").replace("\n", " ")


def _letters() -> str:
    return (
        "In a trial's picture of its masks, C conditions, T is transformed, I is idle. The NLL of a"
        " pruned trial is that of the rung where it ended; what is delivered is a mixture of the"
        " flows that were trained."
    )
