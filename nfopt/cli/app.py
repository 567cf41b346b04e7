"""The commands of ``nfopt`` and its entry point. Heavy modules load inside the commands only."""

from __future__ import annotations

import gc
import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

import nfopt
from nfopt.cli import (
    autonf,
    compare,
    dashboard,
    failures,
    models,
    train,
    worker,
)
from nfopt.cli.studies import delete, status

YOUNG = 50_000  # objects; with Python's 700 a fifth of the time to import torch is spent on garbage

app = typer.Typer(
    name="nfopt",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: nfopt search magic --minutes 2",
)


def _paragraphs(command: Callable[..., None]) -> str:
    """Take a command's help from its docstring, the lines of a paragraph joined."""
    text = inspect.cleandoc(command.__doc__ or "")
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


COMMANDS: tuple[tuple[Callable[..., None], str], ...] = (
    (train.search, "nfopt search data.csv --minutes 10 --context energy --bounds mass=0:"),
    (worker.worker, "nfopt worker data --storage postgresql+psycopg://HOST/NAME"),
    (train.fit, "nfopt fit data.csv --minutes 3 --members 5"),
    (train.retrain, "nfopt retrain data --trial 7 --out better"),
    (autonf.autonf, "nfopt autonf data.csv --minutes 10 --cost inverse --price 0.02"),
    (compare.compare, "nfopt compare data.csv --minutes 3 --plot data.png"),
    (models.score, "nfopt score nfopt-runs/data new.csv --out scores.csv"),
    (models.sample, "nfopt sample nfopt-runs/data --rows 1000 --out new.parquet"),
    (status.status, "nfopt status data"),
    (delete.delete, "nfopt delete data"),
    (delete.clean, "nfopt clean"),
    (dashboard.dashboard, "nfopt dashboard data"),
    (dashboard.report, "nfopt report data --out data.html"),
    (worker.serve, "nfopt serve --storage postgresql://HOST/NAME --port 13000"),
    (models.export, "nfopt export nfopt-runs/data --to zuko"),
)
for command, example in COMMANDS:
    app.command(help=_paragraphs(command), epilog=f"Example: {example}")(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nfopt {nfopt.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find, train and save a normalizing flow for a table of continuous data."""


def run(args: Sequence[str]) -> int:
    """Run a command line and return its exit code; see `nfopt.cli.failures` for what each means.

    Args:
        args: The words after ``nfopt``.
    """
    if not args:
        args = ["--help"]
    return failures.run(
        lambda: app(list(args), standalone_mode=False, prog_name="nfopt"), list(args)
    )


def main() -> None:
    """Run the command line of this process."""
    signal.signal(signal.SIGINT, failures.CtrlC())
    gc.set_threshold(YOUNG)
    code = run(sys.argv[1:])
    if code in (failures.INTERRUPTED, failures.TERMINATED):
        failures.leave(code)
    gc.disable()  # nor is it worth looking for garbage in all of torch, at the end
    gc.freeze()
    sys.exit(code)
