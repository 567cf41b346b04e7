"""``nfopt report``: a study as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nfopt.cli import options as o
from nfopt.cli.failures import say


def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            show_default=False,
            help="Where it is written. Without it: report.html in nfopt-runs/STUDY.",
        ),
    ] = None,
    storage: o.Storage = None,
) -> None:
    """Write a study as one HTML file that needs nothing else: best trials, masks and figures."""
    from nfopt.files import replacing
    from nfopt.report.page import html_page
    from nfopt.storage.open import clear_errors
    from nfopt.storage.url import RUNS
    from nfopt.study.arguments import check_name
    from nfopt.study.create import load_study

    with clear_errors(storage, "failed"):
        page = html_page(load_study(study, storage))
    path = RUNS / check_name(study, None) / "report.html" if out is None else out
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")
    say(f"written: {path}")
