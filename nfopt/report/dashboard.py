"""optuna-dashboard for a storage, with its artifact store."""

from __future__ import annotations

import errno
import socket
from collections.abc import Container, Iterable
from copy import copy
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.util import setup_testing_defaults

from optuna.storages import BaseStorage, get_storage
from optuna.trial import FrozenTrial, TrialState

from nfopt import attributes as names
from nfopt.errors import NfoptError, StudyError
from nfopt.optuna_internals import FrozenStudy, set_constraints
from nfopt.report.dashboard_api import StudyApi, is_trial_note
from nfopt.report.guard import Guard
from nfopt.space import SearchSpace
from nfopt.storage.retrying import PatientStorage
from nfopt.study.candidate import MAX_ROUND_TRIP
from nfopt.study.ranking import order
from nfopt.suggest.conditional import space_in, with_used

if TYPE_CHECKING:
    from nfopt.optuna_internals import ArtifactStore

HOST, PORT = "127.0.0.1", 8080
CURVES = 40  # of the best trials, and of the latest ones, that keep their intermediate values


class LightStorage(PatientStorage):
    """A view of a storage for the dashboard, without what is slow to show.

    - Of many trials only some have their intermediate values, since a study's first page draws a
      line for each of them, which takes seconds for a thousand. Every trial keeps its picture of
      the learning curve.
    - A study has no notes of trials, which the dashboard would search for among all attributes;
      `StudyApi` adds them.
    - A trial has only the parameters that its flow uses: importances and plots are of these.
    - A trial's constraints are where the dashboard expects them, unlike where Optuna 5 writes them.

    Args:
        storage: The storage.
    """

    def __init__(self, storage: BaseStorage) -> None:
        inner = storage.inner if isinstance(storage, PatientStorage) else storage
        super().__init__(get_storage(inner))  # Optuna's cache of finished trials
        self._used: dict[int, dict[int, tuple[FrozenTrial, FrozenTrial]]] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """See `BaseStorage`."""
        trials = self._with_used(study_id, super().get_all_trials(study_id, deepcopy, states))
        return [with_constraints(trial) for trial in without_curves(trials)]

    def _with_used(self, study_id: int, trials: list[FrozenTrial]) -> list[FrozenTrial]:
        """Leave out what flows do not use; each finished trial is looked at once."""
        before, now = self._used.get(study_id, {}), dict[int, tuple[FrozenTrial, FrozenTrial]]()
        space: SearchSpace | None = None
        shown: list[FrozenTrial] = []
        for trial in trials:
            known, seen = before.get(trial.number, (None, trial))
            if known is not trial:
                if space is None:
                    space = self._space(study_id)
                if space is None:
                    return trials
                seen = with_used(trial, space)
            shown.append(seen)
            if trial.state.is_finished():
                now[trial.number] = trial, seen
        self._used[study_id] = before | now
        return shown

    def _space(self, study_id: int) -> SearchSpace | None:
        try:
            return space_in("", self.get_study_user_attrs(study_id))
        except StudyError:  # somebody else's: the trials as they are
            return None

    def get_all_studies(self) -> list[FrozenStudy]:
        """See `BaseStorage`."""
        studies = []
        for study in map(copy, super().get_all_studies()):
            attributes = study.system_attrs
            study.system_attrs = {k: v for k, v in attributes.items() if not is_trial_note(k)}
            studies.append(study)
        return studies


def with_constraints(trial: FrozenTrial) -> FrozenTrial:
    """A trial with its constraints where the dashboard reads them; above 0 it is infeasible.

    A flow that does not invert has another one: by how much its round-trip error is too great.
    """
    values = list(trial.constraints.values())
    error = trial.user_attrs.get(names.ROUND_TRIP)
    if isinstance(error, int | float) and error > MAX_ROUND_TRIP:
        values.append(float(error) - MAX_ROUND_TRIP)
    if values:
        trial = copy(trial)
        set_constraints(trial, values)
    return trial


def without_curves(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Trials, of which only the best and the latest keep their intermediate values."""
    if len(trials) <= 2 * CURVES:
        return trials
    ended = [t for t in trials if t.state is TrialState.COMPLETE and t.values]
    ended.sort(key=lambda trial: order(trial.values[0], trial.number))
    kept = {trial.number for trial in ended[:CURVES]} | {t.number for t in trials[-CURVES:]}
    light = []
    for trial in trials:
        if trial.number not in kept and trial.intermediate_values:
            trial = copy(trial)
            trial.intermediate_values = {}
        light.append(trial)
    return light


class Dashboard:
    """A dashboard server, bound to a port; it answers from `serve` on.

    Args:
        storage: Of the studies.
        store: The artifact store of their pictures, or None.
        study: Id of the study that `url` shows; None: the list of all.
        host: Address to bind to.
        port: Port to bind to; if it is in use, a free one is taken.
        allowed: Names that it answers to, besides its address and localhost.

    Attributes:
        url: Of the page.
        port: The bound port.

    Raises:
        NfoptError: If `host` can't be bound to.
        ValueError: If `port` is not a port number.
    """

    def __init__(
        self,
        storage: BaseStorage,
        store: ArtifactStore | None,
        study: int | None = None,
        *,
        host: str = HOST,
        port: int = PORT,
        allowed: Iterable[str] = (),
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"`port` must be from 0 to 65535, got {port}.")
        from optuna_dashboard import wsgi

        light = LightStorage(storage)
        self._app = StudyApi(wsgi(light, artifact_store=store), light)
        page = "" if study is None else f"/studies/{study}"
        self._page = f"/api{page or '/studies'}"
        self._server = _bound(Guard(self._app, host, allowed), host, port)
        self.port = int(self._server.server_port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}/dashboard{page}"

    def serve(self) -> None:
        """Answer until Ctrl-C, or until another thread stops it."""
        try:
            self._server.serve_forever()
        finally:
            self._server.server_close()

    def warm(self) -> None:
        """Request the page's data once, so that the page opens fast later."""
        environ: dict[str, Any] = {"PATH_INFO": self._page}
        setup_testing_defaults(environ)
        for _ in self._app(environ, lambda status, headers, *error: None):
            pass

    def stop(self) -> None:
        """End `serve` from another thread."""
        self._server.shutdown()


def _bound(app: Any, host: str, port: int) -> WSGIServer:
    kind = type("Server", (_Server,), {"address_family": _family(host, port)})
    try:
        return make_server(host, port, app, server_class=kind, handler_class=_Quiet)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES) or port == 0:
            raise NfoptError(
                f"`host` {host!r} with `port` {port} can't be served: {error.strerror or error}"
            ) from None
    return _bound(app, host, 0)


def _family(host: str, port: int) -> socket.AddressFamily:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError as error:
        raise NfoptError(f"`host` {host!r} is not known: {error.strerror or error}") from None


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser's open connection must not keep the process alive

    def server_bind(self) -> None:
        """Bind without the look-up of the host's full name, which can take seconds."""
        socket_name = self.server_address[:2]
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(socket_name[0]), int(self.server_address[1])
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    """A handler without a log of requests."""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def address_string(self) -> str:
        """Name the client without a look-up."""
        return str(self.client_address[0])
