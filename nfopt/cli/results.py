"""Results of commands: a short table for people, one JSON object for programs."""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from nfopt.cli.failures import one_line
from nfopt.cli.progress import clock_text, count

if TYPE_CHECKING:
    from rich.console import Console

    from nfopt.runner.repeat.run import RepeatResult
    from nfopt.study.results import FitResult, SearchResult

SCORES = (
    "Log-likelihoods are means in nats a row on the data's own scale. The flow was chosen on the "
    "validation rows; the test rows were never seen before."
)
WIDE = 120  # columns where standard output is no terminal


def print_json(result: dict[str, Any]) -> None:
    """Print one JSON object; NaN and infinity become null."""
    typer.echo(json.dumps(plain(result), ensure_ascii=False))


def plain(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def console() -> Console:
    """A console on standard output, without markup and highlighting."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def show_pairs(title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Print a title and a table of two columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in pairs:
        table.add_row(Text(label), Text(one_line(value)))
    out = console()
    out.print(Text(one_line(title), style="bold"))
    out.print(table)


def show_search(result: SearchResult, flags: str) -> None:
    """Print the result of a search.

    Args:
        result: Of the search.
        flags: The storage's option in the commands to go on with, or nothing.
    """
    study = quoted(result.study.study_name)
    whose = "the recipe" if result.number is None else f"trial {result.number}"
    _show(
        f"Study {result.study.study_name} has {count(result.trials, 'trial')}; {whose} won",
        result,
        [f"nfopt status {study}{flags}"],
    )


def show_retrain(result: SearchResult) -> None:
    """Print the result of a retraining."""
    _show(f"Trial {result.number} of study {result.study.study_name}, retrained", result, [])


def show_fit(result: FitResult) -> None:
    """Print the result of a fit without a search."""
    members = len(result.flow)
    name = result.flow.info.get("name", "data")
    said = f"an ensemble of {members} flows" if members > 1 else "one flow"
    _show(f"Fitted {said} to {name}, without a search", result, [])


def show_repeat(result: RepeatResult) -> None:
    """Print the result of making a flow again, beside the scores that it was delivered with."""
    _show("The flow is made again", result, [])
    pairs = []
    for part, now in (("validation", result.validation_nll), ("test", result.test_nll)):
        then = result.delivered.get(f"{part}_nll")
        if isinstance(then, int | float):
            equal = math.isclose(then, now, rel_tol=1e-9)
            gap = "the same" if equal else f"{then - now:+.2g} now"
            pairs.append((f"delivered, {part}", f"{-then:.6g}; {gap}"))
    exactly = "on the same machine, versions and threads: the same weights"
    how = f"step for step ({exactly})" if result.exact else f"within noise: {result.inexact}"
    pairs.append(("repeated", how))
    show_pairs("Beside the flow that was delivered", pairs)


def _show(title: str, result: FitResult, further: Sequence[str]) -> None:
    flow = result.flow
    pairs = [("structure", result.structure)]
    if len(flow) > 1:
        shares = [f"{share:.2f}" for share in flow.shares or ()]
        how = f"shares {', '.join(shares)}" if shares else "equal weights"
        pairs.append(("members", f"{len(flow)}, mixed with {how}"))
    if flow.context_columns:
        pairs.append(("given", ", ".join(flow.context_columns)))
    pairs += [
        (
            "validation log-likelihood",
            with_error(-result.validation_nll, result.validation_nll_2se),
        ),
        ("test log-likelihood", with_error(-result.test_nll, result.test_nll_2se)),
    ]
    if len(flow) > 1:
        alone = [f"{-nll:.3f}" for nll in result.members]
        pairs.append(("members alone, test", ", ".join(alone)))
        pairs.append(
            ("disagreement of members", f"{result.disagreement:.3f} nats (mean over test rows)")
        )
    pairs.append(("parameters", f"{result.parameters:,}"))
    pairs.append(("time", clock_text(result.seconds)))
    if result.out is not None:
        folder = quoted(str(result.out))
        pairs.append(("saved in", str(result.out)))
        following = [
            f"nfopt sample {folder} --rows 1000 --out samples.csv",
            f"nfopt score {folder} DATA --out scores.csv",
            *further,
        ]
        pairs += [("next" if not n else "", command) for n, command in enumerate(following)]
    show_pairs(title, pairs)
    console().print(SCORES, style="dim")


def with_error(mean: float, error: float) -> str:
    """A mean with two standard errors, rounded accordingly.

    >>> with_error(-24.3512, 0.0437)
    '-24.3512 ± 0.0437 (2 s.e.)'
    """
    if not math.isfinite(error):
        return f"{mean:.4f}"
    digits = min(6, max(1, 2 - math.floor(math.log10(error)))) if error > 0 else 4
    return f"{mean:.{digits}f} ± {error:.{digits}f} (2 s.e.)"


def quoted(text: str) -> str:
    """A word quoted for the shell."""
    return shlex.quote(text)


def storage_flags(storage: str | None) -> str:
    """The option that names a storage, its password masked; "" where none is needed."""
    named = masked(storage)
    return f" --storage {quoted(named)}" if named else ""


def masked(storage: str | None) -> str:
    """A storage as commands must name it, its password masked; "" where they need not."""
    if storage is None or storage == os.environ.get("NFOPT_STORAGE"):
        return ""
    from nfopt.storage.open import mask_url

    return mask_url(storage)
