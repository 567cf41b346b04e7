"""``nfopt dashboard`` and ``nfopt report``: a study in a browser, or as one HTML file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from nfopt.cli import options as o
from nfopt.cli.failures import say, warn
from nfopt.cli.reading import whole


def dashboard(
    study: Annotated[
        str | None,
        typer.Argument(metavar="[STUDY]", help="Name of a study. Without it: the list of all."),
    ] = None,
    storage: o.Storage = None,
    host: Annotated[
        str,
        typer.Option(metavar="HOST", help="Address to serve on; 127.0.0.1 is this machine alone."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            parser=whole("port", 0), metavar="N", help="If it is taken, a free one is used."
        ),
    ] = 8080,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            show_default=False,
            help="A name that it is called by, besides its address and localhost; may be repeated.",
        ),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|s3://BUCKET",
            help="Where the pictures are, if they are no longer where the study says.",
        ),
    ] = None,
) -> None:
    """Look at studies in a browser: trials, masks, learning curves, samples, figures, notes.

    It is optuna-dashboard with the pictures of nfopt search in it. Whoever can open its pages can
    also change and delete studies, so it serves this machine alone unless --host says otherwise.
    Ctrl-C ends it.
    """
    from nfopt.distributed.artifacts import artifact_store, place_of, store_of
    from nfopt.errors import StudyError
    from nfopt.optuna_internals import storage_of, study_id
    from nfopt.report.dashboard import Dashboard
    from nfopt.storage.open import clear_errors, exists, mask_url, open_storage
    from nfopt.study.create import load_study

    with clear_errors(storage, "failed"):
        if study is None:
            if not exists(storage):
                raise StudyError(f"`storage` {mask_url(storage)} has no studies yet.")
            opened, number = open_storage(storage), None
            place = place_of(artifacts, storage)
            store = None if place is None else artifact_store(place)
        else:
            found = load_study(study, storage)
            opened, number = storage_of(found), study_id(found)
            store = store_of(found) if artifacts is None else artifact_store(artifacts)
        page = Dashboard(opened, store, number, host=host, port=port, allowed=allow_host or ())
        if not _only_here(host):
            warn(
                f"`host` {host!r}: whoever reaches this machine can read, change and delete every"
                f" study of {mask_url(storage)}, without a password"
            )
        taken = "" if port in (0, page.port) else f" (port {port} is taken)"
        say(
            f"{page.url}{taken}; whoever works on this machine can read, change and delete every"
            f" study of {mask_url(storage)}; Ctrl-C ends it"
        )
        try:
            page.warm()
            page.serve()
        except KeyboardInterrupt:
            say("Ended.")


def _only_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="The study's flow, if it is no longer where the study says.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="Where the study's table is now, if it is no longer in its place."
        ),
    ] = None,
    storage: o.Storage = None,
) -> None:
    """Write a study as one HTML file that needs nothing else, without scripts, below 5 MB.

    What was delivered, data beside samples, the fit, structures, the search, and a paragraph for a
    paper. Where the flow or its table is not at hand, what needs them is left out.
    """
    import optuna

    from nfopt.cli.results import masked
    from nfopt.files import replacing
    from nfopt.report.page import facts_of_study, html_page
    from nfopt.storage.open import find_study
    from nfopt.storage.url import RUNS, check_name

    with find_study(study, storage) as opened:  # without its sampler, which brings torch
        found = optuna.load_study(study_name=study, storage=opened)
        facts = facts_of_study(found, storage=masked(storage), model=model, data=data)
        page = html_page(facts)
    path = RUNS / check_name(study, None) / "report.html" if out is None else out
    with replacing(path) as beside:
        beside.write_text(page, encoding="utf-8")
    why = f"; without pictures of the flow: {facts.missing}" if facts.missing else ""
    say(f"written: {path}{why}")
