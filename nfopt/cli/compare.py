"""``nfopt compare``: nfopt beside its peers on the user's own table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import one_line, resumable, say, warn
from nfopt.cli.groups import AS_IT_IS, TableOptions, grouped
from nfopt.cli.output import check_target
from nfopt.cli.progress import clock_text, count
from nfopt.cli.reading import minutes, words, wrong

if TYPE_CHECKING:
    from nfopt.compare.rival import Rival
    from nfopt.compare.run import Row

PANEL = "Comparison"


@grouped
def compare(
    data: o.DataArgument,
    each: Annotated[
        float,
        typer.Option(
            "--minutes",
            parser=minutes,
            metavar="X",
            help="Of each method, on one thread.",
            rich_help_panel=PANEL,
        ),
    ] = 3.0,
    methods: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            show_default=False,
            help="Among fit, search, zuko, sbi, tpe, mixture and vine. Without it: all of them.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            show_default=False,
            help="Draw validation scores against seconds, too.",
            rich_help_panel=PANEL,
        ),
    ] = None,
    seed: o.Seed = 0,
    as_json: o.Json = False,
    table: TableOptions = AS_IT_IS,
) -> None:
    """Fit a table with nfopt and with its peers, the same minutes each, and score all.

    Peers: zuko's flows by a recipe, with sbi's settings and under Optuna's TPE, a Gaussian mixture
    and a vine copula. All train on the same rows and choose on validation rows; the test rows are
    scored once. What is not installed is left out: pip install "nfopt[peers]" has all.
    """
    from_data = table.read()
    if table.weights is not None:
        raise wrong("weights", f"can't be compared, as peers take none; got {table.weights!r}")
    names = None if methods is None else words(methods, "methods")
    check_target(plot, "plot", (".png",))
    with resumable(lambda: "Interrupted: the methods that had ended are above."):
        import optuna

        from nfopt.compare.plot import plot as draw
        from nfopt.compare.run import NOT_COMPARED, chosen
        from nfopt.compare.run import compare as run
        from nfopt.compare.table import cells, passed, to_dict
        from nfopt.runner.worker import threads_of
        from nfopt.study.dataset import read

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # thousands of trials are nobody's news
        rivals = chosen(names)
        source = read(data, seed=seed, on_warning=warn, **from_data)
        how_long = f"{count(len(rivals), 'method')}, {each:g} minutes each"
        say(f"{how_long}; {NOT_COMPARED}")
        rows = []
        with threads_of(1), _showing(60 * each) as begin:
            for row in run(source.data, rivals, seconds=60 * each, seed=seed, on_begin=begin):
                rows.append(row)
                say(_ended(row))
        if plot is not None:
            draw(rows, plot)
    if as_json:
        results.print_json(to_dict(rows, source.data.name, 60 * each))
        return
    _show(cells(rows), f"{source.data.name}: {how_long}")
    for line in passed(rows):
        typer.echo(line)
    if plot is not None:
        typer.echo(f"picture: {plot}")


def _ended(row: Row) -> str:
    if row.failed:
        return f"{row.rival.name}: left out, {row.failed}"
    score = f"test log-likelihood {row.test:.3f} (2 s.e. {row.test_2se:.3f})"
    return f"{row.rival.name}: {score}, {clock_text(row.seconds)}"


@contextmanager
def _showing(seconds: float) -> Iterator[Callable[[Rival], None]]:
    """Give what is told of a method that begins: a bar on a terminal, else a line."""
    if not sys.stderr.isatty():
        yield lambda rival: say(f"{rival.name}: {rival.about}")
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
        TextColumn(f"of {clock_text(seconds)}"),
    )
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading the data", total=None)
        yield lambda rival: bar.reset(
            task, description=one_line(f"{rival.name}: {rival.about}"), total=None
        )


def _show(lines: Sequence[Sequence[str]], title: str) -> None:
    from rich.table import Table

    from nfopt.compare.table import HEAD

    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    table.add_column(HEAD[0], no_wrap=True)
    for name in HEAD[1:-1]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(HEAD[-1])
    for line in lines:
        table.add_row(*line)
    results.console().print(table)
    typer.echo(
        "Log-likelihoods are means in nats a row on the data's own scale, two standard errors in "
        "brackets; ordered by validation score. Score and sample are for 1,000 rows."
    )
