"""Serve a storage to workers that can't reach it themselves: Optuna's gRPC proxy.

The workers use grpc://HOST:PORT. Whoever can reach the port can read and write every study: there
is neither a password nor encryption, so it belongs behind a tunnel or in a private network.
"""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Callable
from contextlib import closing

from optuna.exceptions import ExperimentalWarning, StorageInternalError

from nfopt.errors import StudyError
from nfopt.optuna_internals import grpc_server
from nfopt.signals import listening
from nfopt.storage.open import open_storage
from nfopt.storage.url import GRPC_PORT, address, mask_url

HOST = "127.0.0.1"
# Seconds that a request waits for the storage; the workers themselves wait longer.
PATIENCE = 20.0
GRACE = 5.0  # seconds in which open requests are answered when the server ends
POLL = 0.2  # seconds between two checks of `should_stop`


def serve(
    storage: str | None = None,
    *,
    host: str = HOST,
    port: int = GRPC_PORT,
    say: Callable[[str], None] = print,
    should_stop: Callable[[], bool] | None = None,
) -> None:
    """Serve a storage until Ctrl-C or SIGTERM.

    Args:
        storage: A URL of a database, or None for the default.
        host: Address to listen on; 0.0.0.0 is every one.
        port: TCP port.
        say: Called with a line when it listens, when the storage goes away, and when it ends.
        should_stop: Ends the server when it is true.

    Raises:
        StudyError: If the storage or the port can't be opened.
        ValueError: If the storage can't be served.
    """
    location = address(storage)
    if location.kind in ("journal", "grpc"):
        raise ValueError(
            f"`storage` {location.name} can't be served: take a database or a SQLite file."
        )
    _check_port(host, port)
    logging.getLogger("grpc._server").addFilter(_in_one_line)
    with listening(should_stop) as stop:
        opened = open_storage(storage, patience=PATIENCE, on_wait=say, should_stop=stop)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                server = grpc_server(opened, host, port)
            except (ImportError, AttributeError):
                raise StudyError(
                    "Serving needs what is not installed: pip install 'nfopt[grpc]'."
                ) from None
            except RuntimeError as error:
                raise StudyError(f"`port` {port} on {host} can't be opened: {error}") from None
        server.start()
        who = "works on" if host in ("127.0.0.1", "localhost", "::1") else "reaches"
        say(
            f"serving {mask_url(storage)}, in which whoever {who} this machine can read, change and"
            f" delete every study without a password, at grpc://{host}:{port} (Ctrl-C ends)"
        )
        try:
            while not stop() and server.wait_for_termination(timeout=POLL):
                pass
        finally:
            server.stop(GRACE).wait()
        say("the server has ended")


def _check_port(host: str, port: int) -> None:
    """Refuse a port that is in use; gRPC would share it with its owner."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with closing(socket.socket(family, kind, protocol)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        raise StudyError(f"`port` {port} on {host} can't be opened: {error.strerror}") from None


def _in_one_line(record: logging.LogRecord) -> bool:
    """Log a storage's failure without a traceback: it is not the server's."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, StorageInternalError):
        record.exc_info, record.exc_text = None, None
        record.msg, record.args = f"a request failed: the storage {error}", ()
    return True
