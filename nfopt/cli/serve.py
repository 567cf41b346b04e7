"""``nfopt serve``: a storage for workers that can't reach it themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from nfopt.cli import options as o
from nfopt.cli.failures import say
from nfopt.cli.reading import whole


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
