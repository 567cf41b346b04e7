"""What a dashboard answers to: requests that name it as it is called, and no other site's writes.

A page of another site can have its name point at this machine (DNS rebinding) and then read and
delete studies with the visitor's browser. Its requests still carry the site's own name in `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

HERE = ("localhost", "127.0.0.1", "::1")
READS = ("GET", "HEAD", "OPTIONS")


class Guard:
    """A WSGI application that refuses what does not come from its own pages.

    Args:
        app: That answers the others.
        host: Address that it is bound to; of all addresses, each stands for itself.
        allowed: Further names that it is called by.
    """

    def __init__(self, app: App, host: str, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._names = {name.lower() for name in (*HERE, host, *allowed)}
        self._any_address = _address(host) is not None and host in ("0.0.0.0", "::")

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer, or refuse with 403 and one line."""
        said = str(environ.get("HTTP_HOST", ""))
        why = None
        if not self._known(said):
            why = (
                f"This dashboard is not called {said[:100]!r}: start it with --allow-host NAME to"
                " have it answer to that name."
            )
        elif environ.get("REQUEST_METHOD", "GET") not in READS and _foreign(environ, said):
            why = "Another site's page may not change studies."
        if why is None:
            return self._app(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [why.encode()]

    def _known(self, said: str) -> bool:
        name = _name(said)
        if name is None:
            return False
        # an address is no name that another site could have point here
        return name in self._names or (self._any_address and _address(name) is not None)


def _foreign(environ: dict[str, Any], host: str) -> bool:
    """Say whether a browser says that a request comes from another site's page."""
    origin, site = environ.get("HTTP_ORIGIN"), environ.get("HTTP_SEC_FETCH_SITE")
    if origin is not None:
        try:
            return urlsplit(str(origin)).netloc.lower() != host.lower()
        except ValueError:
            return True
    return site is not None and site not in ("same-origin", "none")


def _name(said: str) -> str | None:
    """Take the port off; None if it is no name of a host."""
    try:
        found = urlsplit(f"//{said}")
        found.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return None
    plain = found.hostname if found.netloc == said and "@" not in said else None
    return None if plain is None else plain.lower().rstrip(".")


def _address(name: str) -> object:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
