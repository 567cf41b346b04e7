"""``nfopt worker``: one more worker on a study; ``nfopt serve``: a storage for those far away."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from nfopt.cli import options as o
from nfopt.cli import results
from nfopt.cli.failures import resumable, say
from nfopt.cli.progress import clock_text, count, showing
from nfopt.cli.reading import whole


def worker(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Name of a study.")],
    storage: o.Storage = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where the study's table is on this machine. Without it: where the study says, "
            "if that is below the working folder.",
        ),
    ] = None,
    artifacts: o.Artifacts = None,
    minutes: o.Minutes = None,
    device: o.Device = None,
    threads: o.Threads = None,
    pictures: o.Pictures = True,
    as_json: o.Json = False,
    parent: Annotated[
        int | None, typer.Option(parser=whole("parent", 1), metavar="PID", hidden=True)
    ] = None,
) -> None:
    """Work on a study that nfopt search has begun, until its budget is met.

    The study says what is searched, with which data, and when it is over. The worker that began it
    scores and saves; this one only searches. With --minutes it ends earlier. What it trains when it
    is stopped (Ctrl-C, SIGTERM), another worker goes on with.
    """
    with resumable(lambda: "Interrupted: what was in training waits for the next worker."):
        from nfopt.report.hooks import publishing
        from nfopt.runner.worker import run_worker

        with showing() as show, publishing(show, storage, pictures) as tell:
            worked = run_worker(
                study,
                storage,
                data=data,
                artifacts=artifacts,
                minutes=minutes,
                device=device,
                threads=threads,
                parent=parent,
                on_event=tell,
            )
    if as_json:
        results.print_json(worked.to_dict())
    else:
        print(
            f"study {worked.study!r} has {count(worked.trials, 'trial')}, {worked.own:,} of them"
            f" from here, {clock_text(worked.seconds)}",
            file=sys.stderr,
        )


def serve(
    storage: o.Storage = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Where to listen. 0.0.0.0 lets everyone in who can reach this machine: there is "
            "no password.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(parser=whole("port", 1), metavar="N", help="TCP port.")
    ] = 13000,
) -> None:
    """Serve a storage to workers that can't reach it themselves.

    They take --storage grpc://HOST:PORT. It runs until Ctrl-C; workers wait when it is restarted.
    """
    from nfopt.storage.serve import serve as run

    run(storage, host=host, port=port, say=say)
