"""The workers' side of a storage that is served over gRPC: Optuna's, quick to find a new server."""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.storages import GrpcStorageProxy

# gRPC would try again ever more seldom, up to two minutes apart, and fail every call in between.
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Remote(GrpcStorageProxy):
    """A storage behind `nfopt serve`.

    Args:
        host: Of the server.
        port: Of the server.

    Raises:
        ImportError: If gRPC is not installed.
    """

    def __init__(self, host: str, port: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(host=host, port=port)

    def _setup(self) -> None:
        import grpc

        super()._setup()
        self._channel.close()
        self._channel = grpc.insecure_channel(f"{self._host}:{self._port}", options=OPTIONS)
        self._stub = type(self._stub)(self._channel)
        self._cache.grpc_client = self._stub
