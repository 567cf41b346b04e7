"""The workers' side of a storage served over gRPC: Optuna's client, quick to reconnect."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning

from nfopt.optuna_internals import GrpcProxy

# By default gRPC waits up to two minutes between attempts, and fails every call in between.
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Remote(GrpcProxy):
    """A storage behind `nfopt serve`.

    Args:
        host: Of the server.
        port: Of the server.

    Raises:
        ImportError: If gRPC is not installed.
    """

    options = OPTIONS

    def __init__(self, host: str, port: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(host=host, port=port)
