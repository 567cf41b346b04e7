"""The command line, ``nfopt --help``: heavy modules are imported only inside the commands."""

from __future__ import annotations

from typing import Annotated

import typer

import nfopt

app = typer.Typer(
    name="nfopt",
    help="Find, train and save a normalizing flow for a table of continuous data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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


def main() -> None:
    """Run the command line."""
    app()
